"""Which running house a ``sim://`` URL means.

A prepared house is found under the name it was registered with. Any other URL is handed to the opener, once:
a host that comes back with the same URL on the same loop finds the house that it left, time and all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from han.sim.air.pump import Pump
from han.sim.dongle.serial import HostEnd, Sink

SCHEME = "sim"


class Port(Protocol):
    """A serial port of something in a house; a `Dongle` is one."""

    def open_port(self, sink: Sink, on_taken: Callable[[], None]) -> HostEnd:
        """Open it; the newest host wins."""
        ...


class RunningHouse(Protocol):
    """A house as a door sees it."""

    @property
    def dongle(self) -> Port:
        """What stands where a USB dongle would."""
        ...

    @property
    def pump(self) -> Pump:
        """What moves its time."""
        ...


class NoSuchHouse(OSError):  # noqa: N818 - reads as what is wrong
    """No house is running under this URL, and none can be opened."""


Opener = Callable[[str, asyncio.AbstractEventLoop], RunningHouse]

_prepared: dict[str, RunningHouse] = {}
_opened: dict[str, tuple[asyncio.AbstractEventLoop, RunningHouse]] = {}


def register_house(name: str, house: RunningHouse) -> None:
    """Let ``sim://name`` mean this house, in place of any other, until `forget_house`."""
    _prepared[name] = house


def forget_house(name: str) -> None:
    """Let ``sim://name`` mean nothing in particular again. Harmless if it means nothing."""
    _prepared.pop(name, None)


def name_in(url: str) -> str:
    """The house's name or file in a ``sim://`` URL, without the settings behind the question mark."""
    parts = urlsplit(url)
    return parts.netloc + parts.path


def house_at(url: str, loop: asyncio.AbstractEventLoop, opener: Opener) -> RunningHouse:
    """The house that a URL means, opened if it does not run yet.

    Raises:
        NoSuchHouse: if there is none and none can be opened.
    """
    name = name_in(url)
    if not name:
        raise NoSuchHouse(f"{url}: name a home, as in sim://demo?seed=7, or a path to a .toml file")
    if name in _prepared:
        return _prepared[name]
    known = _opened.get(url)
    if known is not None and known[0] is loop:
        return known[1]
    house = opener(url, loop)
    _opened[url] = (loop, house)
    return house
