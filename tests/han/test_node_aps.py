from __future__ import annotations

import pytest
from node_neighbourhood import OTA, SMART_ENERGY, Deaf, Neighbourhood, message

from han.sim.air.medium import Clear, Lossy
from han.sim.node.aps import ACK_WAIT
from han.sim.node.discovery import SEARCH
from han.sim.node.service import NetworkDown, SendRequest, SendStatus


def joined(path=None, seed: int = 7):
    street = Neighbourhood(seed, path)
    hub, device = street.hub(), street.node("ppmid")
    while not street.join(hub, device).ok:
        assert street.timeline.now < 1000
    street.flights.clear()
    street.heard.clear()
    return street, hub, device


class Switch:
    """A path that can be cut."""

    def __init__(self) -> None:
        self.lost = lambda flight: False

    def arrivals(self, flight, listeners):
        return [] if self.lost(flight) else listeners


def test_a_message_is_acknowledged_end_to_end():
    street, hub, device = joined()
    assert street.send(device, hub, b"hello") is SendStatus.OK
    [heard] = street.messages["hub"]
    assert (heard.profile, heard.cluster) == (SMART_ENERGY, OTA)
    assert (heard.source, heard.destination) == (device.nwk, 0x0000)
    assert heard.ack_requested
    assert not heard.broadcast


def test_without_an_acknowledgement_the_next_hop_is_enough():
    street, hub, device = joined()
    assert street.send(device, hub, b"hello", aps_ack=False) is SendStatus.OK
    assert len([flight for flight in street.flights if len(flight.psdu) > 5]) == 1


def test_the_end_of_a_message_to_nobody_is_a_failure_after_three_repetitions():
    street, hub, device = joined()
    device.crash()
    statuses = []
    began = street.timeline.now
    hub.store.addresses[device.eui64] = 0x4242
    hub.send(message(0x4242, b"anyone?"), statuses.append)
    street.run_until(lambda: bool(statuses))
    assert statuses == [SendStatus.DELIVERY_FAILED]
    assert 4 * ACK_WAIT < street.timeline.now - began < 4 * ACK_WAIT + SEARCH + 1.0
    assert [fact.what for fact in street.heard if fact.what.startswith("aps.")] == ["aps.retry"] * 3 + [
        "aps.failed"
    ]


def test_a_message_whose_acknowledgement_was_lost_is_heard_once():
    switch = Switch()
    street, hub, device = joined(switch)
    # The end-to-end acknowledgement is the one frame of 45 octets: lost for a second, MAC retries and all.
    until = street.timeline.now + 1.0
    switch.lost = lambda flight: len(flight.psdu) == 45 and flight.start < until
    assert street.send(device, hub, b"once") is SendStatus.OK
    assert [heard.payload for heard in street.messages["hub"]] == [b"once"]
    assert [fact.what for fact in street.heard if fact.what == "aps.retry"] == ["aps.retry"]


def test_a_repetition_under_the_link_key_is_sealed_anew_and_heard_once():
    switch = Switch()
    street, hub, device = joined(switch)
    until = street.timeline.now + 1.0
    switch.lost = lambda flight: len(flight.psdu) == 54 and flight.start < until
    assert street.send(device, hub, b"once", aps_security=True) is SendStatus.OK
    assert [heard.payload for heard in street.messages["hub"]] == [b"once"]
    assert street.why() == []


@pytest.mark.parametrize("aps_security", [False, True])
def test_with_five_percent_loss_every_message_arrives_once_and_in_order(aps_security):
    street, hub, device = joined(Lossy(Clear(), rate=0.05, seed=7))
    for number in range(300):
        payload = number.to_bytes(2, "big")
        assert street.send(device, hub, payload, aps_security=aps_security) is SendStatus.OK
    assert [int.from_bytes(heard.payload, "big") for heard in street.messages["hub"]] == list(range(300))
    assert device.counters.mac_tx_unicast_retry > 0


