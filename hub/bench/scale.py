"""How large the benchmark is, and what a part of it looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from hub.bench.rows import Row

KB = 1024
FULL_SIZE = 750 * KB
USUAL_BAUD = 115_200
"""What most dongles run at, and bellows and herdsman unless told otherwise."""
PAGE = 1024
"""Octets of a page: what a widespread stack asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large everything is; the tests have a smaller one. Sizes are octets of an image.

    Attributes:
        image: whose download is measured.
        herdsman_image: the one that herdsman sends, in real time, at four blocks a second.
        host_image: for the cost of a host's process, in real time.
        peer_images: that are downloaded from peers too.
        crowd_image: that many devices, or many homes, download at the same time.
        crowds: how many they are; the first is what the others are compared with.
        crowd_is_secured: whether they have certificates, and so establish keys first, which takes its time.
    """

    image: int = FULL_SIZE
    peer_images: tuple[int, ...] = (350 * KB, FULL_SIZE)
    herdsman_image: int = 16 * KB
    host_image: int = 32 * KB
    crowd_image: int = 16 * KB
    crowds: tuple[int, int, int] = (1, 10, 50)
    crowd_is_secured: bool = True

    @classmethod
    def up_to(cls, size: int) -> Self:
        """The usual one, with no image larger than this."""
        usual = cls()
        fitting = tuple(each for each in usual.peer_images if each <= size)
        return cls(
            image=size,
            peer_images=fitting or (size,),
            herdsman_image=min(usual.herdsman_image, size),
            host_image=min(usual.host_image, size),
            crowd_image=min(usual.crowd_image, size),
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """A part of the table that can be asked for by its name; ``rows`` measures, and takes a while."""

    name: str
    summary: str
    rows: Callable[[Scale], Iterator[Row]]
