"""Downloads from our hubs to their devices in virtual time, and what they cost."""

from __future__ import annotations

import asyncio
import functools
import gc
import tracemalloc
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from han.clock import cpu_seconds, monotonic_seconds, run
from han.facts import Fact
from han.sim.air.capture import KeyFile, read_keys, read_pcap
from han.sim.house import House
from hub.bench.exchanges import Asked, block_requests
from hub.bench.head_end import open_broker
from hub.bench.setup import Setup
from hub.bench.workplace import open_workplace


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, from the moment the first device starts its download to the one the last has it all.

    Attributes:
        virtual: seconds on the air's clock.
        wall: seconds of everything in one process, from broker to device.
        cpu: seconds of processor time, likewise.
        blocks: how many the devices took.
        asked: every Image Block Request, if somebody listened.
        memory: octets that Python objects hold in the end, hub and house and devices together, if counted.
    """

    virtual: float
    wall: float
    cpu: float
    blocks: int
    asked: tuple[Asked, ...] = ()
    memory: int = 0


class Stopwatch:
    """Takes the time from the first download's start to the last one's end; ``hear`` takes every fact."""

    def __init__(self) -> None:
        self._start: tuple[float, float, float] | None = None
        self._end = (0.0, 0.0, 0.0)
        self._blocks = 0

    def hear(self, fact: Fact) -> None:
        """Take a fact."""
        match fact.what:
            case "ota.block" if fact.who != "hub":
                self._blocks += 1
            case "ota.started" if fact.who != "hub" and self._start is None:
                self._start = (fact.at, monotonic_seconds(), cpu_seconds())
            case "ota.complete":
                self._end = (fact.at, monotonic_seconds(), cpu_seconds())

    def outcome(self, asked: tuple[Asked, ...], memory: int) -> Outcome:
        """What was measured; only after the last download has ended."""
        assert self._start is not None
        virtual, wall, cpu = (end - start for start, end in zip(self._start, self._end, strict=True))
        return Outcome(virtual, wall, cpu, self._blocks, asked, memory)


def measure_downloads(setup: Setup, *, listens: bool = False, counts_memory: bool = False) -> Outcome:
    """Let every device of every home download its image at the same time.

    To listen to the air and to count memory takes processor time: what is measured of that then means little.
    """
    return run(_downloads(setup, listens=listens, counts_memory=counts_memory), virtual=True, seed=setup.seed)


@functools.cache
def downloaded(setup: Setup) -> Outcome:
    """The outcome of a setup, measured once however many rows look at it."""
    return measure_downloads(setup)


@functools.cache
def overheard_download(setup: Setup) -> Outcome:
    """The same with an ear on the air, which costs processor time."""
    return measure_downloads(setup, listens=True)


async def _downloads(setup: Setup, *, listens: bool, counts_memory: bool) -> Outcome:
    stopwatch = Stopwatch()
    image = setup.image()
    async with AsyncExitStack() as stack:
        broker, folder = await stack.enter_async_context(open_broker())
        if counts_memory:
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
        places = [
            await stack.enter_async_context(open_workplace(setup, broker, folder, number, stopwatch.hear))
            for number in range(setup.homes)
        ]
        if listens:
            asked = await overheard(places[0].house, folder, places[0].update_all(image))
        else:
            asked = ()
            await asyncio.gather(*(place.update_all(image) for place in places))
        memory = _held() if counts_memory else 0
        return stopwatch.outcome(asked, memory)


def _held() -> int:
    """Octets of Python objects that somebody still needs."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def overheard(house: House, folder: Path, doing: Awaitable[object]) -> tuple[Asked, ...]:
    """Every Image Block Request in this house while something is done; needs a folder for the capture."""
    capture, bunch = folder / "air.pcap", folder / "air.keys"
    with capture.open("wb") as file, KeyFile(bunch) as keys:
        house.capture(file)
        house.write_keys(keys)
        await doing
    with capture.open("rb") as file:
        return tuple(block_requests(read_pcap(file), [key for key, _ in read_keys(bunch)]))