def test_counters_that_come_round_quickly_are_new_messages():
    street, hub, device = joined()
    for number in range(600):
        street.send(device, hub, number.to_bytes(2, "big"))
    assert street.timeline.now < 30.0
    assert len(street.messages["hub"]) == 600


def test_messages_under_way_at_once_are_told_apart():
    street, hub, device = joined()
    ended = []
    for number in range(20):
        hub.send(
            message(device.nwk, bytes((number,))),
            lambda status, number=number: ended.append((number, status)),
        )
    street.run_until(lambda: len(ended) == 20)
    assert sorted(ended) == [(number, SendStatus.OK) for number in range(20)]
    assert [heard.payload[0] for heard in street.messages["ppmid"]] == list(range(20))


@pytest.mark.parametrize("address", [0xFFFD, 0xFFFF])
def test_a_broadcast_is_repeated_on_the_air_and_heard_once(address):
    street, hub, device = joined()
    statuses = []
    hub.send(SendRequest(address, SMART_ENERGY, OTA, 1, 0xFF, b"everyone"), statuses.append)
    street.timeline.run(street.timeline.now + 5.0)
    assert statuses == [SendStatus.OK]
    assert [(heard.payload, heard.broadcast) for heard in street.messages["ppmid"]] == [(b"everyone", True)]
    assert len(street.flights) == 3
    assert device.counters.aps_data_rx_broadcast == 1


def test_a_broadcast_to_routers_is_not_for_an_end_device():
    street, hub, _ = joined()
    hub.send(SendRequest(0xFFFC, SMART_ENERGY, OTA, 1, 0xFF, b"routers"), lambda status: None)
    street.timeline.run(street.timeline.now + 5.0)
    assert street.messages["ppmid"] == []


def test_a_group_message_is_heard_by_its_members():
    street, hub, device = joined()
    request = SendRequest(0xFFFD, SMART_ENERGY, OTA, 1, 1, b"members", group=0x1234)
    hub.send(request, lambda status: None)
    street.timeline.run(street.timeline.now + 5.0)
    assert street.messages["ppmid"] == []
    device.groups.add(0x1234)
    hub.send(request, lambda status: None)
    street.timeline.run(street.timeline.now + 5.0)
    assert [(heard.payload, heard.group) for heard in street.messages["ppmid"]] == [(b"members", 0x1234)]


def test_a_message_to_an_endpoint_that_is_not_there_is_not_acknowledged():
    street, _hub, device = joined()
    statuses = []
    device.send(SendRequest(0, SMART_ENERGY, OTA, 1, 77, b"hello?"), statuses.append)
    street.run_until(lambda: bool(statuses))
    assert statuses == [SendStatus.DELIVERY_FAILED]
    assert set(street.why()) == {"no such endpoint"}


def test_a_message_to_oneself_is_heard_without_a_frame_on_the_air():
    street, hub, _ = joined()
    assert street.send(hub, hub, b"note to self") is SendStatus.OK
    assert [heard.payload for heard in street.messages["hub"]] == [b"note to self"]
    assert street.flights == []


def test_leaving_ends_every_message_under_way():
    street, _hub, device = joined(Switch())
    street.air.path = Deaf(lambda flight: True)
    statuses = []
    device.send(message(0, b"never"), statuses.append)
    device.leave()
    street.timeline.run(street.timeline.now + 60.0)
    assert statuses == [SendStatus.NETWORK_DOWN]
    assert street.events["ppmid"][-1] == NetworkDown(left=True)


def test_a_crash_ends_every_message_under_way_without_a_word():
    street, _hub, device = joined()
    statuses = []
    device.send(message(0, b"never told"), statuses.append)
    device.send(message(device.nwk, b"nor this"), statuses.append)
    device.crash()
    street.timeline.run(street.timeline.now + 60.0)
    assert statuses == []
    assert street.messages["ppmid"] == []
