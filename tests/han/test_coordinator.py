"""The hub's end of the network, over unmodified bellows, the virtual dongle and real frames on the air."""

from __future__ import annotations

import asyncio

import pytest
from bellows.exception import EzspError
from bellows.types import sl_Status
from dongle_house import (
    CODE,
    DEVICE_ENDPOINT,
    DONGLE,
    HCALCS,
    OTHER_CODE,
    PPMID,
    DongleHouse,
    Ears,
    heard_by,
    registered,
    start,
)
from zigpy.exceptions import ControllerException, DeliveryError

import han.sim  # noqa: F401 - registers sim://
from han.admission import Admitted, DeviceState
from han.coordinator import (
    LARGEST_PAYLOAD,
    Coordinator,
    DeliveryFailed,
    DeviceInTrouble,
    DeviceJoined,
    DeviceLeft,
    DeviceMoved,
    Discovered,
    PayloadTooLong,
    RadioBack,
    RadioBusy,
    RadioGone,
    RadioLost,
    SecuritySettings,
    UnknownDevice,
)
from han.errors import OurError, SurroundingsError
from han.key_folder import KeyFolder
from han.security.errors import InstallCodeError
from han.security.install_code import link_key
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from han.sim.air.medium import Clear, Lossy
from han.sim.node.node import Node
from han.stack import Arrival
from han.zcl import OTA_CLUSTER, TUNNELLING_CLUSTER
from ota.eui64 import Eui64


class World:
    """A house, a coordinator on its dongle, and what it told."""

    def __init__(self, house: DongleHouse) -> None:
        self.house = house
        self.ears = Ears()
        self.hub: Coordinator

    async def start(self, devices: list[Admitted] | None = None, **changes: object) -> None:
        """Bring the hub up."""
        self.hub = await start(self.house, self.ears, devices, **changes)

    async def joined_device(self, eui64: Eui64 = PPMID, kind: str = "PPMID") -> Node:
        """Admit a device and let it join."""
        node = self.house.new_device(eui64)
        await self.hub.admit(eui64, CODE, kind)
        await self.house.join(node, link_key(CODE))
        await asyncio.sleep(1)
        return node

    def facts(self, what: str) -> list[object]:
        """The facts of this kind so far."""
        return [fact for fact in self.heard if fact.what == what]


on_both_dialects = pytest.mark.parametrize("world", [13, 17], ids=["ezsp13", "ezsp17"], indirect=True)
"""For promises that depend on how the dongle speaks."""


@pytest.fixture
async def world(rebound, request, tmp_path):
    """A running hub on a dongle that was empty."""
    with (
        registered(DongleHouse(ezsp=getattr(request, "param", 13))) as house,
        house.facts.recorded() as heard,
    ):
        world = World(house)
        world.heard = heard
        await world.start(state=tmp_path)
        yield world
        await world.hub.close()


# Starting


async def test_a_dongle_that_no_certificate_names_is_left_as_it_was(rebound, tmp_path):
    keys = KeyFolder.make(tmp_path / "keys")

    def credentials(eui64):
        if not (found := keys.credentials_of(eui64)):
            raise SurroundingsError(f"nothing names {eui64}")
        return found

    with registered(DongleHouse()) as house:
        for _ in range(2):
            with pytest.raises(SurroundingsError, match=f"nothing names {DONGLE}"):
                await start(house, Ears(), security=SecuritySettings(credentials=credentials))
            assert house.store.network is None
        keys.add_credentials(lab_credentials(DONGLE))
        hub = await start(house, Ears(), security=SecuritySettings(credentials=credentials))

        assert hub.suites == Suite.TWO
        await hub.close()


# Joining


@on_both_dialects
async def test_a_device_with_its_install_code_joins_and_is_told_of_once(world):
    node = await world.joined_device()

    assert world.ears.events == [DeviceJoined(PPMID, node.nwk)]
    assert world.hub.devices == [
        Admitted(
            PPMID,
            "PPMID",
            nwk=node.nwk,
            endpoint=None,
            state=DeviceState.JOINED,
            establishes_keys=False,
        )
    ]


@on_both_dialects
async def test_a_device_with_another_install_code_never_joins_and_is_reported_as_in_trouble(world):
    node = world.house.new_device()
    await world.hub.admit(PPMID, CODE, "PPMID")

    result = await world.house.join(node, link_key(OTHER_CODE))
    await asyncio.sleep(15)

    assert result.nwk is None
    assert [type(event) for event in world.ears.events] == [DeviceInTrouble]
    assert "install code" in world.ears.events[0].why
    assert [fact.device for fact in world.facts("join.failed")] == [str(PPMID)]


