"""What the true hub can do on each EZSP version, each cell from a run: ``make matrix`` prints it.

A column is a step: a coroutine that does one thing on a bench and gives what to write into the cell. Steps
run one after the other on the same bench; where one fails, the rest are not tried. To add a column, write a
step and name it in `STEPS`. The cells that are expected stand in ``fixtures/dongle/ezsp_matrix.json``.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "han"))  # run as a program, there is no test runner to do it

from house_radio import HeardFacts, RadioHub, hub_in

from han.clock import run
from han.sim.air.timeline import Timeline
from han.sim.devices.device import Device
from han.sim.dongle.personality import Personality
from han.sim.dongle.versions import VERSIONS
from han.sim.home import read_home
from han.sim.house import House
from ota.gbcs_image import GbcsImage
from ota.image import Header

TABLE = Path(__file__).parents[2] / "fixtures/dongle/ezsp_matrix.json"
HOST = "bellows"
YES = "yes"
NOT_TRIED = "not tried"
IMAGE_SIZE = 700


@dataclass(frozen=True)
class Bench:
    """A house with one PPMID, and a hub on its dongle."""

    version: int
    house: House
    hub: RadioHub
    heard: HeardFacts

    @property
    def device(self) -> Device:
        """The PPMID."""
        return self.house.devices["ppmid"]


async def form(bench: Bench) -> str:
    """The hub formed a network on a blank dongle, and it is up."""
    assert bench.hub.coordinator is not None
    assert bench.heard.of("network.formed")
    return YES if bench.hub.coordinator.is_up else "the network is down"


async def join(bench: Bench) -> str:
    """A device comes in under the key of its install code."""
    await bench.hub.admit_everyone(bench.house)
    bench.house.power_on()
    await bench.heard.wait_for("device.attached", "ppmid", within=120)
    return YES if bench.version > 4 else "yes, by key table"


async def establish_keys(bench: Bench) -> str:
    """Hub and device agree a link key by certificate, under suite 2; the hub keeps it in the dongle."""
    if not bench.heard.of("keys.established", "hub"):
        await bench.heard.wait_for("keys.established", "hub", within=60)
    return YES


async def fragment(bench: Bench) -> str:
    """A message of 1,200 octets goes through the device's tunnel each way, in fragments."""
    arrived: list[bytes] = []
    device, message = bench.device, random.Random(7).randbytes(1200)
    device._messenger._on_message = arrived.append
    if device.eui64 not in bench.hub.tunnels:
        await bench.heard.wait_for("tunnel.open", "ppmid", within=60)
    bench.hub.tell(device.eui64, message)
    bench.house.pump.wake()
    device._messenger.send(message)
    bench.house.pump.wake()
    await bench.heard.wait_for("tunnel.delivered", "ppmid", within=60)
    await asyncio.sleep(10)
    if bench.hub.messages != [(device.eui64, message)]:
        return "the hub heard something else"
    return YES if arrived == [message] else "the device heard something else"


async def update(bench: Bench) -> str:
    """An image goes over the air, arrives to the octet and is activated."""
    us = bench.device.description
    header = Header(
        manufacturer=us.manufacturer, image_type=us.image_type, file_version=0x00020000, total_size=0
    )
    data = GbcsImage.build(header, random.Random(7).randbytes(IMAGE_SIZE), None).to_bytes()
    bench.hub.offer(data, bench.device.eui64)
    await bench.heard.wait_for("device.activated", "ppmid", within=600)
    return YES if bench.device.file_version == 0x00020000 else "another version runs"


STEPS: Mapping[str, Callable[[Bench], Awaitable[str]]] = {
    "form": form,
    "join": join,
    "CBKE": establish_keys,
    "fragments": fragment,
    "OTA": update,
}


async def row(version: int) -> dict[str, str]:
    """The cells of one version, each from a run on the loop that is running."""
    house = House(
        read_home("ppmid"),
        timeline=Timeline(asyncio.get_running_loop().time()),
        personality=Personality(ezsp=version),
    )
    heard = HeardFacts(house.facts)
    cells = dict.fromkeys(STEPS, NOT_TRIED)
    async with hub_in(house, f"matrix{version}") as hub:
        bench = Bench(version, house, hub, heard)
        for column, step in STEPS.items():
            try:
                cells[column] = await step(bench)
            except TimeoutError:
                cells[column] = "no: it never happened"
                break
    return cells


def expected(host: str = HOST) -> dict[str, dict[str, str]]:
    """Version (as text) to its cells, as they are written down for a host."""
    hosts: dict[str, dict[str, dict[str, str]]] = json.loads(TABLE.read_text())["hosts"]
    return hosts[host]


def markdown(rows: Mapping[int, Mapping[str, str]]) -> str:
    """The rows as a table."""
    columns = list(STEPS)
    lines = [f"| EZSP | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    lines += [f"| {version} | {' | '.join(cells[c] for c in columns)} |" for version, cells in rows.items()]
    return "\n".join(lines)


async def _every_row() -> dict[int, dict[str, str]]:
    return {version: await row(version) for version in VERSIONS}


if __name__ == "__main__":
    print(markdown(run(_every_row(), virtual=True, seed=7)))  # noqa: T201 - the program's purpose
