"""A house with a gas meter that sleeps: its update, and what may happen to its network meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from house_world import World, image_for
from msgspec.structs import replace

from han.sim.home import Certificate, parse_home, read_home
from han.sim.node.service import DeviceJoined, DeviceUpdate, SendStatus
from han.sim.node.trust import JoinPolicy
from han.zcl import OTA_CLUSTER, encode_ota
from ota.commands import ImageNotify
from ota.server import Activation

SLEEPY_GSME = Path(__file__).parents[2] / "fixtures" / "homes" / "sleepy-gsme.toml"
NEW = 0x00020000
NEXT_KEY = bytes(range(0xC0, 0xD0))
DAY = 86_400.0


def world_of(certificate: Certificate = Certificate.NONE, **options) -> World:
    """The home of the sleeping gas meter, moved into. Most stories need no keys of its certificates."""
    home = read_home(str(SLEEPY_GSME))
    devices = tuple(replace(device, certificate=certificate) for device in home.devices)
    world = World(replace(home, devices=devices), **options)
    world.hub.node.on_event = world.hub.events.append
    world.hub.form()
    world.hub.admit_everyone()
    world.house.power_on()
    world.run_until("device.attached", "gsme", within=200.0)
    world.run(60.0)
    assert world["ppmid"].is_attached
    world.hub.node.trust.policy = JoinPolicy(allow_joins=False, allow_unsecured_rejoins=True)
    return world


@pytest.fixture
def world() -> World:
    return world_of()


def offer(world: World, size: int = 3000) -> bytes:
    """An image for the gas meter, which fetches it when it asks next."""
    data = image_for(world, "gsme", version=NEW, size=size)
    world.hub.offer(data, "gsme", activation=Activation.WAIT)
    return data


def change_key(world: World) -> None:
    """Change the network key: everybody who listens gets it."""
    trust = world.hub.node.trust
    trust.broadcast_next_key(NEXT_KEY)
    world.run(20.0)
    assert trust.switch_key()
    world.run(1.0)


def held(world: World) -> bool:
    return world["gsme"].firmware.held is not None


def test_a_gas_meter_that_sleeps_joins_proves_itself_and_fetches_an_image():
    world = world_of(Certificate.LAB)
    data = offer(world)
    begin = world.run_until("ota.started", "gsme", within=DAY).at
    world.run_until("ota.held", "gsme", within=DAY)

    assert world["gsme"].node.store.parent == 0x0000
    assert len(world.said("keys.established", "gsme")) == 1
    assert [fact.size for fact in world.said("ota.complete", "gsme")] == [len(data)]
    in_vain = [fact.at for fact in world.said("mac.expired", "hub") if fact.at > begin]
    assert in_vain == [], "only what the hub said while it slept was said in vain"


def test_while_it_downloads_it_asks_four_times_a_second(world):
    offer(world)
    begin = world.run_until("ota.started", "gsme", within=DAY).at
    end = world.run_until("ota.complete", "gsme").at
    blocks = len(world.said("ota.block", "gsme"))

    assert 0.05 * blocks < end - begin < 0.6 * blocks


def test_an_image_notify_does_not_reach_it_in_its_sleep(world):
    statuses = []
    notify = encode_ota(ImageNotify(0, 100), 1)
    world.hub.send(world["gsme"].node.nwk, OTA_CLUSTER, notify, statuses.append)
    world.run(60.0)

    assert statuses == [SendStatus.DELIVERY_FAILED]
    assert not world.said("ota.query", "gsme")[1:]


def test_with_loss_the_image_arrives_all_the_same():
    world = world_of(loss=0.1)
    offer(world)
    world.run_until("ota.held", "gsme", within=DAY)


def test_a_hub_that_loses_its_power_for_a_moment_in_a_download_goes_on_serving_it(world):
    offer(world)
    world.run_until("ota.block", "gsme", within=DAY, count=20)
    world.hub.node.crash()
    world.run(1.0)
    world.hub.node.reboot()
    world.run_until("ota.held", "gsme", within=DAY)

    offsets = [fact.offset for fact in world.said("ota.block", "gsme")]
    assert offsets == sorted(set(offsets)), "no block twice, none missed"
    assert not world.said("device.detached", "gsme")


def test_a_hub_that_is_away_for_an_hour_finds_the_download_where_it_was(world):
    offer(world)
    world.run_until("ota.block", "gsme", within=DAY, count=20)
    world.hub.node.crash()
    world.run(3600.0)
    assert world.said("device.detached", "gsme")
    assert world["gsme"].node.store.parent == world["ppmid"].node.nwk, "another parent was there"
    world.hub.node.reboot()
    world.run_until("ota.held", "gsme", within=DAY)

    offsets = [fact.offset for fact in world.said("ota.block", "gsme")]
    assert offsets == sorted(set(offsets))
    assert len(world.said("ota.started", "gsme")) == 2, "once more, at the offset that it had"


def test_a_device_that_is_told_to_rejoin_goes_on_where_it_was(world):
    offer(world)
    world.run_until("ota.block", "gsme", within=DAY, count=20)
    world.hub.node.remove(world["gsme"].eui64, rejoin=True)
    world.run_until("ota.held", "gsme", within=DAY)

    assert [fact.why for fact in world.said("device.detached", "gsme")] == ["told to leave and rejoin"]
    offsets = [fact.offset for fact in world.said("ota.block", "gsme")]
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("name", ["gsme", "ppmid"])
def test_the_network_key_is_changed_under_a_download_that_goes_on(world, name):
    data = image_for(world, name, version=NEW, size=200_000 if name == "ppmid" else 12_000)
    world.hub.offer(data, name, activation=Activation.WAIT if name == "gsme" else Activation.NOW)
    world.run_until("ota.block", name, within=DAY, count=20)
    change_key(world)
    world.run_until("ota.complete", name, within=DAY)

    assert world[name].node.network.network_key == NEXT_KEY
    offsets = [fact.offset for fact in world.said("ota.block", name)]
    assert offsets == sorted(set(offsets))
    assert not world.said("device.detached", name), "both were awake and followed"


def test_a_gas_meter_that_sleeps_through_a_change_of_the_key_comes_back_by_itself():
    world = world_of(Certificate.LAB)
    change_key(world)
    assert world["gsme"].node.network.network_key != NEXT_KEY
    offer(world)
    world.run_until("ota.held", "gsme", within=DAY)

    assert world["gsme"].node.network.network_key == NEXT_KEY
    updates = [event.status for event in world.hub.events if isinstance(event, DeviceJoined)]
    assert updates[-1] is DeviceUpdate.UNSECURED_REJOIN
    assert len(world.said("keys.established", "gsme")) == 1, "its link key is still good"


def test_a_ppmid_that_was_off_while_the_key_changed_comes_back_by_itself(world):
    world["ppmid"].power_off()
    change_key(world)
    world["ppmid"].power_on()
    world.run_until("device.attached", "ppmid", within=3600.0)

    assert world["ppmid"].node.network.network_key == NEXT_KEY


def test_where_unsecured_rejoins_are_forbidden_it_stays_out_and_keeps_trying(world):
    world.hub.node.trust.policy = JoinPolicy(allow_joins=False)
    change_key(world)
    offer(world)
    world.run(DAY)

    assert not held(world)
    assert not world["gsme"].is_attached
    assert len(world.said("device.rejoin-failed", "gsme")) > 5
    world.hub.node.trust.policy = JoinPolicy(allow_joins=False, allow_unsecured_rejoins=True)
    world.run_until("ota.held", "gsme", within=DAY)


def test_a_device_whose_link_key_was_taken_away_stays_out(world):
    """What a hub does that removes a device in its sleep: forget its key, and change the network's."""
    eui64 = world["gsme"].eui64
    world.hub.node.trust.link_keys.pop(eui64)
    change_key(world)
    world.run(2 * DAY)

    assert not world["gsme"].is_attached
    assert world["ppmid"].is_attached


