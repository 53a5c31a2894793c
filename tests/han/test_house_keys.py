"""A device in a house proves itself by certificate, and speaks on protected clusters under that key alone."""

from __future__ import annotations

import pytest
from house_world import HUB_ENDPOINT, World, home_with, image_for

from han.security.install_code import link_key, with_crc
from han.security.key_establishment import Established, Initiate, Role
from han.security.lab_authority import lab_credentials
from han.sim.node.service import SimpleDescriptor
from han.zcl import (
    BASIC_CLUSTER,
    KEY_ESTABLISHMENT_CLUSTER,
    OTA_CLUSTER,
    SMART_ENERGY_PROFILE,
    TUNNELLING_CLUSTER,
    DefaultResponse,
    ReadAttributes,
    ZclFrame,
    decode_global,
    encode_global,
    encode_key_establishment,
    encode_ota,
)
from ota.commands import ImageNotify
from ota.status import Status

NEW = 0x00020000

PPMID = """
[[devices]]
kind = "PPMID"
name = "ppmid"
eui64 = "00-DB-12-34-56-78-90-A4"
install_code = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
image_type = 0x0084
file_version = 0x00010000
first_query_within = 1
certificate = "lab"
"""


def world_of(devices: str = PPMID, **options) -> World:
    world = World(home_with(devices), **options)
    world.hub.form()
    world.hub.admit_everyone()
    world.house.power_on()
    return world


@pytest.fixture
def world() -> World:
    """A device that has found its hub, and has asked it for an image once."""
    world = world_of()
    world.run_until("ota.query", "ppmid", within=30.0)
    world.run(2.0)
    return world


def key_of(world: World) -> bytes:
    """The key that the device shares with its Trust Centre."""
    return world["ppmid"].memory.node.link_keys[world.hub.node.eui64].key


def key_at_the_hub(world: World) -> bytes:
    return world.hub.node.trust.link_keys[world["ppmid"].eui64].key


def test_a_device_establishes_a_key_as_soon_as_it_has_joined_and_only_then_looks_for_its_server(world):
    told = [fact.what for fact in world.facts if fact.who == "ppmid"]

    assert told.index("node.joined") < told.index("keys.started") < told.index("keys.established")
    assert told.index("keys.established") < told.index("device.attached")
    assert key_of(world) == key_at_the_hub(world)
    assert key_of(world) != link_key(world["ppmid"].description.install_code)


def test_the_device_is_the_one_that_begins(world):
    (established,) = [event for event in world.hub.keys.events if isinstance(event, Established)]

    assert established.role is Role.RESPONDER
    assert world.said("keys.established", "ppmid")[0].role == "initiator"


def test_a_whole_update_goes_under_the_link_key_with_56_octets_in_each_block(world):
    world.hub.heard.clear()
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")

    assert [block.offset for block in world.said("ota.block", "ppmid")[:3]] == [0, 56, 112]
    protected = [message for message in world.hub.heard if message.cluster == OTA_CLUSTER]
    assert len(protected) > 50
    assert all(message.aps_secured for message in protected)


def test_the_exchange_itself_goes_without_aps_security(world):
    exchange = [message for message in world.hub.heard if message.cluster == KEY_ESTABLISHMENT_CLUSTER]

    assert len(exchange) == 3
    assert not any(message.aps_secured for message in exchange)


def test_the_key_outlives_a_power_cut_and_nothing_is_established_anew(world):
    key = key_of(world)
    world["ppmid"].power_off()
    world.run(60.0)
    world["ppmid"].power_on()
    world.run_until("device.attached", "ppmid", within=30.0)
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")

    assert len(world.said("keys.established", "ppmid")) == 1
    assert key_of(world) == key


def test_no_counter_is_used_again_after_a_power_cut(world):
    """The hub's node refuses a counter that it has heard; what it has to refuse is nothing."""
    for _ in range(3):
        world["ppmid"].power_off()
        world["ppmid"].power_on()
        world.run_until("device.attached", "ppmid", within=30.0)

    assert world.hub.node.counters.aps_frame_counter_failure == 0


