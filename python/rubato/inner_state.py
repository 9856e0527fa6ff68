"""What an optimizer remembers: it stays with the worker, in memory from task to task and on disk
from one start to the next, for the run that it was made in.
"""
import logging
import os
import pathlib
import time

import torch

FILE = "optimizer.pt"
# Written at most this often: after a crash its moments may be that old, which costs nothing that
# can be measured.
PERIOD_S = 60.0
log = logging.getLogger("rubato")


class Rates:
    """The learning rate of every group of an optimizer: the largest group's is the coordinator's,
    and the others keep their proportion to it."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self._optimizer = optimizer
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._shares = [rate / max(rates) if max(rates) > 0 else 1.0 for rate in rates]

    def set(self, lr: float) -> None:
        for group, share in zip(self._optimizer.param_groups, self._shares):
            group["lr"] = lr * share


class InnerState:
    def __init__(self, optimizer: torch.optim.Optimizer, directory: pathlib.Path):
        self._optimizer = optimizer
        self._path = directory / FILE
        self._saved_at = time.monotonic()

    def reset(self) -> None:
        """As if the optimizer had made no step."""
        self._optimizer.state.clear()

    def save_now_and_then(self, run: str, seconds_per_step: float) -> None:
        if time.monotonic() - self._saved_at > PERIOD_S:
            self.save(run, seconds_per_step)

    def save(self, run: str, seconds_per_step: float) -> None:
        part = self._path.with_name(FILE + ".tmp")
        with open(part, "wb") as file:
            torch.save({"run": run, "seconds_per_step": seconds_per_step,
                        "optimizer": self._optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._path)
        self._saved_at = time.monotonic()

    def load(self, run: str) -> tuple[bool, float]:
        """Whether there is a state of this run, and the seconds of its last steps (0: unknown).
        What is damaged or of another model is of no use; a worker without a state is a worker."""
        if not self._path.exists():
            return False, 0.0
        try:
            # A whole pickle: the directory is as much this worker's own as the key in it, and an
            # optimizer may keep what is no tensor.
            kept = torch.load(self._path, map_location="cpu", weights_only=False)
            if kept["run"] != run:
                return False, 0.0
            rates = [group["lr"] for group in self._optimizer.param_groups]
            self._optimizer.load_state_dict(kept["optimizer"])
            for group, rate in zip(self._optimizer.param_groups, rates):
                group["lr"] = rate
            return bool(self._optimizer.state), float(kept["seconds_per_step"])
        except Exception as error:  # whatever a damaged file makes torch say
            log.warning("begins without its inner state: %s", " ".join(str(error).split()))
            return False, 0.0
