"""The two families of error in this package: ours and theirs."""

from __future__ import annotations

from ota.status import Status


class OtaError(Exception):
    """Anything this package raises."""


class OurError(OtaError):
    """We asked for something the protocol or the file format forbids: a bug or a wrong setting."""


class TheirError(OtaError):
    """The peer broke the protocol; ``status`` is what to answer it."""

    def __init__(self, message: str, status: Status = Status.MALFORMED_COMMAND) -> None:
        super().__init__(message)
        self.status = status
