"""The whole bench with one PPMID: head end, broker, hub, bellows, dongle, air, device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import msgspec

from han.clock import Utc
from han.facts import Facts
from han.sim.address import HouseSettings
from han.sim.home import DeviceDescription, read_home
from han.sim.house import House
from hub.demo.images import Supplier
from hub.demo.report import Report
from hub.demo.stage import Chance, Stage, open_stage, prepared_home
from hub.mqtt import BrokerAddress


@asynccontextmanager
async def one_ppmid(
    seed: int,
    *,
    ezsp: int = 13,
    loss: float = 0.0,
    wan: Callable[[BrokerAddress], AbstractAsyncContextManager[BrokerAddress]] = nullcontext,
    **changes: object,
) -> AsyncIterator[tuple[Stage, DeviceDescription]]:
    """A PPMID that has joined a minute ago, on a dongle that speaks this version.

    ``wan`` is the hub's way to the broker. ``changes`` are to how the home file describes it.
    """
    loop = asyncio.get_running_loop()
    facts = Facts(loop.time)
    supplier = Supplier()
    home = prepared_home(HouseSettings("demo", ezsp=ezsp).apply_to(read_home("demo")), supplier, None)
    devices = [
        msgspec.structs.replace(each, **changes) if each.name == "ppmid" else each for each in home.devices
    ]
    home = msgspec.structs.replace(home, devices=tuple(devices))
    house = House(home, facts=facts, utc=Utc(loop).at, seed=seed, loss=loss)
    house.run_on(loop)
    report = Report(seed=seed)
    chance = Chance(seed, loss)
    async with open_stage(house, chance, report=report, facts=facts, supplier=supplier, wan=wan) as stage:
        ppmid = stage.described["ppmid"]
        joined = asyncio.Event()
        facts.subscribe(lambda fact: joined.set() if fact.what == "device.joined" else None)
        await stage.admit(ppmid)
        house.devices["ppmid"].power_on()
        await asyncio.wait_for(joined.wait(), 300)
        await asyncio.sleep(60)
        yield stage, ppmid
    house.stop()


async def let_in(stage: Stage, *names: str) -> None:
    """Admit others of the demo's devices too, and wait until they have settled in."""
    joined = set()
    end = stage.facts.subscribe(
        lambda fact: joined.add(fact.device) if fact.what == "device.joined" else None
    )
    for name in names:
        await stage.admit(stage.described[name])
        stage.house.devices[name].power_on()
    await asyncio.sleep(300)
    end()
    assert joined == {str(stage.described[name].eui64) for name in names}
