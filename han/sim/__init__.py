"""A house full of radios, for when there is none.

Importing this package lets ``sim://HOME`` URLs open simulated serial ports (see `han.sim.dongle.inprocess`).
"""

from __future__ import annotations

import asyncio
from importlib import import_module

from han.sim.dongle.houses import RunningHouse
from han.sim.dongle.inprocess import register_scheme


def _open_house(url: str, loop: asyncio.AbstractEventLoop) -> RunningHouse:
    # Only now: whoever needs no more than a frame or a node shall not load the whole house, with its devices.
    house: RunningHouse = import_module("han.sim.house").open_house(url, loop)
    return house


register_scheme(_open_house)
