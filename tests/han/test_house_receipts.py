"""Meters tell the Supplier whether a downloaded image is the Supplier's: once a check, whatever happens."""

from __future__ import annotations

import pytest
from two_stage_home import DAY, METERS, NEW, NEWER, OLD, START, TwoStageWorld, two_stage_home

from han.gbcs.codes import MessageCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER, lab_party
from han.gbcs.protection import is_signed_by
from han.sim.devices.verdict import judge
from han.sim.house_memory import HouseMemory
from ota.gbcs_image import TRAILER_SIZE, Authorisation, Layout, authorise
from ota.image import HardwareRange, Header
from ota.pacing import largest_block
from ota.server import Activation, TransferFailed
from ota.status import Status

GOOD, BAD = 0x8F72, 0x8F1C


@pytest.fixture
def world() -> TwoStageWorld:
    world = TwoStageWorld()
    world.move_in()
    return world


def receipts(world: TwoStageWorld, name: str) -> list[tuple[int, bytes]]:
    """Alert code and hash of each receipt of the device, in order."""
    told = [payload_of(Envelope.parse(octets)) for octets in world.hub.messages_of(name)]
    return [(alert.alert_code, alert.manufacturer_image_hash) for alert in told]


def spoilt(world: TwoStageWorld, name: str, what: str) -> tuple[bytes, bytes]:
    """A file that is not the Supplier's in this way, and the hash of what stands in its image's place."""
    data, image_hash = world.image(name)
    body = data[Header.parse(data).length : -TRAILER_SIZE]
    match what:
        case "no signature":
            return world.image(name, authorisation=authorise(body, None))
        case "somebody else's signature":
            key = lab_party(ACCESS_CONTROL_BROKER).signing
            return world.image(name, authorisation=authorise(body, key))
        case "another image's signature":
            return world.image(name, authorisation=authorise(body + b"\x00", lab_party(SUPPLIER).signing))
        case "an unknown force-replace octet":
            return world.image(name, authorisation=Authorisation(2, authorise(body, None).signature))
        case "a length octet that is none":
            broken = bytearray(data)
            broken[-65] = 0x3F
            return bytes(broken), image_hash
    raise AssertionError(what)


@pytest.mark.parametrize(("name", "code"), [("esme", 0x00CE), ("gsme", 0x00CF)])
def test_a_meter_tells_once_that_an_image_is_the_suppliers(world, name, code):
    image_hash = world.hold(name)
    world.run(2 * DAY)

    (octets,) = world.hub.messages_of(name)
    message = Envelope.parse(octets)
    assert (message.code, message.recipient, message.counter) == (code, SUPPLIER, 1)
    assert is_signed_by(message, lab_party(world[name].eui64).signing.public_key())
    assert receipts(world, name) == [(GOOD, image_hash)]
    (told,) = world.said("gbcs.receipt-alert", name)
    assert abs((payload_of(message).at - START).total_seconds() - told.at) < 2.0, (
        "by the clock that the hub set"
    )


@pytest.mark.parametrize("name", METERS)
@pytest.mark.parametrize(
    "what",
    [
        "no signature",
        "somebody else's signature",
        "another image's signature",
        "an unknown force-replace octet",
        "a length octet that is none",
    ],
)
def test_a_meter_tells_that_an_image_is_not_the_suppliers_and_throws_it_away(world, name, what):
    data, image_hash = spoilt(world, name, what)
    world.hub.offer(data, name, activation=Activation.WAIT)
    world.run_until("gbcs.receipt-alert", name)
    world.run(2000.0)

    # The hub lets it try twice: each is a check, and each check is told.
    assert receipts(world, name) == [(BAD, image_hash)] * 2
    assert world[name].firmware.held is None
    assert world[name].memory.download is None
    assert not world.said("ota.complete", name)
    failed = [event for event in world.hub.events if isinstance(event, TransferFailed)]
    assert [(event.peer, event.status) for event in failed] == [(world[name].eui64, Status.INVALID_IMAGE)]