def test_a_power_cut_in_the_middle_of_an_exchange_is_made_up_for():
    world = world_of()
    world.run_until("keys.started", "ppmid", within=30.0)
    world["ppmid"].power_off()
    world.run(5.0)
    world["ppmid"].power_on()
    world.run_until("device.attached", "ppmid", within=120.0)

    assert key_of(world) == key_at_the_hub(world)


@pytest.mark.parametrize("suites", ["[1]", "[2]", "[1, 2]"])
def test_either_suite_does(suites):
    world = world_of(PPMID + f"suites = {suites}\n")
    world.run_until("device.attached", "ppmid", within=30.0)

    assert world.said("keys.started", "ppmid")[0].suite == int(suites[-2])
    assert key_of(world) == key_at_the_hub(world)


def test_a_device_whose_hub_has_no_key_establishment_keeps_asking_and_uses_nothing_protected():
    world = World(home_with(PPMID))
    served = world.hub.node.endpoints[HUB_ENDPOINT]
    world.hub.node.endpoints[HUB_ENDPOINT] = SimpleDescriptor(
        SMART_ENERGY_PROFILE, 0x0500, 0, (OTA_CLUSTER, TUNNELLING_CLUSTER), ()
    )
    world.hub.form()
    world.hub.admit_everyone()
    world.house.power_on()
    world.run_until("device.no-server", "ppmid", count=3)

    assert world.said("device.no-server")[0].cluster == KEY_ESTABLISHMENT_CLUSTER
    assert not world["ppmid"].is_attached
    assert world.hub.heard == []

    world.hub.node.endpoints[HUB_ENDPOINT] = served
    world.run_until("device.attached", "ppmid", within=200.0)


def test_a_device_without_a_certificate_asks_for_no_key_and_is_served_in_plain():
    world = world_of(PPMID.replace('"lab"', '"none"'))
    world.run_until("device.attached", "ppmid", within=30.0)
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")

    assert not world.said("keys.started")
    assert not any(message.aps_secured for message in world.hub.heard)


def test_a_protected_message_in_plain_is_dropped_said_and_refused_in_plain(world):
    nwk = world["ppmid"].node.nwk
    question = encode_global(ReadAttributes((0x0002,), from_server=True), 77)
    world.run(60.0)
    world.hub.send_as_is(nwk, OTA_CLUSTER, question, aps_security=False)
    drop = world.run_until("frame.dropped", "ppmid", within=5.0)
    world.run(1.0)
    answer = world.hub.heard[-1]

    assert "not under the link key" in drop.why
    assert not answer.aps_secured
    frame = ZclFrame.parse(answer.payload)
    assert (frame.sequence, decode_global(frame).status) == (77, Status.NOT_AUTHORIZED)


def test_the_install_codes_key_opens_nothing_that_is_protected():
    world = World(home_with(PPMID))
    world.hub.node.endpoints[HUB_ENDPOINT] = SimpleDescriptor(
        SMART_ENERGY_PROFILE, 0x0500, 0, (OTA_CLUSTER,), ()
    )
    world.hub.form()
    world.hub.admit_everyone()
    world.house.power_on()
    world.run_until("device.no-server", "ppmid", within=30.0)
    question = encode_global(ReadAttributes((0x0002,), from_server=True), 77)
    world.hub.send_as_is(world["ppmid"].node.nwk, OTA_CLUSTER, question, aps_security=True)
    drop = world.run_until("frame.dropped", "ppmid", within=5.0)

    assert "a key that was not established" in drop.why


def test_an_image_notify_to_everyone_may_come_in_plain(world):
    world.run(30.0)
    queries = len(world.said("ota.query", "ppmid"))
    frame = encode_ota(ImageNotify(query_jitter=100), 9, broadcast=True)
    world.hub.send_as_is(0xFFFF, OTA_CLUSTER, frame, aps_security=False)
    world.run(10.0)

    assert len(world.said("ota.query", "ppmid")) == queries + 1


def test_an_image_notify_to_one_may_not(world):
    world.run(30.0)
    queries = len(world.said("ota.query", "ppmid"))
    frame = encode_ota(ImageNotify(query_jitter=100), 9)
    world.hub.send_as_is(world["ppmid"].node.nwk, OTA_CLUSTER, frame, aps_security=False)
    world.run(10.0)

    assert len(world.said("ota.query", "ppmid")) == queries
    assert world.said("frame.dropped", "ppmid")


