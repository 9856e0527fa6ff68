"""The time of one training step of the same model in PyTorch: forward, backward, clipping, AdamW.

Run by `rubato bench peers` under a Python that the user names.
  torch_step.py LAYERS WIDTH HEADS KV_HEADS HEAD_DIM FFN VOCAB BATCH LENGTH SECONDS MODE THREADS
MODE is eager or compile. Prints the version and the median step in seconds.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width, heads, kv_heads, head_dim, ffn):
        super().__init__()
        self.shape = (heads, kv_heads, head_dim)
        self.norm_1, self.norm_2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x, cosine, sine):
        heads, kv_heads, head_dim = self.shape
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm_1(x)).split(
            [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim], dim=-1)
        q, k, v = (t.view(batch, length, -1, head_dim).transpose(1, 2) for t in (q, k, v))
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        if kv_heads != heads:
            k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, heads * head_dim))
        gate, up = self.gate_up(self.norm_2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cosine, sine):
    low, high = x.chunk(2, dim=-1)
    return torch.cat([low * cosine - high * sine, high * cosine + low * sine], dim=-1)


class Model(nn.Module):
    def __init__(self, layers, width, heads, kv_heads, head_dim, ffn, vocab, length):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads, head_dim, ffn) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        angles = torch.outer(torch.arange(length).float(),
                             10000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim))
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cosine, self.sine)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main(arguments):
    *sizes, seconds, mode, threads = arguments
    layers, width, heads, kv_heads, head_dim, ffn, vocab, batch, length = map(int, sizes)
    torch.set_num_threads(int(threads))
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    model = Model(layers, width, heads, kv_heads, head_dim, ffn, vocab, length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1,
                                  fused=True)
    loss_of = torch.compile(model) if mode == "compile" else model
    tokens = torch.randint(vocab, (batch, length + 1))

    def step():
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss_of(tokens[:, :-1], tokens[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return time.perf_counter() - begin

    for _ in range(3):
        step()
    taken = []
    while sum(taken) < float(seconds) or len(taken) < 5:
        taken.append(step())
    print("VERSION", torch.__version__)
    print("RESULT", sorted(taken)[len(taken) // 2])


main(sys.argv[1:])