async def test_a_device_that_was_not_admitted_stays_out_while_another_may_join(world):
    stranger = world.house.new_device(HCALCS)
    await world.hub.admit(PPMID, CODE, "PPMID")

    await world.house.join(stranger, link_key(CODE))
    await asyncio.sleep(10)

    assert world.ears.events == []
    assert stranger.nwk is None


@on_both_dialects
async def test_joining_closes_when_its_time_is_over(world):
    await world.hub.admit(PPMID, CODE, "PPMID", seconds=60)
    await asyncio.sleep(61)
    node = world.house.new_device()

    result = await world.house.join(node, link_key(CODE))

    assert result.nwk is None
    assert world.facts("join.closed")


async def test_a_second_admission_keeps_joining_open_for_both(world):
    await world.hub.admit(PPMID, CODE, "PPMID", seconds=200)
    await world.hub.admit(HCALCS, CODE, "HCALCS", seconds=10)
    await asyncio.sleep(100)

    node = world.house.new_device(PPMID)
    await world.house.join(node, link_key(CODE))
    await asyncio.sleep(1)

    assert world.ears.events == [DeviceJoined(PPMID, node.nwk)]


async def test_an_install_code_with_a_wrong_crc_is_refused_before_anything_opens(world):
    with pytest.raises(InstallCodeError):
        await world.hub.admit(PPMID, CODE[:-1] + b"\x00", "PPMID")

    assert world.hub.devices == []
    assert [fact for fact in world.facts("join.permitted") if fact.seconds] == []


@pytest.mark.parametrize("seconds", [0, 255, -1])
async def test_joining_cannot_be_open_for_longer_than_the_standard_has(world, seconds):
    with pytest.raises(OurError, match="254"):
        await world.hub.admit(PPMID, CODE, "PPMID", seconds=seconds)


async def test_no_install_code_and_no_key_is_in_any_fact(world):
    await world.joined_device()
    told = "".join(fact.to_json() for fact in world.heard).lower()

    for secret in (CODE, CODE[:-2], link_key(CODE)):
        assert secret.hex() not in told
        assert str(secret) not in told


# Sending


@on_both_dialects
async def test_what_is_sent_arrives_and_what_comes_back_is_told_with_its_sender(world):
    node = await world.joined_device()
    heard = heard_by(node)

    await world.hub.send(PPMID, OTA_CLUSTER, b"down")
    await world.house.say(node, b"up")
    await asyncio.sleep(0.1)

    assert [(message.cluster, message.payload) for message in heard] == [(OTA_CLUSTER, b"down")]
    assert world.ears.messages == [(PPMID, OTA_CLUSTER, b"up", False)]


@on_both_dialects
async def test_what_is_broadcast_arrives_once_as_a_broadcast_and_under_no_link_key(world):
    node = await world.joined_device()
    heard = heard_by(node)

    await world.hub.broadcast(OTA_CLUSTER, b"to all")
    await asyncio.sleep(1.0)

    assert [(message.cluster, message.payload) for message in heard] == [(OTA_CLUSTER, b"to all")]
    assert [(message.broadcast, message.aps_secured) for message in heard] == [(True, False)]


async def test_what_is_too_long_for_a_broadcast_is_not_sent(world):
    with pytest.raises(PayloadTooLong):
        await world.hub.broadcast(OTA_CLUSTER, bytes(LARGEST_PAYLOAD + 1))


@on_both_dialects
async def test_the_first_word_to_a_device_finds_its_endpoint(world):
    node = await world.joined_device()
    heard = heard_by(node)

    await world.hub.send(PPMID, OTA_CLUSTER, b"down")

    assert [message.destination_endpoint for message in heard] == [DEVICE_ENDPOINT]
    assert world.hub.devices[0].endpoint == DEVICE_ENDPOINT


async def test_a_device_says_which_endpoint_has_its_ota_client(world):
    await world.joined_device()

    assert await world.hub.discover(PPMID) == Discovered(
        DEVICE_ENDPOINT, 0x0109, 0x0502, (0x0000,), (OTA_CLUSTER,)
    )


