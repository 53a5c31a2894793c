"""The error that the head end adds to the families of `hub.errors`: theirs, with an HTTP status to answer."""

from __future__ import annotations

from hub import errors


class TheirError(errors.TheirError):
    """A Service User broke the contract; ``status`` is the HTTP status to answer with."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
