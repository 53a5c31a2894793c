"""The families of error in this package.

Ours: a bug or a wrong setting. Theirs: the peer broke the contract; carries the code to answer with. A third,
the surroundings: no broker, no disk space, nothing a peer or a programmer did wrong; the message says what to
do next.
"""

from __future__ import annotations


class HubError(Exception):
    """Anything this package raises on purpose."""


class OurError(HubError):
    """A bug on our side, or a setting that cannot work."""


class TheirError(HubError):
    """The peer broke the contract; ``code`` is what to answer with."""

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class SurroundingsError(HubError):
    """Something around the program is missing or refuses; the message says what to do next."""
