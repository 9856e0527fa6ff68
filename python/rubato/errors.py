"""What can go wrong, in one line each: `[who] got X, want Y; hint`."""


class RubatoError(Exception):
    """An operating error: a refusal of the coordinator, a model that does not fit, no answer."""


class GivenUp(RubatoError):
    """A transfer that nobody wants any more."""
