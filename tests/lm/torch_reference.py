"""The decoder of rubato/lm/model_config.h in PyTorch, in double precision: a reference that shares
no line with the engine. Gradients come from autograd.

    python3 torch_reference.py FILE

FILE holds lines `name value..`: layers, width, heads, kv_heads, head_dim, ffn, vocab, tied, rope_theta,
norm_eps, sequence_length, tokens (B*(T+1) integers) and params (P reals, the flat buffer). Prints
the loss on one line and the P entries of its gradient on the next. Exit code 77: no PyTorch.
"""
import sys

try:
    import torch
except ModuleNotFoundError:
    sys.exit(77)


def read_case(path):
    case = {}
    with open(path, encoding="ascii") as lines:
        for line in lines:
            name, *values = line.split()
            case[name] = values
    for name in ("layers", "width", "heads", "kv_heads", "head_dim", "ffn", "vocab", "tied",
                 "sequence_length"):
        case[name] = int(case[name][0])
    for name in ("rope_theta", "norm_eps"):
        case[name] = float(case[name][0])
    return case


def shapes(case):
    """Names and shapes in the order of the flat buffer."""
    width, ffn = case["width"], case["ffn"]
    q, kv = case["heads"] * case["head_dim"], case["kv_heads"] * case["head_dim"]
    yield "embed", (case["vocab"], width)
    for i in range(case["layers"]):
        yield f"{i}.norm1", (width,)
        yield f"{i}.q", (q, width)
        yield f"{i}.k", (kv, width)
        yield f"{i}.v", (kv, width)
        yield f"{i}.o", (width, q)
        yield f"{i}.norm2", (width,)
        yield f"{i}.gate", (ffn, width)
        yield f"{i}.up", (ffn, width)
        yield f"{i}.down", (width, ffn)
    yield "norm", (width,)
    if not case["tied"]:
        yield "head", (case["vocab"], width)


def split(flat, case):
    tensors, offset = {}, 0
    for name, shape in shapes(case):
        size = torch.Size(shape).numel()
        tensors[name] = flat[offset:offset + size].view(shape)
        offset += size
    assert offset == flat.numel(), f"got {flat.numel()} parameters, want {offset}"
    return tensors


def norm(x, weight, eps):
    return weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def rope(x, theta):
    """x (B, heads, T, E) as complex numbers: first half real, second half imaginary."""
    length, dim = x.shape[-2], x.shape[-1]
    frequency = theta ** (-torch.arange(0, dim, 2, dtype=x.dtype) / dim)
    angle = torch.arange(length, dtype=x.dtype)[:, None] * frequency
    turned = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), -1)


def attention(x, w, layer, case):
    def heads(name, count):
        y = torch.nn.functional.linear(x, w[f"{layer}.{name}"])
        return y.view(x.shape[0], x.shape[1], count, case["head_dim"]).transpose(1, 2)

    group = case["heads"] // case["kv_heads"]
    q = rope(heads("q", case["heads"]), case["rope_theta"])
    k = rope(heads("k", case["kv_heads"]), case["rope_theta"]).repeat_interleave(group, 1)
    v = heads("v", case["kv_heads"]).repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) / case["head_dim"] ** 0.5
    later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    mixed = scores.masked_fill(later, float("-inf")).softmax(-1) @ v
    return torch.nn.functional.linear(mixed.transpose(1, 2).flatten(2), w[f"{layer}.o"])


def feed_forward(x, w, layer):
    linear, silu = torch.nn.functional.linear, torch.nn.functional.silu
    return linear(silu(linear(x, w[f"{layer}.gate"])) * linear(x, w[f"{layer}.up"]),
                  w[f"{layer}.down"])


def mean_loss(tokens, w, case):
    x = w["embed"][tokens[:, :-1]]
    for i in range(case["layers"]):
        x = x + attention(norm(x, w[f"{i}.norm1"], case["norm_eps"]), w, i, case)
        x = x + feed_forward(norm(x, w[f"{i}.norm2"], case["norm_eps"]), w, i)
    x = norm(x, w["norm"], case["norm_eps"])
    logits = torch.nn.functional.linear(x, w["embed"] if case["tied"] else w["head"])
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def main():
    case = read_case(sys.argv[1])
    flat = torch.tensor([float(v) for v in case["params"]], dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor([int(v) for v in case["tokens"]]).view(-1, case["sequence_length"] + 1)
    loss = mean_loss(tokens, split(flat, case), case)
    loss.backward()
    print(repr(loss.item()))
    print(" ".join(repr(v) for v in flat.grad.tolist()))


if __name__ == "__main__":
    main()
