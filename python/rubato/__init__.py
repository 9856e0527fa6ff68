"""Rubato's worker for PyTorch: any model's training loop joins a coordinator (docs/workers.md)."""
from .errors import RubatoError
from .join_string import JoinString, parse_join_string
from .run import Run, Sequence, Step, Task, join

__all__ = ["JoinString", "RubatoError", "Run", "Sequence", "Step", "Task", "join",
           "parse_join_string"]
