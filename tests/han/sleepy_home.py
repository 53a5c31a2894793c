"""A home, such as that of a gas meter that sleeps, with all around it: hub, dongle, air, head end."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from han.clock import Utc
from han.facts import Facts
from han.sim.air.capture import KeyFile
from han.sim.home import Home, read_home
from han.sim.house import House
from hub.dcc.requests import UpdateFirmware, UpdatePpmidFirmware
from hub.demo.images import Supplier
from hub.demo.report import Report
from hub.demo.stage import Chance, open_stage, prepared_home

SLEEPY_GSME = Path(__file__).parents[2] / "fixtures" / "homes" / "sleepy-gsme.toml"
SIZE = 6000
NEW = 0x00020000


@asynccontextmanager
async def sleepy_home(seed: int = 7, loss: float = 0.0, evidence: Path | None = None):
    """The home of the sleeping gas meter, everything running, both devices joined and asleep or idle.

    ``evidence`` is a folder for a capture (home.pcap) and its keys (home.keys).
    """
    async with inhabited(read_home(str(SLEEPY_GSME)), seed, loss, evidence) as running:
        yield running


@asynccontextmanager
async def inhabited(home: Home, seed: int = 7, loss: float = 0.0, evidence: Path | None = None):
    """Any home with everything running, its devices joined and asleep or idle."""
    loop = asyncio.get_running_loop()
    facts = Facts(loop.time)
    supplier = Supplier()
    house = House(prepared_home(home, supplier, None), facts=facts, utc=Utc(loop).at, seed=seed, loss=loss)
    house.run_on(loop)
    told = []
    facts.subscribe(told.append)
    chance = Chance(seed, loss)
    with ExitStack() as files:
        if evidence is not None:
            house.capture(files.enter_context((evidence / "home.pcap").open("wb")))
            house.write_keys(files.enter_context(KeyFile(evidence / "home.keys")))
        async with _running(house, chance, supplier) as stage:
            yield stage, told
    house.stop()


@asynccontextmanager
async def _running(house: House, chance: Chance, supplier: Supplier):
    report = Report(seed=chance.seed)
    async with open_stage(house, chance, report=report, facts=house.facts, supplier=supplier) as stage:
        for device in stage.described.values():
            await stage.admit(device)
        house.power_on()
        await asyncio.sleep(240.0)
        assert all(device.is_attached for device in house.devices.values())
        yield stage


def said(told: list, what: str, who: str) -> list:
    return [fact for fact in told if fact.what == what and fact.who == who]


def offsets(told: list, name: str) -> list[int]:
    return [fact.offset for fact in said(told, "ota.block", name)]


async def update(stage, name: str, size: int = SIZE, version: int = NEW):
    """Submit an update for a device of the house, and give the file and the request."""
    device = stage.described[name]
    file = stage.image(device, version, size)
    kind = UpdatePpmidFirmware if name == "ppmid" else UpdateFirmware
    response = await stage.dsp.submit(kind(image=file.data, devices=(device.eui64,)))
    assert response.ok, response.reason
    return file, response.request_id


async def wait_for(stage, what: str, who: str, count: int = 1) -> None:
    """Until somebody has said this so often from now on."""
    heard = asyncio.Event()
    left = count

    def listen(fact) -> None:
        nonlocal left
        if fact.what == what and fact.who == who:
            left -= 1
            if left == 0:
                heard.set()

    end = stage.facts.subscribe(listen)
    await asyncio.wait_for(heard.wait(), 3 * 86_400)
    end()
