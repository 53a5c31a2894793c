"""Link keys over the true radio path: established, used, demanded, kept, lost and given up."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from certified import credentials
from keyed_world import HUB, LAB, home, keyed_world, new_house

from han.coordinator import (
    DeviceInTrouble,
    DeviceJoined,
    DeviceLeft,
    DeviceSecured,
    DeviceUnsecured,
    NotSecured,
    PayloadTooLong,
    SecuritySettings,
    UnknownDevice,
)
from han.security.install_code import link_key, with_crc
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from han.sim.dongle.personality import plain
from han.sim.node.service import SendRequest, SendStatus
from han.stack import Arrival, Stack
from han.zcl import BASIC_CLUSTER, OTA_CLUSTER, ReadAttributes, ZclFrame, default_response, encode_global
from ota.eui64 import Eui64
from ota.status import Status

pytestmark = pytest.mark.usefixtures("rebound")

QUESTION = encode_global(ReadAttributes((0x0000,)), 9)


@pytest.fixture
async def world(request, tmp_path):
    """A hub and a house of two devices, nobody admitted, without power."""
    options = getattr(request, "param", {})
    async with keyed_world(new_house(home("one", "two", **options)), tmp_path) as made:
        await made.start()
        yield made


on_every_kind_of_dongle = pytest.mark.parametrize(
    "world", [{"ezsp": 8}, {"ezsp": 12}, {"ezsp": 13}, {"ezsp": 17}], ids=str, indirect=True
)
"""Those that find the row by themselves, and those that want to be told."""


# Established


@on_every_kind_of_dongle
async def test_a_device_joins_by_install_code_establishes_a_key_and_the_dongle_has_it(world):
    await world.admit_and_switch_on("one")

    assert [type(event) for event in world.ears.events] == [DeviceJoined, DeviceSecured]
    assert world.known("one").is_secured
    assert world.key_in_dongle("one") == world.key_in_device("one")
    assert world.key_in_device("one") != link_key(world.house.devices["one"].description.install_code)
    assert [fact.suite for fact in world.facts("keys.established")] == ["TWO"]


@pytest.mark.parametrize("world", [{"more": "suites = [1]"}], ids=["suite 1"], indirect=True)
async def test_a_device_of_suite_1_establishes_its_key_in_suite_1(world):
    await world.admit_and_switch_on("one")

    assert world.known("one").is_secured
    assert [fact.suite for fact in world.facts("keys.established")] == ["ONE"]


async def test_two_devices_that_come_at_once_have_a_key_of_their_own_each(world):
    for name in ("one", "two"):
        await world.admit(name)
    world.house.power_on()
    await asyncio.sleep(60.0)

    keys = {world.key_in_dongle(name) for name in ("one", "two")}
    assert len(keys) == 2
    assert keys == {world.key_in_device(name) for name in ("one", "two")}


async def test_more_devices_at_once_than_the_hub_takes_exchanges_all_get_their_key(tmp_path):
    names = [f"device-{number}" for number in range(7)]
    async with keyed_world(new_house(home(*names)), tmp_path) as world:
        await world.start()
        for name in names:
            await world.admit(name)
        world.house.power_on()
        await asyncio.sleep(200.0)

        assert all(world.known(name).is_secured for name in names)
        assert all(world.key_in_dongle(name) == world.key_in_device(name) for name in names)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_on_a_bad_air_and_over_a_bad_line_a_key_is_established_and_used_all_the_same(tmp_path, seed):
    house = new_house(home("one"), loss=0.05, serial_loss=0.02, seed=seed)
    async with keyed_world(house, tmp_path) as world:
        await world.start()
        await world.admit("one")
        world.house.power_on()
        await asyncio.sleep(200.0)

        assert world.known("one").is_secured
        assert world.key_in_dongle("one") == world.key_in_device("one")
        for _ in range(20):
            await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)


@on_every_kind_of_dongle
async def test_protected_clusters_go_under_the_link_key_in_both_directions(world):
    await world.admit_and_switch_on("one")
    heard = world.heard_by("one")

    await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)
    await asyncio.sleep(1.0)

    assert [(message.cluster, message.aps_secured) for message in heard] == [(OTA_CLUSTER, True)]
    ours = [message for message in world.ears.messages if message[1] == OTA_CLUSTER]
    assert ours
    assert all(secured for _, _, _, secured in ours)


async def test_what_needs_no_link_key_goes_without_one(world):
    await world.admit_and_switch_on("one")
    heard = world.heard_by("one")

    await world.hub.send(world.eui64("one"), BASIC_CLUSTER, QUESTION)

    assert [(message.cluster, message.aps_secured) for message in heard] == [(BASIC_CLUSTER, False)]


async def test_under_the_link_key_nine_octets_fewer_fit_a_frame(world):
    await world.admit_and_switch_on("one")

    with pytest.raises(PayloadTooLong) as caught:
        await world.hub.send(world.eui64("one"), OTA_CLUSTER, bytes(100_000))

    assert caught.value.size == 100_000


async def test_the_hub_may_ask_for_a_new_key(world):
    await world.admit_and_switch_on("one")
    before = world.key_in_device("one")

    await world.hub.establish(world.eui64("one"))
    await asyncio.sleep(10.0)

    assert world.key_in_dongle("one") == world.key_in_device("one") != before
    assert [fact.role for fact in world.facts("keys.established")] == ["responder", "initiator"]


# Demanded


async def test_nothing_protected_is_sent_to_a_device_without_a_key(world):
    await world.admit("one")
    world.hub.announced(0x1234, world.eui64("one"))

    with pytest.raises(NotSecured):
        await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)


@pytest.fixture
async def uncertified(tmp_path):
    """A device without a certificate has joined a hub that wants one."""
    async with keyed_world(new_house(home("one", more='certificate = "none"')), tmp_path) as made:
        await made.start()
        await made.admit_and_switch_on("one")
        yield made


async def test_a_protected_message_before_there_is_a_key_is_dropped_told_and_refused_in_the_open(uncertified):
    world = uncertified
    heard = world.heard_by("one")
    world.told.clear()

    await world.say("one", OTA_CLUSTER, QUESTION)
    await asyncio.sleep(1.0)

    assert world.ears.messages == []
    (refusal,) = world.facts("message.refused")
    assert (refusal.device, refusal.cluster) == (str(world.eui64("one")), OTA_CLUSTER)
    (answer,) = [message for message in heard if message.cluster == OTA_CLUSTER]
    assert not answer.aps_secured
    assert answer.payload == default_response(ZclFrame.parse(QUESTION), Status.NOT_AUTHORIZED)


async def test_a_key_of_the_install_code_is_none_that_opens_protected_clusters(uncertified):
    await uncertified.say("one", OTA_CLUSTER, QUESTION, aps_security=True)
    await asyncio.sleep(1.0)

    assert uncertified.ears.messages == []
    assert uncertified.facts("message.refused")[-1].why == "no link key has been established with it"


async def test_a_default_response_is_never_answered_by_another(uncertified):
    heard = uncertified.heard_by("one")
    response = default_response(ZclFrame.parse(QUESTION), Status.FAILURE)

    await uncertified.say("one", OTA_CLUSTER, response)
    await uncertified.say("one", OTA_CLUSTER, b"\x00")
    await asyncio.sleep(1.0)

    assert len(uncertified.facts("message.refused")) >= 2
    assert [message for message in heard if message.cluster == OTA_CLUSTER] == []


async def test_a_broadcast_without_protection_is_dropped_and_not_answered(uncertified):
    heard = uncertified.heard_by("one")
    node = uncertified.house.devices["one"].node
    uncertified.house.pump.wake()
    node.send(SendRequest(0xFFFD, 0x0109, OTA_CLUSTER, 1, 1, QUESTION, aps_ack=False), lambda _: None)
    uncertified.house.pump.wake()
    await asyncio.sleep(5.0)

    assert uncertified.facts("message.refused")
    assert [message for message in heard if message.cluster == OTA_CLUSTER] == []


async def test_what_needs_no_key_is_heard_before_there_is_one(uncertified):
    await uncertified.say("one", BASIC_CLUSTER, QUESTION)
    await asyncio.sleep(1.0)

    assert uncertified.ears.messages == [(uncertified.eui64("one"), BASIC_CLUSTER, QUESTION, False)]


async def test_a_secured_device_that_speaks_in_the_open_is_refused(world):
    await world.admit_and_switch_on("one")
    world.ears.messages.clear()

    assert await world.say("one", OTA_CLUSTER, QUESTION) is SendStatus.OK
    await asyncio.sleep(0.2)

    assert [message for message in world.ears.messages if message[2] == QUESTION] == []
    assert world.facts("message.refused")[-1].why == "it came without APS security"


async def test_a_hub_may_refuse_with_failure_as_older_stacks_do(tmp_path):
    security = dataclasses.replace(LAB, refusal=Status.FAILURE)
    async with keyed_world(new_house(home("one", more='certificate = "none"')), tmp_path) as world:
        await world.start(security=security)
        await world.admit_and_switch_on("one")
        heard = world.heard_by("one")
        await world.say("one", OTA_CLUSTER, QUESTION)
        await asyncio.sleep(1.0)

    (answer,) = [message for message in heard if message.cluster == OTA_CLUSTER]
    assert answer.payload[-1] == Status.FAILURE


async def test_a_device_of_the_laboratory_may_be_admitted_without_key_establishment(tmp_path):
    async with keyed_world(new_house(home("one", more='certificate = "none"')), tmp_path) as world:
        await world.start()
        await world.admit("one", establishes_keys=False)
        world.house.power_on()
        await asyncio.sleep(30.0)
        heard = world.heard_by("one")
        await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)

        assert world.facts("message.refused") == []
        assert any(cluster == OTA_CLUSTER for _, cluster, _, _ in world.ears.messages)
        assert [message.aps_secured for message in heard] == [False]


# Refused


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ((), "UNSUPPORTED_SUITE"),
        ((credentials(Suite.ONE, HUB),), "UNSUPPORTED_SUITE"),
        ((credentials(Suite.TWO, HUB),), "UNKNOWN_ISSUER"),
        ((lab_credentials(Eui64(5)),), "INVALID_CERTIFICATE"),
    ],
    ids=["no certificate", "another suite", "another authority", "another name"],
)
async def test_a_key_establishment_that_fails_is_told_with_its_status(tmp_path, own, why):
    async with keyed_world(new_house(home("one")), tmp_path) as world:
        await world.start(security=SecuritySettings(credentials=lambda _: own))
        await world.admit_and_switch_on("one")

        assert not world.known("one").is_secured
        assert world.events(DeviceSecured) == []
        assert any(why in event.why for event in world.events(DeviceInTrouble)), world.events(DeviceInTrouble)
        assert any(why in fact.why or why == fact.status for fact in world.facts("keys.failed"))


@pytest.mark.parametrize("world", [{"rows": 1}, {"rows": 1, "ezsp": 8}], ids=str, indirect=True)
async def test_a_full_key_table_is_told_and_the_device_hears_that_there_is_no_room(world):
    await world.admit_and_switch_on("one", "two")

    assert world.known("one").is_secured
    assert not world.known("two").is_secured
    assert any("key table is full" in event.why for event in world.events(DeviceInTrouble))
    assert any("NO_RESOURCES" in str(fact.fields) for fact in world.told if fact.who == "two"), [
        fact for fact in world.told if fact.who == "two"
    ]
    assert world.key_in_dongle("one") == world.key_in_device("one")


async def test_a_removed_device_makes_room_in_the_key_table(tmp_path):
    async with keyed_world(new_house(home("one", "two", rows=1)), tmp_path) as world:
        await world.start()
        await world.admit_and_switch_on("one")
        await world.hub.remove(world.eui64("one"))
        await world.admit_and_switch_on("two")

        assert world.known("two").is_secured


# Kept


@pytest.mark.parametrize("arrival", Arrival)
async def test_somebody_elses_attempt_under_the_same_address_takes_no_key_away(world, arrival):
    await world.admit_and_switch_on("one")
    await asyncio.sleep(300.0)
    key = world.key_in_dongle("one")
    await world.admit("two")

    world.hub.keyed(0x4321, world.eui64("one"), arrival)
    await asyncio.sleep(30.0)

    assert world.key_in_dongle("one") == key
    assert world.known("one").is_secured
    await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)
    if arrival is Arrival.JOIN:
        assert world.events(DeviceInTrouble) == []


@on_every_kind_of_dongle
async def test_a_hub_that_comes_back_goes_on_under_the_same_key_with_fresh_counters(world):
    await world.admit_and_switch_on("one")
    key = world.key_in_dongle("one")
    counters = []
    for _ in range(3):
        await world.restart()
        await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)
        counters.append(world.house.node.store.link_counter.next)
        assert await world.say("one", OTA_CLUSTER, QUESTION, aps_security=True) is SendStatus.OK

    assert world.key_in_dongle("one") == key
    assert len(world.facts("keys.established")) == 1
    assert counters == sorted(set(counters))
    assert world.facts("frame.dropped", "one") == []


async def test_a_dongle_that_restarts_uses_no_counter_twice(world):
    await world.admit_and_switch_on("one")
    await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)
    before = world.house.node.store.link_counter.next

    world.house.dongle.crash()
    world.house.pump.wake()
    await asyncio.sleep(120.0)
    await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)

    assert world.house.node.store.link_counter.next > before
    assert [fact for fact in world.facts("frame.dropped", "one") if "replayed" in fact.why] == []


async def test_a_key_that_the_dongle_has_lost_is_established_anew_by_the_hub(world):
    await world.admit_and_switch_on("one")
    before = world.key_in_device("one")
    await world.hub._link.stack.key_table.erase(world.eui64("one"))

    await world.restart()
    await asyncio.sleep(10.0)

    assert [event.eui64 for event in world.events(DeviceUnsecured)] == [world.eui64("one")]
    assert world.known("one").is_secured
    assert world.key_in_dongle("one") == world.key_in_device("one") != before


async def test_a_key_that_the_hub_knows_nothing_of_after_a_power_cut_is_established_anew(world):
    await world.admit_and_switch_on("one")
    before = world.key_in_device("one")
    world.known("one").is_secured = False

    await world.restart()
    await asyncio.sleep(10.0)

    assert world.known("one").is_secured
    assert world.key_in_dongle("one") == world.key_in_device("one") != before


async def test_a_device_that_was_reset_joins_anew_and_gets_another_key(world):
    await world.admit_and_switch_on("one")
    before = world.key_in_device("one")
    device = world.house.devices["one"]
    device.power_off()
    device.memory.node.forget()

    await world.admit("one")
    device.power_on()
    await asyncio.sleep(90.0)

    assert world.known("one").is_secured
    assert world.key_in_dongle("one") == world.key_in_device("one") != before


@pytest.mark.parametrize("world", [{"ezsp": 4}], ids=str, indirect=True)
async def test_where_the_key_table_holds_the_keys_to_join_with_too_a_new_admission_ends_the_old_key(world):
    await world.admit_and_switch_on("one")
    assert world.known("one").is_secured
    await world.admit("one")

    assert [event.eui64 for event in world.events(DeviceUnsecured)] == [world.eui64("one")]
    assert not world.known("one").is_secured
    await world.hub.establish(world.eui64("one"))
    await asyncio.sleep(30.0)
    assert world.known("one").is_secured
    assert world.key_in_dongle("one") == world.key_in_device("one")


async def test_a_ready_link_key_counts_as_established(tmp_path):
    ready = bytes(range(0x30, 0x40))
    async with keyed_world(new_house(home("one", more='certificate = "none"')), tmp_path) as world:
        await world.start(security=SecuritySettings(link_keys=lambda _: ready))
        await world.admit("one")

        assert world.known("one").is_secured
        assert world.key_in_dongle("one") == ready


# Given up


async def test_a_removed_device_is_asked_to_leave_and_its_key_is_erased(world):
    await world.admit_and_switch_on("one")

    await world.hub.remove(world.eui64("one"))
    await asyncio.sleep(5.0)

    assert world.hub.devices == []
    assert world.hub.removed == (world.eui64("one"),)
    assert world.key_in_dongle("one") is None
    assert world.facts("device.detached", "one")
    with pytest.raises(UnknownDevice):
        await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)


async def test_a_removed_device_stays_out_while_others_join_and_over_a_restart(world):
    await world.admit_and_switch_on("one")
    await world.hub.remove(world.eui64("one"))
    await world.restart()
    await world.admit_and_switch_on("two")
    await asyncio.sleep(200.0)

    assert [device.eui64 for device in world.hub.devices] == [world.eui64("two")]
    assert world.house.devices["one"].node.nwk is None
    assert any(fact.why == "it was removed" for fact in world.facts("join.refused"))


async def test_a_removed_device_that_did_not_hear_of_it_is_asked_to_leave_when_it_speaks(world):
    await world.admit_and_switch_on("one")
    device = world.house.devices["one"]
    device.power_off()
    await world.hub.remove(world.eui64("one"))
    assert world.facts("device.unreachable")

    device.power_on()
    await asyncio.sleep(60.0)

    assert world.facts("device.dismissed")
    assert device.node.nwk is None


async def test_a_removed_device_that_is_admitted_anew_joins_and_gets_another_key(world):
    await world.admit_and_switch_on("one")
    before = world.key_in_device("one")
    await world.hub.remove(world.eui64("one"))
    await asyncio.sleep(5.0)

    await world.admit("one")
    await asyncio.sleep(120.0)

    assert world.hub.removed == ()
    assert world.known("one").is_secured
    assert world.key_in_dongle("one") == world.key_in_device("one") != before


async def test_a_device_that_leaves_has_no_key_any_more(world):
    await world.admit_and_switch_on("one")
    world.house.pump.wake()
    world.house.devices["one"].node.leave()
    world.house.pump.wake()
    await asyncio.sleep(1.0)

    assert world.events(DeviceLeft)
    assert not world.known("one").is_secured


async def test_an_unknown_device_cannot_be_removed(world):
    with pytest.raises(UnknownDevice, match="not admitted"):
        await world.hub.remove(world.eui64("one"))


# Let in


@pytest.mark.parametrize("size", [6, 8, 12, 16])
@on_every_kind_of_dongle
async def test_an_install_code_of_every_length_lets_its_device_in(tmp_path, world, size):
    code = with_crc(bytes(range(1, size + 1)))
    device = world.house.devices["one"]
    device._attachment._link_key = link_key(code)  # in place of that of its label
    await world.admit("one", code=code)
    device.power_on()
    await asyncio.sleep(30.0)

    assert world.known("one").is_secured


async def test_a_wrong_install_code_is_reported_each_time_and_the_right_one_ends_it(world):
    await world.admit("one", code=with_crc(bytes(range(16))))
    world.house.devices["one"].power_on()
    await asyncio.sleep(100.0)
    assert world.events(DeviceJoined) == []
    assert len(world.events(DeviceInTrouble)) >= 2
    assert all("install code" in event.why for event in world.events(DeviceInTrouble))

    await world.admit("one")
    await asyncio.sleep(120.0)

    assert world.known("one").is_secured


# On a network whose keys come of one secret


class Derived(Stack):
    """A host that forms networks as bellows does."""

    async def write_network_info(self, **settings: object) -> None:
        await super(Stack, self).write_network_info(**settings)


@pytest.mark.parametrize("overrides", [True, False])
@pytest.mark.parametrize("ezsp", [8, 13, 17])
async def test_on_a_network_that_another_host_formed_keys_are_heeded_either_way(
    tmp_path, monkeypatch, overrides, ezsp
):
    personality = dataclasses.replace(plain(ezsp), imported_key_overrides=overrides)
    async with keyed_world(new_house(home("one"), personality=personality), tmp_path / "other") as world:
        with monkeypatch.context() as patch:
            patch.setattr("han.radio.Stack", Derived)
            await world.start()
            network, key = world.hub.network, world.house.node.network.network_key
            counter = world.house.node.store.network_counter.next
            await world.hub.close()
        world.state = tmp_path / "ours"
        await world.start(adopt=True)
        await world.admit_and_switch_on("one")
        await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)

        assert world.hub.network == network
        assert world.house.node.network.network_key == key
        assert world.house.node.store.network_counter.next > counter
        assert world.facts("network.keys-separated", "radio")
        assert world.known("one").is_secured


@pytest.mark.parametrize("ezsp", [8, 13, 17])
async def test_separating_the_keys_of_a_network_leaves_its_devices_and_their_counters_as_they_are(
    tmp_path, monkeypatch, ezsp
):
    async with keyed_world(new_house(home("one"), personality=plain(ezsp)), tmp_path) as world:
        with monkeypatch.context() as patch:
            patch.setattr("han.radio.Stack", Derived)
            await world.start()
            await world.admit_and_switch_on("one")
            for _ in range(5):
                await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)
        key, store = world.key_in_device("one"), world.house.node.store
        counters = store.network_counter.next, store.link_counter.next

        await world.restart()
        await world.hub.send(world.eui64("one"), OTA_CLUSTER, QUESTION)
        world.ears.messages.clear()
        assert await world.say("one", OTA_CLUSTER, QUESTION, aps_security=True) is SendStatus.OK
        await asyncio.sleep(1.0)

        assert len(world.facts("network.keys-separated", "radio")) == 1
        assert world.key_in_dongle("one") == world.key_in_device("one") == key
        assert (world.eui64("one"), OTA_CLUSTER, QUESTION, True) in world.ears.messages
        assert store.network_counter.next > counters[0]
        assert store.link_counter.next > counters[1]
        assert [fact for fact in world.facts("frame.dropped", "one") if "replay" in fact.why] == []

        await world.restart()
        assert len(world.facts("network.keys-separated", "radio")) == 1, "once is enough"


@on_every_kind_of_dongle
async def test_a_backup_of_the_network_holds_the_link_keys_and_their_counters(world):
    await world.admit_and_switch_on("one")

    backup = await world.hub._link.stack.backups.create_backup(load_devices=True)

    (kept,) = backup.network_info.key_table
    assert Eui64.from_wire(kept.partner_ieee.serialize()) == world.eui64("one")
    assert kept.key.serialize() == world.key_in_device("one")
    assert kept.tx_counter > 0