async def test_a_device_without_an_ota_client_says_so(world):
    node = await world.joined_device()
    node.endpoints.clear()

    assert await world.hub.discover(PPMID) is None
    with pytest.raises(DeliveryFailed, match="no endpoint"):
        await world.hub.send(PPMID, OTA_CLUSTER, b"down")


@on_both_dialects
async def test_the_largest_payload_arrives_and_one_octet_more_is_refused_where_it_may_not_be_cut(world):
    node = await world.joined_device()
    heard = heard_by(node)
    await world.hub.send(PPMID, OTA_CLUSTER, bytes(LARGEST_PAYLOAD))

    with pytest.raises(PayloadTooLong) as caught:
        await world.hub.send(PPMID, OTA_CLUSTER, bytes(LARGEST_PAYLOAD + 1), fragments=False)

    assert (caught.value.size, caught.value.limit) == (83, 82)
    assert [len(message.payload) for message in heard] == [LARGEST_PAYLOAD]


async def test_a_device_that_was_not_admitted_cannot_be_sent_to(world):
    with pytest.raises(UnknownDevice, match="not admitted"):
        await world.hub.send(HCALCS, OTA_CLUSTER, b"down")


async def test_a_device_that_has_not_joined_cannot_be_sent_to(world):
    await world.hub.admit(PPMID, CODE, "PPMID")

    with pytest.raises(UnknownDevice, match="not joined"):
        await world.hub.send(PPMID, OTA_CLUSTER, b"down")
    with pytest.raises(UnknownDevice):
        await world.hub.discover(PPMID)


@on_both_dialects
async def test_a_device_that_is_switched_off_is_reported_within_ten_seconds(world):
    node = await world.joined_device()
    await world.hub.discover(PPMID)
    node.crash()
    before = world.house.loop.time()

    with pytest.raises(DeliveryFailed):
        await world.hub.send(PPMID, OTA_CLUSTER, b"down")

    assert world.house.loop.time() - before < 10


@on_both_dialects
async def test_many_messages_at_once_all_arrive(world):
    node = await world.joined_device()
    await world.hub.discover(PPMID)
    heard = heard_by(node)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(world.hub.send(PPMID, OTA_CLUSTER, bytes([number])))

    assert sorted(message.payload for message in heard) == [bytes([number]) for number in range(60)]


@pytest.mark.parametrize(
    ("trouble", "meaning"),
    [
        (DeliveryError("refused", sl_Status.MESSAGE_TOO_LONG), PayloadTooLong),
        (DeliveryError("refused", sl_Status.ZIGBEE_MAX_MESSAGE_LIMIT_REACHED), RadioBusy),
        (DeliveryError("refused", sl_Status.BUSY), RadioBusy),
        (DeliveryError("refused", sl_Status.NETWORK_DOWN), RadioGone),
        (DeliveryError("failed", sl_Status.ZIGBEE_DELIVERY_FAILED), DeliveryFailed),
        (DeliveryError("failed"), DeliveryFailed),
        (TimeoutError(), DeliveryFailed),
        (EzspError("EZSP is not running"), RadioGone),
        (ControllerException("not running"), RadioGone),
    ],
    ids=repr,
)
async def test_what_the_dongle_says_is_told_in_our_words(world, trouble, meaning):
    await world.joined_device()
    await world.hub.discover(PPMID)

    async def fails(*_: object, **__: object) -> None:
        raise trouble

    world.hub._link.stack._ezsp._command = fails
    with pytest.raises(meaning):
        await world.hub.send(PPMID, OTA_CLUSTER, bytes(60), fragments=False)


async def test_a_mistake_of_ours_is_not_taken_for_a_lost_dongle(world):
    await world.joined_device()
    await world.hub.discover(PPMID)

    async def breaks(*_: object, **__: object) -> None:
        raise AttributeError("a bug")

    world.hub._link.stack._ezsp._command = breaks
    with pytest.raises(AttributeError, match="a bug"):
        await world.hub.send(PPMID, OTA_CLUSTER, b"down")


async def test_an_admission_that_fails_half_way_leaves_joining_closed(world):
    async def fails(*_: object, **__: object) -> None:
        raise DeliveryError("refused", sl_Status.BUSY)

    world.hub._link.stack.permit_ncp = fails
    with pytest.raises(RadioBusy):
        await world.hub.admit(PPMID, CODE, "PPMID")
    del world.hub._link.stack.permit_ncp
    await asyncio.sleep(1)

    assert world.hub.devices == []
    assert world.facts("join.closed")
    node = world.house.new_device()
    assert (await world.house.join(node, link_key(CODE))).nwk is None


