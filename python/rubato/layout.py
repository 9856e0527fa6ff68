"""A model's parameters as the coordinator sees them: one flat buffer [P] of fp32, in an order.

The names are those of `named_parameters()`. A run that nobody has founded takes the model's own
order; one that has its layout already lends its order to the model, tensor by tensor.
"""
import math

import numpy as np
import torch
import xxhash

from . import protocol
from .errors import RubatoError


def layout_digest(tensors) -> str:
    """Over names and shapes of `tensors`, (name, shape) each: rubato.v1.Layout.digest."""
    lines = (f"{name} [{','.join(str(size) for size in shape)}]\n" for name, shape in tensors)
    return xxhash.xxh3_128_hexdigest("".join(lines).encode())


class Parameters:
    """Reads and writes the parameters of a torch.nn.Module, wherever they are, in whatever type."""

    def __init__(self, model: torch.nn.Module):
        self._tensors = dict(model.named_parameters())
        if not self._tensors:
            raise RubatoError("[model] got no named_parameters(), want at least one")
        embeddings = {id(module.weight) for module in model.modules()
                      if isinstance(module, torch.nn.Embedding)}
        self._is_embedding = {name: id(tensor) in embeddings
                              for name, tensor in self._tensors.items()}
        self.size = sum(tensor.numel() for tensor in self._tensors.values())  # P

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(name, tuple(tensor.shape)) for name, tensor in self._tensors.items()]

    def layout(self):
        """As a rubato.v1.Layout."""
        layout = protocol.message("Layout")(digest=layout_digest(self.shapes()))
        for name, shape in self.shapes():
            layout.tensors.add(name=name, shape=shape, dtype="DTYPE_F32",
                               role=self._role(name, shape))
        return layout

    def _role(self, name: str, shape: tuple[int, ...]) -> str:
        if self._is_embedding[name]:
            return "ROLE_EMBEDDING"
        if len(shape) > 1:
            return "ROLE_MATRIX"
        return "ROLE_BIAS" if name.rpartition(".")[2] == "bias" else "ROLE_NORM"

    def take_order(self, layout) -> None:
        """Of a rubato.v1.Layout with the same tensors; RubatoError names the first that differs."""
        wanted = {tensor.name: tuple(tensor.shape) for tensor in layout.tensors}
        have = dict(self.shapes())
        for name in [*wanted, *have]:
            if wanted.get(name) == have.get(name):
                continue
            got, want = (f"shape {list(shapes[name])}" if name in shapes else "no such tensor"
                         for shapes in (have, wanted))
            raise RubatoError(f"[model] {name}: got {got}, want {want} as the run has it; build the "
                              "model of this run")
        self._tensors = {name: self._tensors[name] for name in wanted}

    def read(self) -> np.ndarray:
        """A copy of all parameters [P]."""
        flat = np.empty(self.size, np.float32)
        with torch.no_grad():
            for tensor, part in zip(self._tensors.values(), self._parts(flat)):
                part.copy_(tensor.detach().reshape(-1))
        return flat

    def write(self, flat: np.ndarray) -> None:
        """All parameters from [P]; gradients and the optimizer's state stay."""
        with torch.no_grad():
            for tensor, part in zip(self._tensors.values(), self._parts(flat)):
                tensor.copy_(part.view(tensor.shape))

    def _parts(self, flat: np.ndarray):
        sizes = [math.prod(tensor.shape) for tensor in self._tensors.values()]
        return torch.from_numpy(flat).split(sizes)
