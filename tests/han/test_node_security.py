from __future__ import annotations

import random

import pytest
from node_neighbourhood import CHANNEL, NETWORK_KEY, PARAMETERS, Neighbourhood, Replayer, message

from han.sim.node.service import AddressUnknown, NoLinkKey, PayloadTooLong, SendStatus
from han.sim.node.store import COUNTER_END, COUNTER_JUMP, NodeStore
from han.sim.wire.mac import FrameType, MacFrame
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk import NwkFrame, seal
from han.sim.wire.nwk_commands import Leave
from ota.eui64 import Eui64

STRANGER = Eui64(0x00DB1234567890EE)


def joined() -> tuple[Neighbourhood, object, object]:
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    assert street.join(hub, device).ok
    street.flights.clear()
    return street, hub, device


def injected(street: Neighbourhood, source: int, payload: bytes, *, to: int = 0) -> None:
    """Send a network frame as a stranger who knows the addresses."""
    frame = MacFrame(FrameType.DATA, random.Random(1).randrange(256), PARAMETERS.pan_id, to, source, payload)
    Replayer(street.air).send(frame.to_psdu())
    street.timeline.run(street.timeline.now + 5.0)


def network_frames(street: Neighbourhood) -> list[NwkFrame]:
    """The secured unicast network frames of the capture."""
    frames = [MacFrame.parse(flight.psdu[:-2]) for flight in street.flights if len(flight.psdu) > 5]
    return [NwkFrame.parse(frame.payload) for frame in frames if frame.type is FrameType.DATA]


def counters(street: Neighbourhood) -> list[int]:
    return [int.from_bytes(frame.payload[1:5], "little") for frame in network_frames(street)]


def test_a_replayed_frame_is_refused_with_its_reason():
    street, hub, device = joined()
    street.send(device, hub, b"pay me")
    recorded = next(flight.psdu for flight in street.flights if len(flight.psdu) > 50)
    street.timeline.run(street.timeline.now + 60.0)
    Replayer(street.air).send(recorded)
    street.timeline.run(street.timeline.now + 1.0)
    assert len(street.messages["hub"]) == 1
    assert street.why() == ["replayed counter"]
    assert hub.counters.nwk_frame_counter_failure == 1


def test_a_frame_from_before_a_reboot_of_the_receiver_is_still_a_replay():
    street, hub, device = joined()
    street.send(device, hub, b"pay me")
    recorded = next(flight.psdu for flight in street.flights if len(flight.psdu) > 50)
    hub.crash()
    hub.reboot()
    Replayer(street.air).send(recorded)
    street.timeline.run(street.timeline.now + 1.0)
    assert len(street.messages["hub"]) == 1


def test_no_network_counter_is_used_twice_across_reboots():
    street, hub, device = joined()
    for _ in range(5):
        for number in range(3):
            street.send(hub, device, bytes((number,)))
        hub.crash()
        street.timeline.run(street.timeline.now + 1.0)
        hub.reboot()
    street.send(hub, device, b"last")
    sent = [
        int.from_bytes(frame.payload[1:5], "little")
        for frame in network_frames(street)
        if frame.source == 0x0000
    ]
    assert len(sent) == len(set(sent))
    assert sent == sorted(sent)


def test_a_counter_survives_in_jumps_so_that_flash_is_not_worn_out():
    writes = []
    store = NodeStore(lambda: writes.append(1))
    for _ in range(3 * COUNTER_JUMP):
        store.network_counter.take()
    assert len(writes) == 3
    assert store.network_counter.limit >= store.network_counter.next


def test_a_frame_under_another_key_is_refused_and_its_counter_not_believed():
    street, hub, device = joined()
    frame = NwkFrame(NwkFrameType.DATA, 0, device.nwk, 30, 1, b"forged")
    injected(street, device.nwk, seal(frame, bytes(16), 0, COUNTER_END - 1, device.eui64))
    assert street.why() == ["the message integrity code does not match"]
    assert street.send(device, hub, b"genuine") is SendStatus.OK


def test_a_frame_outside_network_security_is_refused():
    street, _, device = joined()
    frame = NwkFrame(NwkFrameType.COMMAND, 0, device.nwk, 1, 1, Leave().to_bytes())
    injected(street, device.nwk, frame.to_bytes())
    assert street.why() == ["not secured"]
    assert not [event for event in street.events["hub"] if type(event).__name__ == "DeviceLeft"]


