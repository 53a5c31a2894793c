"""One update of one device by one host, in a process of its own: what it costs that process.

    python -m hub.bench.host '{"host": "ours", "radio": "tcp://127.0.0.1:6638", "setup": {"size": 32768}}'

The host is ours or zigpy's, the dongle is served by another process in real time. Prints one JSON object. Of
ours the process holds the broker too, which a hub in earnest would not.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import click
import msgspec

from han.clock import cpu_seconds, run
from han.facts import Fact, Facts
from hub.bench.head_end import Watch, open_broker, open_hub
from hub.bench.processes import run_program, serve_house
from hub.bench.setup import Setup
from hub.bench.zigpy_peer import open_zigpy


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to do."""

    host: Literal["ours", "zigpy"]
    radio: str
    setup: Setup


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Processor seconds between the first block and the last, and how many octets of image were served."""

    cpu: float
    octets: int

    @property
    def per_octet(self) -> float:
        """Processor seconds of an octet of image."""
        return self.cpu / self.octets


class Meter:
    """Measures between the first block served and the last one."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last = (0, 0.0)

    def served(self, until: int) -> None:
        """A block has been served: so many octets of the image are with the device, if it arrives."""
        self._last = (until, cpu_seconds())
        if self._first is None:
            self._first = self._last

    def spent(self) -> Spent:
        """What was measured."""
        assert self._first is not None
        return Spent(cpu=self._last[1] - self._first[1], octets=self._last[0] - self._first[0])


async def carry_out(errand: Errand) -> Spent:
    """Form a network, let the device in, update it."""
    return await (_ours(errand) if errand.host == "ours" else _zigpy(errand))


async def _ours(errand: Errand) -> Spent:
    setup = errand.setup
    facts = Facts(asyncio.get_running_loop().time)
    meter, watch = Meter(), Watch(facts)

    def hear(fact: Fact) -> None:
        if fact.what == "ota.block":
            meter.served(fact.offset + fact.size)

    facts.subscribe(hear)
    devices = setup.home().devices
    async with (
        open_broker() as (broker, folder),
        open_hub(setup, errand.radio, broker, Path(folder) / "hub", facts) as head_end,
    ):
        await head_end.admit(devices[0])
        await watch.until("hub", "device.joined")
        await head_end.offer(setup.image(), devices)
        await watch.until("hub", "ota.completed")
    return meter.spent()


async def _zigpy(errand: Errand) -> Spent:
    meter = Meter()
    (device,) = errand.setup.home().devices
    async with open_zigpy(errand.radio, device) as host:
        await host.update(errand.setup.image(), lambda at, _size, _percent: meter.served(at))
    return meter.spent()


def measure_host(host: Literal["ours", "zigpy"], setup: Setup) -> Spent:
    """Serve the house of ``setup`` from one process and update its device from another, in real time.

    Raises:
        SurroundingsError: if one of them fails.
    """
    return run(_measured(host, setup))


async def _measured(host: Literal["ours", "zigpy"], setup: Setup) -> Spent:
    with TemporaryDirectory(prefix="gbhan-bench-") as name:
        async with serve_house(setup, Path(name)) as house:
            errand = Errand(host=host, radio=await house.url(), setup=setup)
            told = await run_program(
                sys.executable, "-m", "hub.bench.host", msgspec.json.encode(errand).decode()
            )
    return msgspec.json.decode(told, type=Spent)


def main() -> None:
    """Read the errand, carry it out, print what it cost."""
    errand = msgspec.json.decode(sys.argv[1], type=Errand)
    click.echo(msgspec.json.encode(run(carry_out(errand))).decode())


if __name__ == "__main__":
    main()
