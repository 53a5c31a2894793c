"""One download, or many at the same time, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from han.clock import cpu_seconds, monotonic_seconds, run
from han.facts import Fact
from hub.bench.workplace import Setup, open_broker, open_workplace
from ota.server import ServerSettings


@dataclass(frozen=True, slots=True)
class Cost:
    """From the moment a device starts its download to the moment it holds the whole file, in seconds.

    ``virtual`` is the air's time, ``wall`` and ``cpu`` this machine's: of everything in one process, from
    broker to device.
    """

    virtual: float
    wall: float
    cpu: float


class Stopwatch:
    """Takes the time between two facts of one device; an ear for `han.facts.Facts`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._start: tuple[float, float, float] | None = None
        self.cost: Cost | None = None

    def hear(self, fact: Fact) -> None:
        """Take a fact."""
        if fact.what == "ota.started" and fact.who == self._device and self._start is None:
            self._start = (fact.at, monotonic_seconds(), cpu_seconds())
        elif fact.what == "ota.complete" and fact.who == self._device and self._start is not None:
            virtual, wall, cpu = self._start
            self.cost = Cost(fact.at - virtual, monotonic_seconds() - wall, cpu_seconds() - cpu)


def measure_download(setup: Setup, server: ServerSettings | None = None) -> Cost:
    """Download an image from our hub to a device, in virtual time."""
    return run(_download(setup, server), virtual=True, seed=setup.seed)


async def _download(setup: Setup, server: ServerSettings | None) -> Cost:
    stopwatch = Stopwatch("ppmid-0")
    async with (
        open_broker() as (broker, folder),
        open_workplace(setup, broker, folder, server=server, listen=stopwatch.hear) as place,
    ):
        await place.offer(setup.image())
        await place.watch.until("ppmid-0", "ota.complete")
    assert stopwatch.cost is not None
    return stopwatch.cost
