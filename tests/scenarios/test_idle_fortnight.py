"""Two weeks in which nothing happens: hub, broker, dongle and a joined device, on the virtual loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import han.sim  # noqa: F401 - registers sim://
from han.clock import Utc, rebind_for_simulation, virtual_loop_factory
from han.coordinator import SecuritySettings
from han.facts import Facts
from han.radio import NetworkSettings, RadioSettings
from han.sim.home import read_home
from hub.demo.broker import EmbeddedBroker
from hub.disk import RealDisk
from hub.flash import Flash
from hub.house import coordinator_at
from hub.hub import Bearings, Hub, HubSettings
from hub.mqtt import MailboxSettings

FORTNIGHT = 14 * 86_400.0
HOMES = {
    "a PPMID": "ppmid",
    "a gas meter that sleeps": str(Path(__file__).parents[2] / "fixtures" / "homes" / "sleepy-gsme.toml"),
}


@asynccontextmanager
async def running_hub(home: str, state: Path, facts: Facts) -> AsyncIterator[Hub]:
    """A hub on a virtual dongle and an embedded broker."""
    loop = asyncio.get_running_loop()
    dice = random.Random(7)
    async with EmbeddedBroker.on_socket(state / "mqtt") as broker, asyncio.TaskGroup() as tasks:
        hub = await Hub.open(
            HubSettings(),
            open_house=coordinator_at(
                RadioSettings(
                    f"sim://{home}?seed=7", state / "radio", watchdog_period=3600.0, entropy=dice.randbytes
                ),
                NetworkSettings(channel=15),
                SecuritySettings(),
                facts,
            ),
            flash=Flash(RealDisk(state / "hub")),
            mailbox=MailboxSettings.in_simulation(broker.address, "hub"),
            bearings=Bearings.seeded(Utc(loop), facts, dice),
        )
        running = tasks.create_task(hub.run())
        await hub.ready()
        yield hub
        running.cancel()


async def idle(home: str, facts_of_the_end: list[str], state: Path) -> float:
    """CPU seconds that a fortnight costs, and the last facts."""
    facts = Facts(asyncio.get_running_loop().time)
    devices = read_home(home).devices
    async with running_hub(home, state, facts) as hub:
        with facts.recorded() as heard:
            for device in devices:
                await hub._house.admit(device.eui64, device.install_code, device.kind.value)
            await asyncio.sleep(600)
        assert [fact.what for fact in heard].count("device.joined") == len(devices)
        before = time.process_time()
        with facts.recorded() as heard:
            await asyncio.sleep(FORTNIGHT)
        facts_of_the_end += [fact.what for fact in heard]
        return time.process_time() - before


@pytest.mark.parametrize("home", HOMES.values(), ids=HOMES)
def test_a_fortnight_without_events_costs_less_than_five_seconds_of_computing(home):
    told: list[str] = []
    with (
        TemporaryDirectory(prefix="gbhan-") as state,
        rebind_for_simulation(seed=7),
        asyncio.Runner(loop_factory=virtual_loop_factory) as runner,
    ):
        assert runner.run(idle(home, told, Path(state))) < 5

    assert "mqtt.lost" not in told
    assert "radio.lost" not in told
