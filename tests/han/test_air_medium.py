from __future__ import annotations

import pytest

from han.sim.air.medium import Air, Clear, Garbled, Lossy, Sniffed, air_time
from han.sim.air.timeline import Timeline

FRAME = bytes(50)


class Radio:
    """Hears; remembers what and when."""

    def __init__(self, air: Air, channel: int | None = 11) -> None:
        self.air = air
        self.heard: list[tuple[float, bytes]] = []
        air.tune(self, channel)

    def receive(self, psdu: bytes, lqi: int, rssi: int) -> None:
        self.heard.append((self.air.timeline.now, psdu))

    def send(self, psdu: bytes = FRAME, channel: int = 11) -> None:
        self.air.transmit(self, channel, psdu, lambda: None)


def test_an_octet_takes_32_microseconds_and_a_frame_six_octets_more():
    assert air_time(127) == pytest.approx(133 * 32e-6)
    assert air_time(5) == pytest.approx(352e-6)


def test_a_frame_is_heard_by_all_others_when_it_is_over():
    timeline = Timeline()
    air = Air(timeline)
    sender, one, other = Radio(air), Radio(air), Radio(air)
    sender.send()
    timeline.run(1.0)
    assert one.heard == other.heard == [(pytest.approx(56 * 32e-6), FRAME)]
    assert sender.heard == []


def test_frames_stay_on_their_channel():
    timeline = Timeline()
    air = Air(timeline)
    sender, elsewhere = Radio(air), Radio(air, 12)
    sender.send()
    timeline.run(1.0)
    assert elsewhere.heard == []


def test_two_frames_that_overlap_destroy_each_other():
    timeline = Timeline()
    air = Air(timeline)
    one, other, listener = Radio(air), Radio(air), Radio(air)
    one.send()
    timeline.at(0.0005, other.send)
    timeline.run(1.0)
    assert listener.heard == one.heard == other.heard == []
    assert air.collisions == 2


def test_frames_that_follow_each_other_do_not_collide():
    timeline = Timeline()
    air = Air(timeline)
    one, other, listener = Radio(air), Radio(air), Radio(air)
    one.send()
    timeline.at(air_time(len(FRAME)), other.send)
    timeline.run(1.0)
    assert len(listener.heard) == 2
    assert air.collisions == 0


def test_hidden_senders_collide_only_where_both_are_heard():
    timeline = Timeline()
    far_apart: set[frozenset[Radio]] = set()
    air = Air(timeline, hears=lambda sender, receiver: frozenset((sender, receiver)) not in far_apart)
    left, middle, right, at_left = Radio(air), Radio(air), Radio(air), Radio(air)
    far_apart |= {frozenset((left, right)), frozenset((at_left, right))}
    left.send()
    assert not air.busy(right, 11, timeline.now)
    right.send()
    timeline.run(1.0)
    assert middle.heard == []
    assert len(at_left.heard) == 1


def test_the_channel_is_busy_during_a_frame_and_for_who_looked_before_it_ended():
    timeline = Timeline()
    air = Air(timeline)
    sender, listener = Radio(air), Radio(air)
    sender.send()
    assert air.busy(listener, 11, 0.0)
    assert not air.busy(listener, 12, 0.0)
    timeline.run(0.01)
    assert air.busy(listener, 11, air_time(len(FRAME)) - 64e-6)
    assert not air.busy(listener, 11, air_time(len(FRAME)))


def test_who_tunes_in_during_a_frame_does_not_hear_it():
    timeline = Timeline()
    air = Air(timeline)
    sender, late = Radio(air), Radio(air, None)
    sender.send()
    timeline.at(0.0001, air.tune, late, 11)
    timeline.run(0.1)
    assert late.heard == []
    sender.send()
    timeline.run(0.2)
    assert len(late.heard) == 1


def test_who_switches_off_hears_nothing_more():
    timeline = Timeline()
    air = Air(timeline)
    sender, off = Radio(air), Radio(air)
    sender.send()
    timeline.at(0.0001, air.tune, off, None)
    timeline.run(0.1)
    assert off.heard == []


@pytest.mark.parametrize("channel", [0, 10, 27])
def test_a_channel_that_does_not_exist_is_refused(channel):
    with pytest.raises(ValueError, match="channels 11 to 26"):
        Radio(Air(Timeline()), channel)


def test_a_frame_longer_than_127_octets_is_refused():
    radio = Radio(Air(Timeline()))
    with pytest.raises(ValueError, match="127"):
        radio.send(bytes(128))


def lost_with(seed: int) -> list[int]:
    timeline = Timeline()
    air = Air(timeline, Lossy(Clear(), rate=0.2, seed=seed))
    sender, listener = Radio(air), Radio(air)
    for number in range(500):
        timeline.at(number * 0.1, sender.send, number.to_bytes(10, "big"))
    timeline.run(100.0)
    heard = {int.from_bytes(psdu, "big") for _, psdu in listener.heard}
    return [number for number in range(500) if number not in heard]


def test_a_lossy_path_loses_its_share_and_the_same_frames_for_the_same_seed():
    assert lost_with(7) == lost_with(7)
    assert lost_with(7) != lost_with(8)
    assert 70 < len(lost_with(7)) < 130


def test_a_loss_rate_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        Lossy(Clear(), rate=2, seed=7)


def test_the_sniffer_sees_what_was_lost_but_no_wrecks():
    timeline, seen = Timeline(), []
    air = Air(timeline, Sniffed(Lossy(Clear(), rate=1.0, seed=7), seen.append))
    one, other = Radio(air), Radio(air)
    one.send(b"lost ")
    timeline.run(0.1)
    one.send(b"wreck 1")
    other.send(b"wreck 2")
    timeline.run(0.2)
    assert [(flight.psdu, flight.start, flight.channel) for flight in seen] == [(b"lost ", 0.0, 11)]
    assert other.heard == []


def test_a_garbled_frame_arrives_with_one_bit_turned():
    timeline = Timeline()
    air = Air(timeline, Garbled(Clear(), rate=1.0, seed=7))
    sender, listener = Radio(air), Radio(air)
    sender.send()
    timeline.run(0.1)
    [(_, psdu)] = listener.heard
    assert sum(octet.bit_count() for octet in psdu) == 1
