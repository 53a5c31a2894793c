"""Downloads from other hosts on the same virtual air as ours."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from han.clock import run
from han.facts import Facts
from hub.bench.download import Outcome, Stopwatch, overheard
from hub.bench.head_end import Watch
from hub.bench.setup import Setup
from hub.bench.workplace import SETTLING, open_house
from hub.bench.zigpy_peer import open_zigpy


def measure_zigpy(setup: Setup) -> Outcome:
    """The download of ``setup`` from zigpy's OTA manager, in virtual time, with an ear on the air."""
    return run(_zigpy(setup), virtual=True, seed=setup.seed)


async def _zigpy(setup: Setup) -> Outcome:
    facts = Facts(asyncio.get_running_loop().time)
    stopwatch, watch = Stopwatch(), Watch(facts)
    facts.subscribe(stopwatch.hear)
    home = setup.home()
    (device,) = home.devices
    with open_house(home, facts) as (house, url), tempfile.TemporaryDirectory(prefix="gbhan-bench-") as name:
        async with open_zigpy(url, device, house.devices[device.name].power_on) as host:
            await asyncio.sleep(SETTLING)

            async def update() -> None:
                await host.update(setup.image())
                await watch.until(device.name, "ota.complete")

            asked = await overheard(house, Path(name), update())
    return stopwatch.outcome(asked, 0)
