"""The Llama-style decoder of src/rubato/lm in PyTorch, for fleets of both kinds of workers: the same
names and shapes, the same RoPE and RMSNorm, and AdamW as the recipe has it.

Legend: B sequences, T positions, D width, H query heads, K key-value heads, E head_dim, F ffn width.
"""
import dataclasses

import torch
from torch import nn
from torch.nn import functional

from .errors import RubatoError

# Liu et al. 2024, appendix; `mini` is ours (src/rubato/lm/model_config.cc).
PRESETS = {
    "20m": dict(layers=6, width=256, heads=4, kv_heads=4, head_dim=64, ffn=704, tied=False),
    "60m": dict(layers=3, width=896, heads=16, kv_heads=16, head_dim=64, ffn=2368, tied=True),
    "150m": dict(layers=12, width=896, heads=16, kv_heads=16, head_dim=64, ffn=2368, tied=True),
    "mini": dict(layers=4, width=128, heads=4, kv_heads=4, head_dim=32, ffn=384, tied=True),
}


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    @staticmethod
    def of(recipe: dict, layout) -> "LlamaConfig":
        """What the recipe's [model] says; the rubato.v1.Layout knows the data's vocabulary."""
        vocab = next((tensor.shape[0] for tensor in layout.tensors
                      if tensor.name == "model.embed_tokens.weight"), None)
        if vocab is None:
            raise RubatoError("[model] got a run without model.embed_tokens.weight, want one of the "
                              "coordinator's language model")
        model = recipe["model"]
        if model["preset"] not in PRESETS:
            raise RubatoError(f"[model] got preset {model['preset']}, want one of "
                              f"{', '.join(PRESETS)}")
        shape = PRESETS[model["preset"]]
        return LlamaConfig(**{name: model.get(name, value) for name, value in shape.items()},
                           vocab=vocab)


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._eps = eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self._eps)


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig):
        super().__init__()
        self._config = config
        width, q = config.width, config.heads * config.head_dim
        kv = config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(width, q, bias=False)
        self.k_proj = nn.Linear(width, kv, bias=False)
        self.v_proj = nn.Linear(width, kv, bias=False)
        self.o_proj = nn.Linear(q, width, bias=False)

    def forward(self, x):
        config, length = self._config, x.shape[1]

        def heads(projection, count):  # (B, count, T, E)
            return projection(x).view(x.shape[0], length, count, config.head_dim).transpose(1, 2)

        group = config.heads // config.kv_heads
        q = self._turned(heads(self.q_proj, config.heads))
        k = self._turned(heads(self.k_proj, config.kv_heads)).repeat_interleave(group, 1)
        v = heads(self.v_proj, config.kv_heads).repeat_interleave(group, 1)
        scores = q @ k.transpose(-1, -2) / config.head_dim ** 0.5
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(later, float("-inf")).softmax(-1) @ v
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def _turned(self, x):
        """RoPE in the half-split form: (first, second half) of a head are (real, imaginary)."""
        dim = x.shape[-1]
        powers = torch.arange(0, dim, 2, device=x.device) / dim
        angle = torch.arange(x.shape[-2], device=x.device)[:, None] * self._config.rope_theta ** -powers
        first, second = x.chunk(2, -1)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class FeedForward(nn.Module):
    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.width, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x):
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.input_layernorm = RmsNorm(config.width, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RmsNorm(config.width, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.width, config.norm_eps)

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Llama(nn.Module):
    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.model = Decoder(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.width, config.vocab, bias=False)
        for name, tensor in self.named_parameters():
            if tensor.dim() > 1:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(tensor, std=0.02 / (2 * config.layers) ** 0.5 if writes else 0.02)

    def forward(self, tokens):
        """Logits (B, T, V)."""
        head = self.lm_head if hasattr(self, "lm_head") else self.model.embed_tokens
        return functional.linear(self.model(tokens), head.weight)

    def loss(self, batch):
        """Mean over all positions of (B, T + 1) tokens [nats]."""
        logits = self(batch[:, :-1])
        return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def make_optimizer(model: nn.Module, recipe: dict) -> torch.optim.AdamW:
    """AdamW as the recipe's [inner.adamw]: no decay of norms. Gradients are clipped by the loop, to
    recipe["inner"]["adamw"]["clip_norm"]."""
    if recipe["inner"]["kind"] != "adamw":
        raise RubatoError(f"[inner] got {recipe['inner']['kind']}, want adamw")
    inner = recipe["inner"]["adamw"]
    decayed = [tensor for tensor in model.parameters() if tensor.dim() > 1]
    others = [tensor for tensor in model.parameters() if tensor.dim() <= 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": inner["weight_decay"]},
                              {"params": others, "weight_decay": 0.0}],
                             lr=recipe["lr"]["max"], betas=(inner["beta1"], inner["beta2"]),
                             eps=inner["eps"])
