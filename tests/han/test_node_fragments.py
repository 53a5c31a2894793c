"""Long messages between simulated nodes: cut, sealed block by block, put together, on a path that loses."""

from __future__ import annotations

from itertools import pairwise

import pytest
from frame_eater import Eater, aps_frame_of, times
from node_neighbourhood import NETWORK_KEY, OTA, SLEEPY, SMART_ENERGY, Neighbourhood, Replayer, message

from han.fragments import Block, FragmentSettings
from han.sim.air.medium import Clear, Lossy
from han.sim.node.poll import PollSettings
from han.sim.node.service import PayloadTooLong, SendRequest, SendStatus
from han.sim.wire.aps import ApsFrame, Fragment, FragmentKind, FrameType, seal
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk import NwkFrame

LONG = bytes(range(256)) * 4 + bytes(176)
assert len(LONG) == 1200


def joined(path=None, seed: int = 7, settings: FragmentSettings | None = None):
    """A hub and a device, both of which fragment by themselves."""
    street = Neighbourhood(seed, path)
    street.fragments = settings
    hub, device = street.hub(), street.node("ppmid")
    while not street.join(hub, device).ok:
        assert street.timeline.now < 1000
    street.flights.clear()
    street.heard.clear()
    return street, hub, device


def aps_frames(street) -> list[tuple[float, ApsFrame]]:
    """The application support frames on the air so far, without MAC repetitions."""
    frames, before = [], None
    for flight in street.flights:
        if flight.psdu[0] & 7 == 1 and flight.psdu != before:
            before = flight.psdu
            frame = aps_frame_of(flight, NETWORK_KEY)
            if frame is not None:
                frames.append((flight.start, frame))
    return frames


def with_an_eater():
    eater = Eater(NETWORK_KEY)
    street, hub, device = joined(eater)
    return eater, street, hub, device


@pytest.mark.parametrize(("aps_security", "fragments"), [(False, 18), (True, 20)])
def test_a_long_message_arrives_whole_both_ways(aps_security, fragments):
    street, hub, device = joined()

    assert street.send(device, hub, LONG, aps_security=aps_security) is SendStatus.OK
    assert street.send(hub, device, LONG, aps_security=aps_security) is SendStatus.OK

    for name in ("hub", "ppmid"):
        [heard] = street.messages[name]
        assert (heard.payload, heard.cluster, heard.profile) == (LONG, OTA, SMART_ENERGY)
        assert heard.aps_secured is aps_security
        assert heard.block is None
    assert [fact.fragments for fact in street.heard if fact.what == "aps.fragmented"] == [fragments] * 2
    assert street.why() == []


def test_each_fragment_waits_for_the_acknowledgement_of_the_one_before_and_fifty_milliseconds():
    street, hub, device = joined()
    street.send(device, hub, LONG)

    frames = aps_frames(street)
    assert [frame.type for _, frame in frames] == [FrameType.DATA, FrameType.ACK] * 18
    blocks = [(at, frame.fragment) for at, frame in frames if frame.type is FrameType.DATA]
    assert [fragment.block for _, fragment in blocks] == [18, *range(1, 18)]
    assert all(after - before >= 0.05 for (before, _), (after, _) in pairwise(blocks))
    assert [
        (frame.fragment.block, frame.fragment.ack_bits) for _, frame in frames if frame.type is FrameType.ACK
    ] == [(index, 0xFF) for index in range(18)]


