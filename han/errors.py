"""The families of error in this package: ours, theirs, and those of the surroundings."""

from __future__ import annotations

from ota.status import Status


class HanError(Exception):
    """Anything this package raises."""


class OurError(HanError):
    """We asked for something the protocol forbids: a bug or a wrong setting."""


class TheirError(HanError):
    """The peer broke the protocol; ``status`` is what to answer it."""

    def __init__(self, message: str, status: Status = Status.MALFORMED_COMMAND) -> None:
        super().__init__(message)
        self.status = status


class SurroundingsError(HanError):
    """A dongle or port that is missing, busy, silent or not as expected; the message says what to do next."""
