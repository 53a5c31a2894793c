"""A house whose devices prove themselves by certificate, and a hub's coordinator on its dongle.

The program under test is the true one: coordinator, bellows, serial line, dongle, air, devices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dongle_house import NAME, Ears, start

from han.admission import Admitted
from han.coordinator import Coordinator, SecuritySettings
from han.facts import Facts
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from han.sim.air.timeline import Timeline
from han.sim.dongle.houses import forget_house, register_house
from han.sim.home import Home, parse_home
from han.sim.house import House
from han.sim.node.service import SendRequest, SendStatus
from ota.eui64 import Eui64

HUB = Eui64.parse("00-DB-12-34-56-78-90-A2")
HOME = """
name = "keyed"
channel = 15
[dongle]
eui64 = "00-DB-12-34-56-78-90-A2"
ezsp = {ezsp}
key_table = {rows}
"""
DEVICE = """
[[devices]]
kind = "PPMID"
name = "{name}"
eui64 = "00-DB-12-34-56-78-90-{number}"
install_code = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
image_type = 0x0084
file_version = 0x00010000
first_query_within = 5
join_retry = 5
{more}
"""
LAB = SecuritySettings(credentials=lambda eui64: (lab_credentials(eui64), lab_credentials(eui64, Suite.ONE)))


def home(*devices: str, ezsp: int = 13, rows: int = 16, more: str = "") -> Home:
    """A home with PPMIDs of these names."""
    text = HOME.format(ezsp=ezsp, rows=rows)
    for number, name in enumerate(devices, start=0xB1):
        text += DEVICE.format(name=name, number=f"{number:02X}", more=more)
    return parse_home(text.encode())


class KeyedWorld:
    """A house, a coordinator on its dongle, and what it told."""

    def __init__(self, house: House, state: Path | None) -> None:
        self.house = house
        self.state = state
        self.ears = Ears()
        self.told = []
        self.hub: Coordinator
        house.facts.subscribe(self.told.append)

    async def start(
        self, devices: list[Admitted] | None = None, security: SecuritySettings = LAB, **changes: object
    ) -> None:
        """Bring the hub up."""
        self.hub = await start(self.house, self.ears, devices, security=security, state=self.state, **changes)

    async def restart(self, security: SecuritySettings = LAB) -> None:
        """Stop the hub and start it with what it knew."""
        devices, removed = self.hub.devices, self.hub.removed
        await self.hub.close()
        await self.start(devices, security, removed=removed)

    async def admit(self, name: str, **changes: object) -> None:
        """Admit a device of the house."""
        description = self.house.devices[name].description
        await self.hub.admit(
            description.eui64, changes.pop("code", description.install_code), "PPMID", **changes
        )

    async def admit_and_switch_on(self, *names: str) -> None:
        """Let devices join and see to it that their keys are established."""
        for name in names:
            await self.admit(name)
            self.house.devices[name].power_on()
        await asyncio.sleep(30.0)

    def eui64(self, name: str) -> Eui64:
        """A device's address."""
        return self.house.devices[name].eui64

    def known(self, name: str) -> Admitted:
        """What the hub knows of a device."""
        return next(each for each in self.hub.devices if each.eui64 == self.eui64(name))

    def events(self, kind: type) -> list[object]:
        """The events of this kind so far."""
        return [event for event in self.ears.events if isinstance(event, kind)]

    def facts(self, what: str, who: str = "hub") -> list[object]:
        """The facts of this kind so far."""
        return [fact for fact in self.told if fact.what == what and fact.who == who]

    async def say(self, name: str, cluster: int, payload: bytes, *, aps_security: bool = False) -> SendStatus:
        """Let a device's radio send something of ours to the hub, and give how that ended."""
        done: asyncio.Future[SendStatus] = asyncio.get_running_loop().create_future()
        request = SendRequest(0x0000, 0x0109, cluster, 1, 1, payload, aps_security=aps_security)
        self.house.pump.wake()
        self.house.devices[name].node.send(request, done.set_result)
        self.house.pump.wake()
        return await done

    def heard_by(self, name: str) -> list[object]:
        """Everything that a device's radio receives from now on, which the device goes on to receive."""
        heard, node = [], self.house.devices[name].node
        device = node.on_message

        def listen(message) -> None:
            heard.append(message)
            device(message)

        node.on_message = listen
        return heard

    def key_in_dongle(self, name: str) -> bytes | None:
        """The link key that the dongle's key table holds for a device."""
        if self.eui64(name) not in self.house.memory.dongle.flash.link_keys.values():
            return None
        return self.house.memory.dongle.store.link_keys[self.eui64(name)].key

    def key_in_device(self, name: str) -> bytes:
        """The link key with the Trust Centre that the device holds."""
        return self.house.devices[name].node.store.link_keys[HUB].key


@asynccontextmanager
async def keyed_world(house: House, state: Path | None = None) -> AsyncIterator[KeyedWorld]:
    """The world, its hub not yet started; whatever was started is stopped at the end."""
    house.run_on(asyncio.get_running_loop())
    register_house(NAME, house)
    world = KeyedWorld(house, state)
    try:
        yield world
    finally:
        if hasattr(world, "hub"):
            await world.hub.close()
        forget_house(NAME)
        house.stop()


def new_house(description: Home, **changes: object) -> House:
    """A house on the loop's clock."""
    loop = asyncio.get_running_loop()
    return House(description, timeline=Timeline(loop.time()), facts=Facts(loop.time), **changes)