@pytest.mark.parametrize("window", [3, 8])
def test_a_larger_window_needs_fewer_acknowledgements(window):
    street, hub, device = joined(settings=FragmentSettings(window=window))

    assert street.send(device, hub, LONG) is SendStatus.OK

    acks = [frame for _, frame in aps_frames(street) if frame.type is FrameType.ACK]
    assert len(acks) == -(-18 // window)
    assert [heard.payload for heard in street.messages["hub"]] == [LONG]


@pytest.mark.parametrize("aps_security", [False, True])
def test_with_five_percent_loss_every_long_message_arrives_once_and_in_order(aps_security):
    street, hub, device = joined()
    street.air.path = Lossy(Clear(), rate=0.05, seed=7)
    messages = [bytes((number,)) + LONG[1:] for number in range(20)]

    for one in messages:
        assert street.send(device, hub, one, aps_security=aps_security) is SendStatus.OK

    assert [heard.payload for heard in street.messages["hub"]] == messages


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("aps_security", [False, True])
def test_with_twenty_percent_loss_what_is_said_to_have_arrived_has_arrived_once(aps_security, seed):
    street, hub, device = joined(seed=seed)
    street.air.path = Lossy(Clear(), rate=0.2, seed=seed)
    messages = [bytes((number,)) + LONG[1:] for number in range(10)]

    fates = [street.send(device, hub, one, aps_security=aps_security) for one in messages]

    heard = [message.payload for message in street.messages["hub"]]
    arrived = [one for one, fate in zip(messages, fates, strict=True) if fate is SendStatus.OK]
    assert [one for one in heard if one in arrived] == arrived
    assert len(heard) == len(set(heard))
    assert len(arrived) >= 8


@pytest.mark.parametrize("aps_security", [False, True])
def test_a_lost_acknowledgement_is_given_again_and_the_message_heard_once(aps_security):
    eater, street, hub, device = with_an_eater()
    eater.lost = times(4, lambda frame: frame.type is FrameType.ACK and frame.fragment.block == 5)

    assert street.send(device, hub, LONG, aps_security=aps_security) is SendStatus.OK

    assert eater.eaten == 4
    assert [heard.payload for heard in street.messages["hub"]] == [LONG]
    again = [frame for _, frame in aps_frames(street) if frame.fragment.block == 5]
    assert [frame.type for frame in again] == [FrameType.DATA, FrameType.ACK] * 2
    if aps_security:  # sealed anew: the old counter would be a replay
        assert again[0].payload != again[2].payload


def test_a_lost_last_acknowledgement_is_given_again_and_the_message_heard_once():
    eater, street, hub, device = with_an_eater()
    eater.lost = times(4, lambda frame: frame.type is FrameType.ACK and frame.fragment.block == 17)

    assert street.send(device, hub, LONG) is SendStatus.OK

    assert eater.eaten == 4
    assert [heard.payload for heard in street.messages["hub"]] == [LONG]


@pytest.mark.parametrize("block", [18, 1, 17], ids=["first", "second", "last"])
def test_a_lost_fragment_is_repeated_after_the_acknowledgement_wait(block):
    eater, street, hub, device = with_an_eater()
    eater.lost = times(4, lambda frame: frame.type is FrameType.DATA and frame.fragment.block == block)
    began = street.timeline.now

    assert street.send(device, hub, LONG) is SendStatus.OK

    assert 1.6 + 17 * 0.05 < street.timeline.now - began < 1.6 + 18 * 0.08
    assert [heard.payload for heard in street.messages["hub"]] == [LONG]


def test_a_message_to_nobody_ends_as_one_that_was_not_delivered():
    street, hub, device = joined()
    statuses, nwk = [], device.nwk
    device.crash()

    hub.send(message(nwk, LONG), statuses.append)
    street.run_until(lambda: bool(statuses))

    assert statuses == [SendStatus.DELIVERY_FAILED]

    assert [fact.attempt for fact in street.heard if fact.what == "aps.retry"] == [1, 2, 3]
    assert [fact.why for fact in street.heard if fact.what == "aps.failed"] == ["no acknowledgement"]
    assert hub.counters.aps_data_tx_unicast_retry == 3


@pytest.mark.parametrize("who", ["sender", "receiver"])
def test_a_reboot_in_the_middle_leaves_no_half_message_behind(who):
    street, hub, device = joined()
    statuses = []
    device.send(message(0, LONG), statuses.append)
    street.timeline.run(street.timeline.now + 0.5)
    node = device if who == "sender" else hub
    node.crash()
    street.timeline.run(street.timeline.now + 0.5)
    assert node.reboot()
    street.timeline.run(street.timeline.now + 60.0)

    assert street.messages["hub"] == []
    assert statuses == ([] if who == "sender" else [SendStatus.DELIVERY_FAILED])
    expected = "half a message" if who == "sender" else "whose beginning was not heard"
    assert any(expected in why for why in street.why())
    assert street.send(device, hub, LONG) is SendStatus.OK
    assert [heard.payload for heard in street.messages["hub"]] == [LONG]


def test_leaving_ends_a_long_message_under_way():
    street, _hub, device = joined()
    statuses = []
    device.send(message(0, LONG), statuses.append)
    street.timeline.run(street.timeline.now + 0.3)
    device.leave()
    street.timeline.run(street.timeline.now + 60.0)

    assert statuses == [SendStatus.NETWORK_DOWN]


def test_two_long_messages_and_a_short_one_at_once_are_told_apart():
    street, _hub, device = joined()
    other = bytes(reversed(LONG))
    ended = []
    for payload in (LONG, other, b"short"):
        device.send(message(0, payload), ended.append)
    street.run_until(lambda: len(ended) == 3)

    assert ended == [SendStatus.OK] * 3
    assert sorted(len(heard.payload) for heard in street.messages["hub"]) == [5, 1200, 1200]
    assert {heard.payload for heard in street.messages["hub"]} == {LONG, other, b"short"}


def test_recorded_fragments_played_again_change_nothing():
    street, hub, device = joined()
    street.send(device, hub, LONG, aps_security=True)
    recorded = [flight.psdu for flight in street.flights if flight.psdu[0] & 7 == 1]
    replayer = Replayer(street.air)
    street.heard.clear()

    for psdu in recorded:
        replayer.send(psdu)
        street.timeline.run(street.timeline.now + 0.1)

    assert len(street.messages["hub"]) == 1
    assert set(street.why()) == {"replayed counter"}


def test_a_message_longer_than_may_be_is_refused_before_anything_is_sent():
    street, _hub, device = joined()

    with pytest.raises(PayloadTooLong) as caught:
        device.send(message(0, bytes(1601)), lambda status: None)

    assert (caught.value.size, caught.value.limit) == (1601, 1600)
    assert street.flights == []


@pytest.mark.parametrize(
    "request_",
    [
        message(0, LONG, aps_ack=False),
        SendRequest(0xFFFD, SMART_ENERGY, OTA, 1, 0xFF, LONG),
        SendRequest(0xFFFD, SMART_ENERGY, OTA, 1, 1, LONG, group=0x1234),
    ],
    ids=["unacknowledged", "broadcast", "group"],
)
def test_what_nobody_acknowledges_is_never_cut(request_):
    _street, _hub, device = joined()

    with pytest.raises(PayloadTooLong):
        device.send(request_, lambda status: None)


# A node whose host does the cutting


def test_a_host_gets_each_fragment_and_must_acknowledge_it_itself():
    street, hub, device = joined()
    hub.host_fragments = True
    statuses = []
    device.send(message(0, LONG), statuses.append)
    street.timeline.run(street.timeline.now + 10.0)

    heard = street.messages["hub"]
    assert [one.block for one in heard] == [Block(0, 18)] * 4
    assert {one.payload for one in heard} == {LONG[:70]}
    assert statuses == [SendStatus.DELIVERY_FAILED]


def test_a_host_sends_fragment_by_fragment_under_the_counter_of_the_first():
    street, hub, device = joined()
    hub.host_fragments = True
    parts, counter = [LONG[:80], LONG[80:160], LONG[160:200]], None
    for index, part in enumerate(parts):
        statuses = []
        block = Block(index, None if index else 3)
        request = SendRequest(
            device.nwk, SMART_ENERGY, OTA, 1, 1, part, aps_security=False, block=block, counter=counter
        )
        counter = hub.send(request, statuses.append)
        street.run_until(lambda statuses=statuses: bool(statuses))
        assert statuses == [SendStatus.OK]

    assert [one.payload for one in street.messages["ppmid"]] == [LONG[:200]]


def test_a_hosts_fragment_has_two_octets_less_room():
    _street, hub, device = joined()
    hub.host_fragments = True
    for secured, limit in ((False, 80), (True, 71)):
        request = SendRequest(
            device.nwk, SMART_ENERGY, OTA, 1, 1, bytes(limit + 1), aps_security=secured, block=Block(0, 2)
        )
        with pytest.raises(PayloadTooLong) as caught:
            hub.send(request, lambda status: None)
        assert caught.value.limit == limit


def test_a_hosts_fragment_that_is_sent_again_too_early_ends_the_first_attempt():
    street, hub, device = joined()
    hub.host_fragments = True
    ended, nwk = [], device.nwk
    device.crash()
    request = SendRequest(nwk, SMART_ENERGY, OTA, 1, 1, b"part", block=Block(1), counter=9)
    for name in ("first", "second"):
        hub.send(request, lambda status, name=name: ended.append((name, status)))
    street.timeline.run(street.timeline.now + 30.0)

    assert ended == [("first", SendStatus.DELIVERY_FAILED), ("second", SendStatus.DELIVERY_FAILED)]


def test_a_long_message_reaches_a_device_that_sleeps_and_comes_from_it():
    street = Neighbourhood(7)
    hub, device = street.hub(), street.node("ppmid", SLEEPY, poll=PollSettings(long=6.0))
    assert street.join(hub, device).ok
    street.timeline.run(street.timeline.now + 60.0)

    assert street.send(hub, device, LONG, aps_security=True) is SendStatus.OK
    street.timeline.run(street.timeline.now + 60.0)
    assert street.send(device, hub, LONG, aps_security=True) is SendStatus.OK

    for name in ("hub", "ppmid"):
        assert [heard.payload for heard in street.messages[name]] == [LONG]


@pytest.mark.parametrize("fragment", [None, Fragment(FragmentKind.FIRST, 2)], ids=["whole", "fragment"])
def test_whoever_names_itself_behind_a_strange_short_address_gets_no_acknowledgement_and_breaks_nothing(
    fragment,
):
    street, hub, device = joined()
    key = device.store.link_keys[hub.eui64].key
    frame = ApsFrame(FrameType.DATA, 9, 1, OTA, SMART_ENERGY, 1, b"x", ack_request=True, fragment=fragment)
    octets = seal(frame, key, device.store.link_counter.take(), device.eui64, extended_nonce=True)
    nwk_frame = NwkFrame(NwkFrameType.DATA, 0x0000, 0x4242, 30, 1, octets, security=True)

    hub._aps.receive(nwk_frame, device.eui64, 255, -40)
    street.timeline.run(street.timeline.now + 1.0)

    assert any("could not be sent" in why for why in street.why())
    assert street.send(device, hub, LONG, aps_security=True) is SendStatus.OK