async def test_each_cluster_is_answered_at_the_endpoint_that_spoke_of_it(world):
    node = await world.joined_device()
    heard = heard_by(node)
    await world.house.say(node, b"up", cluster=TUNNELLING_CLUSTER)
    await asyncio.sleep(0.1)

    await world.hub.send(PPMID, TUNNELLING_CLUSTER, b"down")

    assert [(message.cluster, message.destination_endpoint) for message in heard] == [
        (TUNNELLING_CLUSTER, DEVICE_ENDPOINT)
    ]
    assert world.facts("device.discovered") == []


# Who may speak


@pytest.mark.parametrize(("profile", "endpoint"), [(0x0104, 1), (0xC05E, 1)])
async def test_a_message_of_another_profile_is_dropped_with_a_fact(world, profile, endpoint):
    node = await world.joined_device()

    await world.house.say(node, b"up", profile=profile, endpoint=endpoint)
    await asyncio.sleep(0.1)

    assert world.ears.messages == []
    assert [fact.why for fact in world.facts("message.refused")] == [f"profile {profile:#06x} for endpoint 1"]


async def test_a_device_of_the_network_that_was_not_admitted_is_refused_with_a_fact(world, tmp_path):
    node = await world.joined_device()
    await world.hub.close()
    await world.start(state=tmp_path)
    world.ears.events.clear()

    for _ in range(3):
        await world.house.say(node, b"up")
        await asyncio.sleep(1)

    assert world.ears.messages == []
    assert world.ears.events == []
    assert [fact.device for fact in world.facts("device.refused")] == [str(PPMID)]
    assert len(world.facts("message.refused")) == 3


async def test_a_hub_that_comes_back_knows_its_devices(world, tmp_path):
    node = await world.joined_device()
    heard = heard_by(node)
    devices = world.hub.devices
    await world.hub.close()
    await world.start(devices, state=tmp_path)

    await world.house.say(node, b"up")
    await world.hub.send(PPMID, OTA_CLUSTER, b"down")

    assert world.ears.messages == [(PPMID, OTA_CLUSTER, b"up", False)]
    assert [message.payload for message in heard] == [b"down"]
    assert len(world.ears.events) == 1  # it joined once


@on_both_dialects
async def test_a_device_that_moved_while_the_hub_was_away_is_recognised_when_it_speaks(world, tmp_path):
    node = await world.joined_device()
    where = node.nwk
    await world.hub.close()
    await world.start(
        [
            Admitted(
                PPMID,
                "PPMID",
                nwk=0x1234,
                endpoint=1,
                state=DeviceState.JOINED,
                establishes_keys=False,
            )
        ],
        state=tmp_path,
    )

    await world.house.say(node, b"first")
    await asyncio.sleep(1)
    await world.house.say(node, b"second")
    await asyncio.sleep(1)

    assert world.ears.events[-1] == DeviceMoved(PPMID, where)
    assert [message[2] for message in world.ears.messages] == [b"second"]


async def test_a_device_that_announces_another_address_has_moved(world):
    await world.joined_device()

    world.hub.announced(0x4321, PPMID)
    world.hub.announced(0x4321, PPMID)

    assert world.ears.events[1:] == [DeviceMoved(PPMID, 0x4321)]
    assert world.hub.devices[0].nwk == 0x4321


async def test_a_device_that_rejoins_elsewhere_has_moved_once_it_has_proved_to_be_there(world):
    await world.joined_device()
    where = world.hub.devices[0].nwk

    world.hub.keyed(0x4321, PPMID, Arrival.SECURED_REJOIN)
    assert world.hub.devices[0].nwk == where

    world.hub.announced(0x4321, PPMID)
    assert world.ears.events[1:] == [DeviceMoved(PPMID, 0x4321)]


async def test_an_address_belongs_to_the_device_that_announced_it_last(world):
    await world.joined_device()
    await world.joined_device(HCALCS, "HCALCS")
    (where,) = {device.nwk for device in world.hub.devices if device.eui64 == PPMID}

    world.hub.announced(where, HCALCS)

    assert [device.nwk for device in world.hub.devices] == [None, where]