@pytest.mark.parametrize("cluster", [BASIC_CLUSTER, OTA_CLUSTER])
def test_a_torn_default_response_is_not_answered_by_another(world, cluster):
    world.run(60.0)
    torn = ZclFrame(DefaultResponse.COMMAND_ID, 98, b"\x00", is_cluster_command=False, from_server=True)
    world.hub.send_as_is(world["ppmid"].node.nwk, cluster, torn.to_bytes(), aps_security=False)
    drop = world.run_until("frame.dropped", "ppmid", within=5.0)
    world.run(5.0)

    assert "Default Response ends" in drop.why
    assert 98 not in [ZclFrame.parse(message.payload).sequence for message in world.hub.heard]


def test_a_broadcast_establishes_no_key(world):
    world.run(60.0)
    started = len(world.said("keys.started", "ppmid"))
    initiate = Initiate(2, 11, 16, lab_credentials(world.hub.node.eui64).certificate.to_bytes(), False)
    frame = encode_key_establishment(initiate, 9)
    world.hub.send_as_is(0xFFFF, KEY_ESTABLISHMENT_CLUSTER, frame, aps_security=False)
    world.run(5.0)

    assert len(world.said("keys.started", "ppmid")) == started
    assert world.said("frame.dropped", "ppmid")


def test_what_is_not_protected_is_answered_in_plain(world):
    world.hub.send(world["ppmid"].node.nwk, BASIC_CLUSTER, encode_global(ReadAttributes((0x0005,)), 99))
    world.run(1.0)
    (answer,) = [
        message
        for message in world.hub.heard
        if message.cluster == BASIC_CLUSTER and ZclFrame.parse(message.payload).sequence == 99
    ]

    assert decode_global(ZclFrame.parse(answer.payload)).records[0].value == "PPMID"
    assert not answer.aps_secured


def test_the_suites_of_the_device_can_be_read(world):
    question = encode_global(ReadAttributes((0x0000,)), 5)
    world.hub.send(world["ppmid"].node.nwk, KEY_ESTABLISHMENT_CLUSTER, question)
    world.run(1.0)

    assert decode_global(world.hub.global_answers[-1]).records[0].value == 2


@pytest.mark.parametrize("cut", [False, True], ids=["at once", "after a power cut"])
def test_a_frame_that_was_recorded_is_refused_when_it_is_played_again(world, cut):
    """The network layer's counters stop it first; those of the link key stop it once more."""

    def answers():
        return [frame for frame in world.hub.global_answers if frame.sequence == 77]

    flights = []
    world.house._sniffers.append(flights.append)
    question = encode_global(ReadAttributes((0x0002,), from_server=True), 77)
    world.hub.send(world["ppmid"].node.nwk, OTA_CLUSTER, question)
    world.run(1.0)
    device = world["ppmid"].node
    if cut:
        world["ppmid"].power_off()
        world["ppmid"].power_on()
        world.run_until("device.attached", "ppmid", within=30.0)
        world.run(20.0)
    device.store.heard.clear()  # a network layer that has forgotten whom it heard
    device._aps._heard.clear()
    before = len(answers())
    recorded = next(flight for flight in flights if len(flight.psdu) > 40)
    world.house.air.transmit(world.hub.node, recorded.channel, recorded.psdu, lambda: None)
    world.run(1.0)

    assert device.counters.aps_frame_counter_failure == 1
    assert len(answers()) == before == 1


def test_a_hub_may_begin_too_and_both_go_on_under_the_new_key(world):
    before = key_of(world)
    world.hub.keys.initiate(world["ppmid"].eui64)
    world.run_until("keys.established", "ppmid", within=10.0)

    assert world.said("keys.established", "ppmid")[-1].role == "responder"
    world.run(1.0)
    assert key_of(world) == key_at_the_hub(world) != before
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")