def test_a_router_whose_hub_is_away_stays_up_for_those_who_depend_on_it(world):
    world.hub.node.crash()
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run(3 * DAY)

    assert world["ppmid"].node.is_up
    world.hub.node.reboot()
    world.run_until("device.activated", "ppmid", within=2 * DAY)


def test_a_fortnight_of_sleep_takes_few_frames(world):
    before = world.house.air.flights
    world.run(14 * DAY)

    assert world.house.air.flights - before < 14 * 48 * 2 + 14 * 4 * 60, "two frames a question, some a query"


def test_a_hub_that_never_answers_is_not_bothered_all_the_time(world):
    """Whoever holds the network key and is not answered may guess wrong: rejoining does not help."""
    world.hub.node.trust.policy = JoinPolicy()
    world.hub.node._aps._accepts = lambda endpoint: endpoint == 0
    offer(world)
    world.run(2 * DAY)

    assert 2 <= len(world.said("device.detached", "gsme")) < 60


FAR = """
[[devices]]
kind = "ROUTER"
name = "extender"
eui64 = "00-DB-12-34-56-78-92-B1"
install_code = "19a47e1e70bcc9515adfa480fc2f8bf3c1b2"

[[links]]
between = ["dongle", "extender", "ppmid"]
[[links]]
between = ["extender", "gsme"]
"""


def far_world() -> World:
    """A gas meter that only hears a range extender."""
    world = World(parse_home((SLEEPY_GSME.read_text() + FAR).encode()))
    world.hub.node.on_event = world.hub.events.append
    world.hub.form()
    world.hub.admit_everyone()
    world["extender"].power_on()
    world.run_until("node.joined", "extender", within=200.0)
    world["extender"].node.permit(254)
    for name in ("ppmid", "gsme"):
        world[name].power_on()
    world.run_until("device.attached", "gsme", within=250.0)
    world.hub.node.trust.policy = JoinPolicy(allow_joins=False, allow_unsecured_rejoins=True)
    world.run(60.0)
    return world


def test_behind_a_range_extender_a_gas_meter_that_sleeps_is_served_and_follows_the_key():
    world = far_world()
    extender, gsme = world["extender"].node, world["gsme"].node
    assert gsme.store.parent == extender.nwk
    assert gsme.nwk in extender._mac.sleepers
    change_key(world)
    offer(world)
    world.run_until("ota.held", "gsme", within=DAY)

    assert gsme.network.network_key == extender.network.network_key == NEXT_KEY
    assert gsme.store.parent == extender.nwk
    last = [event for event in world.hub.events if isinstance(event, DeviceJoined)][-1]
    assert (last.status, last.parent) == (DeviceUpdate.UNSECURED_REJOIN, extender.nwk)


def test_a_range_extender_that_loses_its_power_keeps_its_child():
    world = far_world()
    offer(world)
    world.run_until("ota.block", "gsme", within=DAY, count=20)
    world["extender"].power_off()
    world.run(2.0)
    world["extender"].power_on()
    world.run_until("ota.held", "gsme", within=DAY)

    offsets = [fact.offset for fact in world.said("ota.block", "gsme")]
    assert offsets == sorted(set(offsets))