@on_both_dialects
async def test_a_device_that_leaves_is_told_of_and_may_come_back(world):
    node = await world.joined_device()
    world.house.pump.wake()
    node.leave()
    world.house.pump.wake()
    await asyncio.sleep(5)
    assert world.ears.events[1:] == [DeviceLeft(PPMID)]
    with pytest.raises(UnknownDevice):
        await world.hub.send(PPMID, OTA_CLUSTER, b"down")

    await world.hub.admit(PPMID, CODE, "PPMID")
    await world.house.join(node, link_key(CODE))
    await asyncio.sleep(1)

    assert world.ears.events[2:] == [DeviceJoined(PPMID, node.nwk)]


# When the dongle goes


@on_both_dialects
async def test_a_dongle_that_crashes_is_told_of_and_found_again(world):
    node = await world.joined_device()
    heard = heard_by(node)
    world.house.dongle.crash()
    world.house.pump.wake()
    with pytest.raises((RadioGone, DeliveryFailed)):
        await world.hub.send(PPMID, OTA_CLUSTER, b"lost")
    await asyncio.sleep(120)

    assert [type(event) for event in world.ears.events[1:]] == [RadioLost, RadioBack]
    await world.hub.send(PPMID, OTA_CLUSTER, b"down")
    assert [message.payload for message in heard] == [b"down"]


@pytest.mark.parametrize("hundredths", [125, 200, 275])
async def test_a_dongle_that_another_program_takes_while_it_is_started_is_found_in_the_end(world, hundredths):
    await world.joined_device()
    for step in range(20):
        other = world.house.dongle.open_port(lambda _: None)
        await asyncio.sleep(0.1)
        other.close()
        await asyncio.sleep(hundredths / 100 + step * 0.013)
    await asyncio.sleep(300)

    assert type(world.ears.events[-1]) is RadioBack
    assert world.hub.is_up


async def test_nothing_can_be_sent_while_the_dongle_is_gone(world):
    await world.joined_device()
    world.hub.lost("unplugged")

    with pytest.raises(RadioGone):
        await world.hub.send(PPMID, OTA_CLUSTER, b"down")
    with pytest.raises(RadioGone):
        await world.hub.admit(HCALCS, CODE, "HCALCS")
    assert not world.hub.is_up


async def test_messages_under_way_when_the_dongle_goes_all_end(world):
    await world.joined_device()
    await world.hub.discover(PPMID)
    sends = [
        asyncio.ensure_future(world.hub.send(PPMID, OTA_CLUSTER, bytes([number]))) for number in range(20)
    ]
    await asyncio.sleep(0.05)
    world.house.dongle.crash()
    world.house.pump.wake()

    ends = await asyncio.gather(*sends, return_exceptions=True)

    assert {type(end) for end in ends} <= {type(None), RadioGone, DeliveryFailed}
    assert any(isinstance(end, RadioGone) for end in ends)


async def test_closing_while_the_dongle_is_being_looked_for_ends_cleanly(world):
    world.hub.lost("unplugged")
    await asyncio.sleep(0.5)

    await world.hub.close()

    assert not world.hub.is_up


# On a bad air, over a bad line


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_with_loss_on_the_air_and_on_the_line_messages_still_come_through(rebound, seed):
    house = DongleHouse(path=Lossy(Clear(), 0.05, seed), serial_loss=0.02, seed=seed)
    with registered(house):
        world = World(house)
        await world.start()
        node = house.new_device()
        heard = heard_by(node)
        await world.hub.admit(PPMID, CODE, "PPMID")
        while node.nwk is None:
            await house.join(node, link_key(CODE))
        await asyncio.sleep(1)
        for number in range(50):
            await world.hub.send(PPMID, OTA_CLUSTER, bytes([number]))
            await house.say(node, bytes([number]))
        await asyncio.sleep(1)
        await world.hub.close()

    assert [message.payload for message in heard] == [bytes([number]) for number in range(50)]
    assert [message[2] for message in world.ears.messages] == [bytes([number]) for number in range(50)]


async def test_two_weeks_without_a_word_cost_next_to_nothing(rebound):
    with registered(DongleHouse()) as house:
        world = World(house)
        await world.start()
        node = await world.joined_device()

        await asyncio.sleep(14 * 86400)

        await world.house.say(node, b"up")
        await asyncio.sleep(1)
        assert world.ears.messages == [(PPMID, OTA_CLUSTER, b"up", False)]
        await world.hub.close()