def test_a_key_that_is_renewed_in_mid_transfer_breaks_nothing(world):
    data = image_for(world, "ppmid", version=NEW, size=20_000)
    world.hub.offer(data, "ppmid")
    world.run_until("ota.block", "ppmid", count=50)
    world.hub.keys.initiate(world["ppmid"].eui64)
    world.run_until("device.activated", "ppmid")

    assert len(world.said("keys.established", "ppmid")) == 2
    assert world["ppmid"].file_version == NEW
    assert not world.said("device.refused")


def test_a_hub_that_lost_its_keys_is_given_a_new_one(world):
    """It answers the next protected message in plain; that is how the device finds out."""
    world.run(120.0)
    world.hub.keys.forget(world["ppmid"].eui64)
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("keys.established", "ppmid", within=26 * 3600.0)
    world.run_until("device.activated", "ppmid", within=26 * 3600.0)

    assert key_of(world) == key_at_the_hub(world)


def test_who_keeps_saying_that_there_is_no_key_does_not_keep_the_device_busy(world):
    world.run(120.0)
    refusal = encode_global(DefaultResponse(0x01, Status.NOT_AUTHORIZED), 9)
    for _ in range(20):
        world.hub.send_as_is(world["ppmid"].node.nwk, OTA_CLUSTER, refusal, aps_security=False)
        world.run(1.0)

    assert len(world.said("keys.refused", "ppmid")) == 1
    assert len(world.said("keys.established", "ppmid")) == 2


def test_a_device_that_is_sent_away_establishes_a_key_anew_when_it_comes_back(world):
    eui64 = world["ppmid"].eui64
    world.hub.keys.forget(eui64)
    world.hub.node.trust.link_keys.pop(eui64)
    world["ppmid"].node.leave()
    world.hub.admit_everyone()
    world.run_until("device.attached", "ppmid", within=120.0)

    assert len(world.said("keys.established", "ppmid")) == 2
    assert key_of(world) == key_at_the_hub(world)


@pytest.mark.parametrize("seed", range(4))
def test_a_lossy_air_delays_the_exchange_and_no_more(seed):
    world = world_of(loss=0.2, seed=seed)
    world.run_until("device.attached", "ppmid", within=250.0)

    assert key_of(world) == key_at_the_hub(world)


def test_no_key_shows_in_a_fact_or_a_repr(world):
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")
    told = "\n".join(fact.to_json() for fact in world.facts)
    shown = f"{world['ppmid'].memory!r} {world['ppmid']!r} {world.hub.keys.events}"

    assert key_of(world).hex() not in told
    assert key_of(world).hex() not in shown
    assert str(key_of(world)) not in shown


def street(count: int) -> str:
    """So many PPMIDs, each with an install code of its own."""
    homes = []
    for number in range(count):
        code = with_crc(number.to_bytes(16, "big")).hex()
        homes.append(
            PPMID.replace('"ppmid"', f'"ppmid-{number}"')
            .replace("78-90-A4", f"79-00-{number:02X}")
            .replace("75288bc88fde9392165f3d8ccca3a7d7a6c0", code)
        )
    return "".join(homes)


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_devices_that_come_at_once_all_get_their_key(seed):
    """They take their time, and the hub runs four exchanges at once; the others are told how long to wait."""
    slow = street(20).replace('certificate = "lab"', 'establishment = "slow"\ncertificate = "lab"')
    world = world_of(slow, seed=seed)
    world.run_until("device.attached", within=1200.0, count=20)
    refused = [fact for fact in world.said("keys.failed") if "NO_RESOURCES" in fact.why]

    assert refused
    keys = {device.memory.established_key for device in world.house.devices.values()}
    assert len(keys) == 20
    for device in world.house.devices.values():
        assert world.hub.node.trust.link_keys[device.eui64].key == device.memory.established_key


def test_twenty_devices_whose_power_fails_in_the_middle_of_it_all_get_their_key_afterwards():
    world = world_of(street(20))
    world.run_until("keys.established", within=240.0, count=3)
    world.house.power_off()
    world.run(10.0)
    world.hub.admit_everyone()
    world.house.power_on()
    world.run(240.0)

    assert all(device.is_attached for device in world.house.devices.values())
