"""The learning rate of a local step and the order of a shard's sequences, as every worker of a run
has them: src/rubato/schedule/learning_rate.h, permutation.h and worker/task_run.cc.
"""
import dataclasses
import math
import tomllib

from .errors import RubatoError

_MASK = (1 << 64) - 1
_PERMUTATION_STREAM = 3


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the recipe says to a worker."""

    lr_max: float
    lr_min: float
    warmup_steps: int
    first_step_at_max: bool
    rewarm_steps: int
    resets_inner_state: bool
    batch_sequences: int
    seed: int
    model_kind: str
    tokens_per_sequence: int
    recipe: dict  # all of it

    @staticmethod
    def of(recipe_toml: str) -> "Settings":
        """RubatoError `[recipe] ..` when it lacks what a worker needs."""
        try:
            recipe = tomllib.loads(recipe_toml)
            rate, train, kind = recipe["lr"], recipe["train"], recipe["model"]["kind"]
            return Settings(
                lr_max=float(rate["max"]), lr_min=float(rate["min"]),
                warmup_steps=rate["warmup_steps"],
                first_step_at_max=rate["first_step"] == "max",
                rewarm_steps=train["inner_rewarm_steps"],
                resets_inner_state=train["inner_state"] == "reset",
                batch_sequences=train["batch_sequences"], seed=recipe["run"]["seed"],
                model_kind=kind,
                tokens_per_sequence=(recipe["opaque"]["tokens_per_sequence"] if kind == "opaque"
                                     else train["sequence_length"]),
                recipe=recipe)
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise RubatoError(f"[recipe] got one without {error}, want the coordinator's resolved "
                              "recipe of a model that has sequences") from error

    def tokens_per_step(self) -> int:
        return self.batch_sequences * self.tokens_per_sequence

    def learning_rate(self, task, step: int) -> float:
        """Of step `step`, counted from 0, of a rubato.v1.Task (Liu et al. 2024, eq. 3)."""
        if step == 0 and self.first_step_at_max:
            rate = self.lr_max
        else:
            rate = self._scheduled(task.lr_first + step, task.lr_total)
        if task.HasField("rewarm_first") and self.rewarm_steps > 0:
            rate *= min(1.0, (task.rewarm_first + step + 1) / self.rewarm_steps)
        return rate

    def _scheduled(self, done: int, total: int) -> float:
        if done < self.warmup_steps:
            return self.lr_max * done / self.warmup_steps
        span = max(total - self.warmup_steps, 1)
        progress = min(max((done - self.warmup_steps) / span, 0.0), 1.0)
        return self.lr_min + (self.lr_max - self.lr_min) / 2 * (1 + math.cos(math.pi * progress))


def _mix_bits(*words: int) -> int:
    x = 0
    for word in words:
        x = (x + 0x9E3779B97F4A7C15 + word) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        x ^= x >> 31
    return x


def permuted_index(seed: int, shard: int, epoch: int, position: int, size: int) -> int:
    """The physical sequence at `position` of the shard's seeded order in `epoch`: a bijection of
    [0, size), by a Feistel network of four rounds with cycle walking."""
    if not 0 <= position < size:
        raise RubatoError(f"[order] got position {position}, want one below {size}")
    if size == 1:
        return 0
    bits = ((size - 1).bit_length() + 1) // 2
    half = (1 << bits) - 1
    key = _mix_bits(_mix_bits(seed, _PERMUTATION_STREAM, 0), shard & _MASK, epoch)
    x = position
    while True:
        left, right = x >> bits, x & half
        for number in range(4):
            left, right = right, left ^ (_mix_bits(key, number, right) & half)
        x = (left << bits) | right
        if x < size:
            return x
