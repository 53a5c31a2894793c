"""What a ``sim://`` URL says: which home, and how its simulation is to differ from the home file.

sim://demo                     a home that comes with the package
sim:///etc/homes/mine.toml     a file, by its absolute path
sim://./mine.toml              a file, from the present folder
sim://demo?seed=7&loss=0.02    other chance, and 2 % of the receptions lost on the air
sim://demo?fault=reboot:after=90    the dongle restarts after 90 s (more of it: `han.sim.fault`)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from han.sim.dongle.versions import VERSIONS
from han.sim.fault import Fault, read_fault
from han.sim.home import LEAST_BAUD, MOST_BAUD, Home, HomeError

BAND = 2400
"""MHz; the only band that can be simulated so far."""
FAULT = "fault"
"""The one setting that may stand more than once."""


@dataclass(frozen=True, slots=True)
class HouseSettings:
    """A home and the settings of its simulation; None where the home file decides.

    ``loss`` is the share of the receptions that the air loses, ``serial_loss`` the share of the writes on the
    dongle's serial line that are damaged. ``faults`` come to those of the home.
    """

    home: str
    seed: int | None = None
    loss: float = 0.0
    serial_loss: float = 0.0
    baud: int | None = None
    ezsp: int | None = None
    faults: tuple[Fault, ...] = ()

    def apply_to(self, home: Home) -> Home:
        """The home with these settings in place of its own."""
        dongle = home.dongle
        dongle = msgspec.structs.replace(
            dongle,
            baud=dongle.baud if self.baud is None else self.baud,
            ezsp=self.ezsp or dongle.ezsp,
            faults=dongle.faults + self.faults,
        )
        seed = home.seed if self.seed is None else self.seed
        return msgspec.structs.replace(home, dongle=dongle, seed=seed)


def read_address(url: str) -> HouseSettings:
    """Read a ``sim://`` URL.

    Raises:
        HomeError: naming the part that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme != "sim":
        raise HomeError(f"{url!r} is no sim:// URL: write sim://HOME, as in sim://demo?seed=7")
    home = unquote(parts.netloc + parts.path)
    if not home:
        raise HomeError(f"{url!r} names no home: write sim://HOME, as in sim://demo?seed=7")
    settings: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in settings:
            raise HomeError(f"{url!r} sets {name} twice")
        read = _SETTINGS.get(name)
        if read is None:
            raise HomeError(f"{url!r}: there is no setting {name!r}, only {', '.join(_SETTINGS)}")
        try:
            settings[name] = read(text)
        except ValueError as error:
            raise HomeError(f"{url!r}: {name}={text!r} cannot be: {error}") from error
        if name == FAULT:
            faults.append(settings.pop(name))
    settings.pop("band", None)
    return HouseSettings(home, faults=tuple(faults), **settings)


def _seed(text: str) -> int:
    seed = int(text)
    if seed < 0:
        raise ValueError("a seed is a number from 0 up")
    return seed


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 <= share <= 1.0:
        raise ValueError("a share lies between 0 and 1; 2 % is 0.02")
    return share


def _baud(text: str) -> int:
    baud = int(text)
    if baud and not LEAST_BAUD <= baud <= MOST_BAUD:
        raise ValueError(f"give a speed from {LEAST_BAUD} to {MOST_BAUD}, or 0: the line takes no time")
    return baud


def _ezsp(text: str) -> int:
    if not text.isdecimal() or int(text) not in VERSIONS:
        raise ValueError("the virtual dongle speaks EZSP 4 to 14 and 16 to 19")
    return int(text)


def _band(text: str) -> int:
    if int(text) != BAND:
        raise ValueError("only 2400 (MHz) can be simulated so far")
    return BAND


_SETTINGS: dict[str, Callable[[str], object]] = {
    "seed": _seed,
    "loss": _share,
    "serial_loss": _share,
    "baud": _baud,
    "ezsp": _ezsp,
    "band": _band,
    FAULT: read_fault,
}
