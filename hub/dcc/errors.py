"""The two families of error of the head end: ours, and theirs with the status to answer."""

from __future__ import annotations


class DccError(Exception):
    """Anything that the head end raises on purpose."""


class OurError(DccError):
    """A bug on our side, or a setting that cannot work; the message says what to do next."""


class TheirError(DccError):
    """A Service User broke the contract; ``status`` is the HTTP status to answer with."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class SurroundingsError(DccError):
    """Something around the program is missing or refuses; the message says what to do next."""
