"""The token shards of a language model's run, as docs/formats.md has them."""
import json
import pathlib

import numpy as np
import torch

from .errors import RubatoError
from .run import Run, Sequence


class TokenShards:
    """What `rubato prepare` wrote, mapped; `sequence_length` is T."""

    def __init__(self, directory, sequence_length: int):
        directory = pathlib.Path(directory)
        manifest = json.loads((directory / "manifest.json").read_text())
        if (manifest.get("format"), manifest.get("format_version")) != ("rubato-token-shards", 1):
            raise RubatoError(f"[tokens] {directory}: got format {manifest.get('format')} "
                              f"{manifest.get('format_version')}, want rubato-token-shards 1")
        self.vocab_size: int = manifest["vocab_size"]
        self._length = sequence_length
        dtype = {2: "<u2", 4: "<u4"}[manifest["token_bytes"]]
        self._shards = [np.memmap(directory / shard["file"], dtype, mode="r")
                        for shard in manifest["shards"]]
        held_out = manifest["validation"]
        self.validation = (np.memmap(directory / held_out["file"], dtype, mode="r")
                           if held_out["tokens"] else np.empty(0, dtype))

    @staticmethod
    def of(run: Run, directory) -> "TokenShards":
        """The data of a run, received into `directory` where it is missing."""
        run.files(directory)
        shards = TokenShards(directory, run.settings.tokens_per_sequence)
        run.set_shard_sizes(shards.sizes())
        return shards

    def sizes(self) -> list[int]:
        """[sequences] of each shard."""
        return [(len(tokens) - 1) // self._length for tokens in self._shards]

    def batch(self, sequences: list[Sequence]) -> torch.Tensor:
        """(B, T + 1): inputs are all but the last of each row, targets all but the first."""
        rows = [self._row(self._shards[one.shard], one.index) for one in sequences]
        return torch.from_numpy(np.stack(rows))

    def validation_batch(self, most: int) -> torch.Tensor:
        """(B, T + 1): the fixed set that the coordinator evaluates on, `most` sequences at most."""
        present = (len(self.validation) - 1) // self._length
        wanted = min(present, most)
        return torch.from_numpy(np.stack([self._row(self.validation, i * present // wanted)
                                          for i in range(wanted)]))

    def _row(self, tokens, index: int) -> np.ndarray:
        begin = index * self._length
        return tokens[begin:begin + self._length + 1].astype(np.int64)
