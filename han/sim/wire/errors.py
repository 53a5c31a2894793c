"""What is wrong with a frame. The sender's faults are ``WireError``; ours is ``FrameTooLongError``."""

from __future__ import annotations


class WireError(Exception):
    """These octets are no frame of this kind. A receiver drops them; the text says why."""


class FcsError(WireError):
    """The frame check sequence does not match: the frame was spoilt on the air."""


class UnknownKeyError(WireError):
    """The frame names a key that the receiver does not hold."""


class ForgedError(WireError):
    """The message integrity code does not match: another key, or changed octets."""


class FrameTooLongError(ValueError):
    """We tried to build a frame that the radio cannot carry: send less at a time."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a frame of {size} octets does not fit the radio's {limit}")
        self.size = size
        self.limit = limit
