"""GBCS messages through the tunnel of a whole device, under the link key that its certificate brought."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from house_radio import HeardFacts, hub_in
from mesh_world import move_in

import han.sim  # noqa: F401 - registers sim://
from han.sim.air.medium import Clear, Lossy, Sniffed
from han.sim.air.timeline import Timeline
from han.sim.dongle.personality import Personality
from han.sim.home import read_home
from han.sim.house import House
from han.zcl import KEY_ESTABLISHMENT_CLUSTER

HOMES = Path(__file__).parents[2] / "fixtures" / "homes"

pytestmark = pytest.mark.usefixtures("rebound")


class Talk:
    """A hub and a PPMID that have a tunnel, and what came out of it at each end."""

    def __init__(self, house, hub, heard) -> None:
        self.house, self.hub, self.facts = house, hub, heard
        self.device = house.devices["ppmid"]
        self.at_device: list[bytes] = []
        self.device._messenger._on_message = self.at_device.append

    async def move_in(self) -> None:
        """Let one device in after the other: the next joins through it."""
        await move_in(self.house, self.facts, self.hub)
        await asyncio.sleep(120)  # by then the hub knows all ways

    async def open(self) -> None:
        """The device joins, establishes a key and opens its tunnel."""
        await self.hub.admit_everyone(self.house)
        self.house.power_on()
        await self.facts.wait_for("tunnel.open", "ppmid", within=300)

    def lose(self, rate: float, seed: int) -> None:
        """From now on frames get lost."""
        self.house.air.path = Lossy(Clear(), rate=rate, seed=seed)

    def say(self, message: bytes) -> None:
        """From the device to the hub."""
        self.house.pump.wake()
        self.device._messenger.send(message)
        self.house.pump.wake()

    @property
    def at_hub(self) -> list[bytes]:
        return [message for _, message in self.hub.messages]


@pytest.fixture(params=[13, 17], ids=["ezsp13", "ezsp17"])
async def talk(request):
    house = House(
        read_home("ppmid"),
        timeline=Timeline(asyncio.get_running_loop().time()),
        personality=Personality(ezsp=request.param),
    )
    heard = HeardFacts(house.facts)
    async with hub_in(house) as hub:
        talk = Talk(house, hub, heard)
        await talk.open()
        yield talk


def gbcs(number: int) -> bytes:
    """A message of the size that GBCS sends."""
    return random.Random(number).randbytes(1200)


async def test_messages_of_1200_octets_travel_both_ways_protected(talk):
    flights = []
    talk.house.air.path = Sniffed(talk.house.air.path, flights.append)
    talk.hub.tell(talk.device.eui64, gbcs(1))
    talk.say(gbcs(2))
    await asyncio.sleep(10)

    assert talk.at_device == [gbcs(1)]
    assert talk.at_hub == [gbcs(2)]
    assert talk.facts.of("message.fragmented", "hub")
    [fragmented] = talk.facts.of("aps.fragmented", "ppmid")
    assert (fragmented.fragments, fragmented.size) == (20, 1200 + 5)


@pytest.mark.parametrize(("loss", "seed"), [(0.05, 1), (0.05, 2), (0.2, 1), (0.2, 2)])
async def test_through_a_lossy_house_every_message_of_the_device_arrives(talk, loss, seed):
    talk.lose(loss, seed)
    for number in range(5):
        talk.say(gbcs(number))
    await asyncio.sleep(600)

    # The tunnel brings a message again whose last acknowledgement never came: what is in it tells.
    assert list(dict.fromkeys(talk.at_hub)) == [gbcs(number) for number in range(5)]


async def test_a_dongle_that_crashes_in_the_middle_gets_the_message_afterwards(talk):
    talk.say(gbcs(1))
    await asyncio.sleep(0.7)
    talk.house.dongle.crash()
    await asyncio.sleep(120)

    assert talk.at_hub == [gbcs(1)]


async def test_a_device_that_loses_its_power_in_the_middle_brings_the_message_afterwards(talk):
    talk.say(gbcs(1))
    await asyncio.sleep(0.7)
    talk.device.power_off()
    await asyncio.sleep(30)
    talk.device.power_on()
    await asyncio.sleep(60)

    assert talk.at_hub == [gbcs(1)]


@pytest.mark.parametrize("source_routing", [False, True], ids=["routes", "source routes"])
@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_messages_travel_over_four_hops(source_routing, loss):
    loop = asyncio.get_running_loop()
    house = House(read_home(str(HOMES / "four-hops.toml")), timeline=Timeline(loop.time()), seed=1, loss=loss)
    heard = HeardFacts(house.facts)
    async with hub_in(house, source_routing=source_routing) as hub:
        talk = Talk(house, hub, heard)
        await talk.move_in()
        hub.tell(talk.device.eui64, gbcs(1))
        talk.say(gbcs(2))
        await asyncio.sleep(120)

    assert talk.at_device == [gbcs(1)]
    assert list(dict.fromkeys(talk.at_hub)) == [gbcs(2)]


async def test_a_key_establishment_that_a_source_route_leaves_no_room_for_travels_in_fragments():
    """The first message of suite 2 has 81 octets; three relays leave 74 of a frame's 82."""
    loop = asyncio.get_running_loop()
    house = House(read_home(str(HOMES / "four-hops.toml")), timeline=Timeline(loop.time()))
    heard = HeardFacts(house.facts)
    async with hub_in(house, source_routing=True) as hub:
        talk = Talk(house, hub, heard)
        await talk.move_in()
        talk.say(b"this is the way to me")
        await asyncio.sleep(10)
        assert len(house.node.source_routes()[talk.device.node.nwk]) == 3
        established = len(heard.of("keys.established", "hub"))
        await hub.coordinator.establish(talk.device.eui64)
        await heard.wait_for("keys.established", "hub", 120.0)

    assert established == len(house.devices)
    cut = [
        fact for fact in heard.of("message.fragmented", "hub") if fact.cluster == KEY_ESTABLISHMENT_CLUSTER
    ]
    assert [fact.size for fact in cut] == [81]
