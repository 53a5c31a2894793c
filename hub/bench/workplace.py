"""Where downloads are measured in virtual time: a house behind its virtual dongle, and our hub on that.

The parts are the real ones, as in the demo: the hub speaks EZSP to the dongle and takes its image over MQTT.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from han.clock import Utc
from han.facts import Fact, Facts
from han.sim.dongle.houses import forget_house, register_house
from han.sim.home import Home
from han.sim.house import House
from hub.bench.head_end import HeadEnd, Watch, open_hub
from hub.bench.setup import Setup
from hub.demo.broker import EmbeddedBroker

SETTLING = 60.0
"""Virtual seconds after which a device that has joined has asked all its first questions."""
_BETWEEN_ADMISSIONS = 40.0
"""Virtual seconds: a dongle remembers eight install codes at a time, each for five minutes."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """A hub and its house; its devices have joined when it is handed out."""

    house: House
    watch: Watch
    head_end: HeadEnd

    async def update_all(self, image: bytes) -> None:
        """Offer an image and wait until every device has all of it."""
        await self.head_end.offer(image, self.house.home.devices)
        for device in self.house.home.devices:
            await self.watch.until(device.name, "ota.complete")


@contextmanager
def open_house(home: Home, facts: Facts) -> Iterator[tuple[House, str]]:
    """A house on the running loop, its devices without power, and the URL of its dongle."""
    loop = asyncio.get_running_loop()
    house = House(home, facts=facts, utc=Utc(loop).at)
    house.run_on(loop)
    register_house(home.name, house)
    try:
        yield house, f"sim://{home.name}"
    finally:
        forget_house(home.name)
        house.stop()


@asynccontextmanager
async def open_workplace(
    setup: Setup, broker: EmbeddedBroker, folder: Path, number: int, listen: Callable[[Fact], None]
) -> AsyncIterator[Workplace]:
    """Start a hub with its house on the running loop, let every device join, and stop it afterwards.

    ``number`` tells the homes of one run apart; ``listen`` is called with every fact.
    """
    facts = Facts(asyncio.get_running_loop().time)
    facts.subscribe(listen)
    watch = Watch(facts)
    home = setup.home(number)
    with open_house(home, facts) as (house, url):
        async with open_hub(setup, url, broker, folder / home.name, facts) as head_end:
            for place, device in enumerate(home.devices):
                if place:
                    await asyncio.sleep(_BETWEEN_ADMISSIONS)
                await head_end.admit(device)
                house.devices[device.name].power_on()
                await watch.until(device.name, "device.attached")
            await asyncio.sleep(SETTLING)
            yield Workplace(house, watch, head_end)