def test_each_bit_of_signature_and_image_matters(world):
    data, image_hash = world.image("esme")
    description, header = world["esme"].description, Header.parse(data).length
    trailer = len(data) - TRAILER_SIZE
    for place in range(8 * header, 8 * len(data)):
        broken = bytearray(data)
        broken[place // 8] ^= 1 << place % 8
        verdict = judge(bytes(broken), description, Layout.AUTHORISED)
        # The force-replace octet concerns the hub: nobody signs it, but only 0 and 1 are known.
        assert verdict.is_authentic is (place == 8 * trailer), place
        assert (verdict.manufacturer_image_hash != image_hash) is (place < 8 * trailer), place


def test_a_good_image_for_other_hardware_is_not_taken_for_forged(world):
    data, image_hash = world.image("gsme", hardware=HardwareRange(0x2000, 0x2FFF))
    verdict = judge(data, world["gsme"].description, Layout.AUTHORISED)

    assert verdict.is_authentic
    assert verdict.manufacturer_image_hash == image_hash
    assert "1111" in verdict.fault


def test_an_hcalcs_sends_no_receipt_by_default(world):
    world.hold("hcalcs")
    data, _ = spoilt(world, "hcalcs", "no signature")
    world.hub.offer(data[:14] + NEWER.to_bytes(4, "little") + data[18:], "hcalcs", activation=Activation.WAIT)
    world.run_until("ota.refused", "hcalcs")
    world.run(60.0)

    assert receipts(world, "hcalcs") == []


def test_an_hcalcs_sends_receipts_as_a_gsme_does_where_its_home_says_so():
    world = TwoStageWorld(two_stage_home("receipt_alert = true"))
    world.move_in()
    image_hash = world.hold("hcalcs")

    (octets,) = world.hub.messages_of("hcalcs")
    assert Envelope.parse(octets).code == MessageCode.RECEIPT_GSME
    assert receipts(world, "hcalcs") == [(GOOD, image_hash)]


def test_a_meter_whose_home_says_so_keeps_it_to_itself():
    world = TwoStageWorld(two_stage_home("receipt_alert = false"))
    world.move_in()
    world.hold("esme")

    assert receipts(world, "esme") == []


@pytest.mark.parametrize("name", METERS)
def test_each_image_gets_its_own_receipt_under_a_greater_counter(world, name):
    hashes = [world.hold(name, NEW), world.hold(name, NEWER)]

    assert receipts(world, name) == [(GOOD, each) for each in hashes]
    assert [Envelope.parse(octets).counter for octets in world.hub.messages_of(name)] == [1, 2]


def test_receipts_wait_for_a_hub_that_is_away(world):
    data, image_hash = world.image("esme")
    world.hub.offer(data, "esme", activation=Activation.WAIT)
    world.run_until("gbcs.receipt-alert", "esme")
    world.hub.node.crash()
    world.run(600.0)
    assert len(world["esme"].memory.unsent) == 1
    world.hub.node.reboot()
    world.run(4000.0)

    assert receipts(world, "esme") == [(GOOD, image_hash)]
    assert world["esme"].memory.unsent == ()


def calls_around_the_check(*, is_good: bool) -> int:
    """How many calls of the timeline lie between the last block and the receipt's arrival."""
    world = TwoStageWorld()
    _offer(world, is_good=is_good)
    calls = 0
    while not receipts(world, "esme"):
        world.house.timeline.step()
        calls += 1
    return calls


def _offer(world: TwoStageWorld, *, is_good: bool) -> bytes:
    world.move_in()
    data, image_hash = world.image("esme") if is_good else spoilt(world, "esme", "no signature")
    world.hub.offer(data, "esme", activation=Activation.WAIT)
    world.run_until("ota.block", "esme", count=len(data) // largest_block(aps_secured=True) - 1)
    return image_hash


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.soak)])
def test_a_power_cut_at_any_call_around_the_check_neither_loses_nor_doubles_the_receipt(is_good, every):
    for cut in range(0, calls_around_the_check(is_good=is_good) + 20, every):
        world = TwoStageWorld()
        image_hash = _offer(world, is_good=is_good)
        for _ in range(cut):
            world.house.timeline.step()
        world["esme"].power_off()
        world.run(30.0)
        world["esme"].power_on()
        world.run(120.0)

        told = receipts(world, "esme")
        checked = len(world.said("gbcs.receipt-alert", "esme"))
        # What the radio had sent when the power failed is sent again if nothing acknowledged it.
        assert sorted(set(told)) == [(GOOD if is_good else BAD, image_hash)], cut
        counters = {Envelope.parse(octets).counter for octets in world.hub.messages_of("esme")}
        assert counters == set(range(1, checked + 1)), cut
        if is_good:
            assert checked == 1, cut


def test_a_house_that_goes_on_elsewhere_tells_what_it_had_not_told_and_nothing_twice(world):
    data, image_hash = world.image("esme")
    world.hub.offer(data, "esme", activation=Activation.WAIT)
    world.run_until("gbcs.receipt-alert", "esme")
    world.house.power_off()
    kept = HouseMemory.from_dict(world.house.memory.to_dict())
    later = TwoStageWorld(memory=kept, hub_store=world.hub.node.store)
    later.hub.node.reboot()
    later.house.power_on()
    later.run(200.0)

    assert later["esme"].file_version == OLD
    assert receipts(later, "esme") == [(GOOD, image_hash)]
    assert not later.said("gbcs.receipt-alert", "esme")
