"""A new network key over the true radio path: who gets it, who has to come back for it, who never does."""

from __future__ import annotations

import asyncio

import pytest
from keyed_world import home, keyed_world, new_house

from han.coordinator import DeviceJoined, KeyNotSwitched, RadioGone
from han.errors import OurError
from han.sim.home import Certificate
from han.sim.node.service import SendStatus
from han.zcl import BASIC_CLUSTER, OTA_CLUSTER, ReadAttributes, encode_global

pytestmark = pytest.mark.usefixtures("rebound")

QUESTION = encode_global(ReadAttributes((0x0000,)), 9)


@pytest.fixture
async def world(request, tmp_path):
    """A hub and a house of two devices, nobody admitted, without power."""
    options = getattr(request, "param", {})
    async with keyed_world(new_house(home("one", "two", **options)), tmp_path) as made:
        await made.start()
        yield made


def network_keys(world) -> dict[str, bytes]:
    """Which network key each radio of the house uses."""
    nodes = {
        "dongle": world.house.node,
        **{name: device.node for name, device in world.house.devices.items()},
    }
    return {name: node.network.network_key for name, node in nodes.items() if node.network is not None}


@pytest.mark.parametrize(
    "world", [{"ezsp": version} for version in (4, 8, 13, 17, 19)], ids=str, indirect=True
)
async def test_every_device_gets_the_new_key_under_its_link_key_and_all_switch(world):
    await world.admit_and_switch_on("one", "two")
    before = network_keys(world)["dongle"]

    told = await world.hub.switch_network_key()
    await asyncio.sleep(5.0)

    assert told == [world.eui64("one"), world.eui64("two")]
    after = network_keys(world)
    assert set(after.values()) == {after["dongle"]}
    assert after["dongle"] != before
    assert [fact.sequence for fact in world.facts("network.key_changed")] == [1]
    await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)
    assert await world.say("two", OTA_CLUSTER, QUESTION, aps_security=True) is SendStatus.OK


async def test_it_can_be_switched_again_and_the_hub_restarted(world):
    await world.admit_and_switch_on("one")
    for _ in range(3):
        await world.hub.switch_network_key()
    await world.restart()
    await world.hub.switch_network_key()

    assert [fact.sequence for fact in world.facts("network.key_changed")] == [1, 2, 3, 4]
    await world.hub.send(world.eui64("one"), BASIC_CLUSTER, QUESTION)


async def test_a_backup_holds_the_new_key_and_its_counters(world):
    await world.admit_and_switch_on("one")
    await world.hub.switch_network_key()
    backup = await world.hub._link.stack.backups.create_backup(load_devices=True)

    key = backup.network_info.network_key
    assert (bytes(key.key.serialize()), key.seq) == (network_keys(world)["dongle"], 1)
    assert key.tx_counter < 3000, "they start anew under a new key"


async def test_the_dongle_brings_the_new_key_up_after_it_lost_its_power(world):
    await world.admit_and_switch_on("one")
    await world.hub.switch_network_key()
    key = network_keys(world)["dongle"]
    world.house.dongle.crash()
    await asyncio.sleep(30.0)

    assert network_keys(world)["dongle"] == key
    await world.hub.send(world.eui64("one"), BASIC_CLUSTER, QUESTION)


@pytest.mark.parametrize(
    "world", [{"more": "sleeps = true\npoll_period = 1800"}], ids=["asleep"], indirect=True
)
async def test_devices_that_sleep_through_it_come_back_by_themselves(world):
    await world.admit_and_switch_on("one")
    await asyncio.sleep(60.0)
    before = network_keys(world)["one"]
    await world.hub.switch_network_key()
    assert network_keys(world)["one"] == before
    await asyncio.sleep(26 * 3600.0)

    keys = network_keys(world)
    assert keys["one"] == keys["dongle"] != before
    assert "unsecured rejoin" in [fact.arrival for fact in world.facts("join.keyed")]
    assert len(world.events(DeviceJoined)) == 1, "to the hub it never left"
    assert await world.say("one", OTA_CLUSTER, QUESTION, aps_security=True) is SendStatus.OK


async def test_a_device_that_was_off_comes_back_by_itself(world):
    await world.admit_and_switch_on("one", "two")
    world.house.devices["two"].power_off()
    await world.hub.switch_network_key()
    world.house.devices["two"].power_on()
    await asyncio.sleep(1800.0)

    assert world.house.devices["two"].is_attached
    assert network_keys(world)["two"] == network_keys(world)["dongle"]


