"""Downloads from other hosts on the same virtual air as ours."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from han.clock import Utc, run
from han.facts import Facts
from han.sim.dongle.houses import forget_house, register_house
from han.sim.house import House
from hub.bench.download import Outcome, Stopwatch, overheard
from hub.bench.setup import Setup
from hub.bench.workplace import SETTLING, Watch
from hub.bench.zigpy_peer import open_zigpy

_ZIGPY_HOUSE = "bench-zigpy"


def measure_zigpy(setup: Setup) -> Outcome:
    """The download of ``setup`` from zigpy's OTA manager, in virtual time, with an ear on the air."""
    return run(_zigpy(setup), virtual=True, seed=setup.seed)


async def _zigpy(setup: Setup) -> Outcome:
    loop = asyncio.get_running_loop()
    facts = Facts(loop.time)
    stopwatch, watch = Stopwatch(), Watch(facts)
    facts.subscribe(stopwatch.hear)
    home = setup.home()
    house = House(home, facts=facts, utc=Utc(loop).at)
    house.run_on(loop)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gbhan-bench-")))
        stack.callback(house.stop)
        register_house(_ZIGPY_HOUSE, house)
        stack.callback(forget_house, _ZIGPY_HOUSE)
        (device,) = home.devices
        host = await stack.enter_async_context(
            open_zigpy(f"sim://{_ZIGPY_HOUSE}", device, house.devices[device.name].power_on)
        )
        await asyncio.sleep(SETTLING)

        async def update() -> None:
            await host.update(setup.image())
            await watch.until(device.name, "ota.complete")

        asked = await overheard(house, folder, update())
    return stopwatch.outcome(asked, 0)