def test_a_frame_under_a_key_number_that_nobody_has_is_refused():
    street, _, device = joined()
    frame = NwkFrame(NwkFrameType.DATA, 0, device.nwk, 30, 1, b"x")
    injected(street, device.nwk, seal(frame, NETWORK_KEY, 9, 5000, device.eui64))
    assert street.why() == ["no network key with sequence number 9"]


def test_the_last_counter_of_all_is_refused():
    street, _, device = joined()
    frame = NwkFrame(NwkFrameType.DATA, 0, device.nwk, 30, 1, b"x")
    injected(street, device.nwk, seal(frame, NETWORK_KEY, 0, COUNTER_END, device.eui64))
    assert street.why() == ["replayed counter"]


@pytest.mark.parametrize("octet", range(9, 53, 4))
def test_a_bit_turned_anywhere_in_a_network_frame_is_noticed(octet):
    street, hub, device = joined()
    street.send(device, hub, b"exactly so")
    recorded = MacFrame.parse(next(flight.psdu for flight in street.flights if len(flight.psdu) > 50)[:-2])
    spoilt = bytearray(recorded.payload)
    spoilt[octet - 9] ^= 0x80
    hub.store.heard.clear()
    injected(street, device.nwk, bytes(spoilt))
    assert len(street.messages["hub"]) == 1


def test_a_message_under_the_link_key_says_so():
    street, hub, device = joined()
    street.send(device, hub, b"sealed twice", aps_security=True)
    street.send(device, hub, b"sealed once")
    assert [heard.aps_secured for heard in street.messages["hub"]] == [True, False]
    assert b"sealed" not in b"".join(flight.psdu for flight in street.flights)


def test_the_acknowledgement_of_a_message_under_the_link_key_is_under_it_too():
    street, hub, device = joined()
    street.send(device, hub, b"sealed twice", aps_security=True)
    sizes = [len(flight.psdu) for flight in street.flights if len(flight.psdu) > 5]
    assert sizes[1] == 54


def test_a_message_under_a_link_key_that_the_receiver_does_not_have_is_not_heard():
    street, hub, device = joined()
    del hub.trust.link_keys[device.eui64]
    assert street.send(device, hub, b"who are you", aps_security=True) is SendStatus.DELIVERY_FAILED
    assert "no link key for its sender" in street.why()
    assert street.messages["hub"] == []


def test_aps_security_is_refused_where_no_key_or_address_is_known():
    _street, hub, device = joined()
    with pytest.raises(AddressUnknown, match="0x4242"):
        hub.send(message(0x4242, b"x", aps_security=True), lambda status: None)
    del hub.trust.link_keys[device.eui64]
    with pytest.raises(NoLinkKey, match=str(device.eui64)):
        hub.send(message(device.nwk, b"x", aps_security=True), lambda status: None)


@pytest.mark.parametrize(("aps_security", "limit"), [(False, 82), (True, 73)])
def test_the_largest_payload_passes_and_one_octet_more_is_for_the_host_to_cut(aps_security, limit):
    street, hub, device = joined()
    assert hub.largest_payload(aps_security=aps_security) == limit
    assert street.send(hub, device, bytes(limit), aps_security=aps_security) is SendStatus.OK
    hub.host_fragments = True
    with pytest.raises(PayloadTooLong) as caught:
        hub.send(message(device.nwk, bytes(limit + 1), aps_security=aps_security), lambda status: None)
    assert (caught.value.size, caught.value.limit) == (limit + 1, limit)


def test_a_store_read_back_from_its_dictionary_goes_on_where_nothing_was_sent():
    street, hub, device = joined()
    street.send(hub, device, b"before", aps_security=True)
    highest = max(counters(street))
    copy = NodeStore.from_dict(hub.store.to_dict())
    assert copy.to_dict() == hub.store.to_dict()
    assert copy.network_counter.next > highest
    hub.crash()
    reborn = street.node("hub", 0x8F, copy)
    reborn.eui64 = hub.eui64
    assert copy.network == PARAMETERS
    assert copy.children.keys() == {device.eui64}


def test_the_channel_of_the_network_is_the_channel_of_its_frames():
    street, hub, device = joined()
    street.send(hub, device, b"x")
    assert {flight.channel for flight in street.flights} == {CHANNEL}
    assert STRANGER not in hub.store.heard