async def test_a_removed_device_does_not_get_the_new_key(world):
    """It was asleep when it was asked to leave: it still has the old network key, and no link key."""
    await world.admit_and_switch_on("one", "two")
    world.house.devices["two"].power_off()
    await world.hub.remove(world.eui64("two"))
    told = await world.hub.switch_network_key()
    world.house.devices["two"].power_on()
    await asyncio.sleep(7200.0)

    assert told == [world.eui64("one")]
    assert not world.house.devices["two"].is_attached
    assert network_keys(world).get("two") != network_keys(world)["dongle"]
    assert world.house.devices["one"].is_attached


@pytest.mark.parametrize(
    "world", [{"more": f'certificate = "{Certificate.NONE.value}"'}], ids=["no certificates"], indirect=True
)
async def test_where_nobody_has_a_link_key_it_has_to_be_broadcast(world):
    await world.admit_and_switch_on("one")
    before = network_keys(world)
    with pytest.raises(OurError, match="let the network key be broadcast"):
        await world.hub.switch_network_key()
    assert network_keys(world) == before

    assert await world.hub.switch_network_key(by_broadcast=True) == [world.eui64("one")]
    await asyncio.sleep(5.0)
    after = network_keys(world)
    assert after["one"] == after["dongle"] != before["dongle"]


async def test_one_switch_at_a_time(world):
    await world.admit_and_switch_on("one")
    first = asyncio.ensure_future(world.hub.switch_network_key())
    await asyncio.sleep(1.0)
    with pytest.raises(OurError, match="already"):
        await world.hub.switch_network_key()
    await first
    await world.hub.switch_network_key()


async def test_a_dongle_that_goes_away_under_way_is_told_and_the_next_switch_works(world):
    await world.admit_and_switch_on("one")
    switching = asyncio.ensure_future(world.hub.switch_network_key())
    await asyncio.sleep(5.0)
    world.house.dongle.crash()
    with pytest.raises(RadioGone):
        await switching
    await asyncio.sleep(60.0)
    await world.hub.switch_network_key()

    assert len(set(network_keys(world).values())) == 1


async def test_a_dongle_that_refuses_is_told(world):
    await world.admit_and_switch_on("one")
    world.house.node.trust.switch_key = lambda: False
    with pytest.raises(KeyNotSwitched, match="refuses"):
        await world.hub.switch_network_key()


async def test_no_key_shows_in_a_fact(world):
    await world.admit_and_switch_on("one")
    before = network_keys(world)["dongle"]
    await world.hub.switch_network_key()
    told = "".join(fact.to_json() for fact in world.told)

    for key in (before, network_keys(world)["dongle"]):
        assert key.hex() not in told
        assert repr(key) not in told


@pytest.mark.parametrize("ezsp", [7, 13])
async def test_where_unsecured_rejoins_are_forbidden_who_missed_the_key_stays_out(tmp_path, ezsp):
    async with keyed_world(new_house(home("one", "two", ezsp=ezsp)), tmp_path) as world:
        await world.start(unsecured_rejoins=False)
        await world.admit_and_switch_on("one", "two")
        world.house.devices["two"].power_off()
        await asyncio.sleep(300.0)
        await world.hub.switch_network_key()
        world.house.devices["two"].power_on()
        await asyncio.sleep(7200.0)

        assert not world.house.devices["two"].is_attached
        assert world.facts("join.refused")
        assert world.house.devices["one"].is_attached


async def test_a_switch_without_a_dongle_is_refused_and_the_next_one_works(world):
    await world.admit_and_switch_on("one")
    world.house.dongle.crash()
    await asyncio.sleep(1.5)
    assert not world.hub.is_up
    with pytest.raises(RadioGone):
        await world.hub.switch_network_key()
    await asyncio.sleep(60.0)

    assert await world.hub.switch_network_key() == [world.eui64("one")]


async def test_a_dongle_that_never_says_that_it_has_switched_is_told(world):
    await world.admit_and_switch_on("one")
    world.house.node.trust.switch_key = lambda: True
    with pytest.raises(KeyNotSwitched, match="does not say"):
        await world.hub.switch_network_key()

    assert not world.facts("network.key_changed")
