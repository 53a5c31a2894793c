from __future__ import annotations

import pytest

from han.sim.air.links import Link, Links, Patchy
from han.sim.air.medium import Air, Clear, Garbled, Lossy, Sniffed, air_time, rssi_of
from han.sim.air.timeline import Timeline
from han.sim.wire.mac import ack_psdu, addressee, data_psdu, own_addressees
from ota.eui64 import Eui64

FRAME = bytes(50)


class Radio:
    """Hears; remembers what and when."""

    ears = None

    def __init__(self, air: Air, channel: int | None = 11, eui64: int = 0) -> None:
        self.air = air
        self.eui64 = Eui64(eui64)
        self.heard: list[tuple[float, bytes]] = []
        self.quality: list[tuple[int, int]] = []
        air.tune(self, channel)

    def receive(self, psdu: bytes, lqi: int, rssi: int) -> None:
        self.heard.append((self.air.timeline.now, psdu))
        self.quality.append((lqi, rssi))

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


def house_of(count: int, *pairs: tuple[int, int], path=None) -> tuple[Timeline, Links, list[Radio]]:
    """Radios 1 to ``count``, of which these hear each other."""
    timeline, links = Timeline(), Links()
    air = Air(timeline, path(links) if path else None, links)
    for one, other in pairs:
        links.connect(Eui64(one), Eui64(other), Link())
    return timeline, links, [Radio(air, eui64=number) for number in range(1, count + 1)]


def test_hidden_senders_collide_only_where_both_are_heard():
    timeline, _, (left, middle, right, at_left) = house_of(4, (1, 2), (2, 3), (1, 4))
    left.send()
    assert not left.air.busy(right, 11, timeline.now)
    right.send()
    timeline.run(1.0)
    assert middle.heard == []
    assert len(at_left.heard) == 1


def test_a_frame_much_stronger_than_what_falls_on_it_is_heard_all_the_same():
    timeline, links, (near, middle, far) = house_of(3, (1, 2))
    links.connect(far.eui64, middle.eui64, Link(lqi=100))
    near.send(b"strong")
    far.send(b"weak  ")
    timeline.run(1.0)
    assert [psdu for _, psdu in middle.heard] == [b"strong"]


def test_two_rooms_out_of_earshot_use_the_channel_at_the_same_time():
    timeline, _, (one, two, three, four) = house_of(4, (1, 2), (3, 4))
    one.send()
    three.send()
    timeline.run(1.0)
    assert (len(two.heard), len(four.heard)) == (1, 1)


def test_a_link_has_a_quality_and_a_strength_that_goes_with_it():
    timeline, links, (near, far, listener) = house_of(3, (1, 3))
    links.connect(far.eui64, listener.eui64, Link(lqi=80))
    near.send()
    timeline.run(1.0)
    far.send()
    timeline.run(2.0)
    assert listener.quality == [(255, -45), (80, rssi_of(80))]
    assert -95 < rssi_of(80) < -45


def test_a_one_way_link_is_heard_at_one_end():
    timeline, links, (speaker, listener) = house_of(2)
    links.connect(speaker.eui64, listener.eui64, Link(), one_way=True)
    speaker.send()
    timeline.run(1.0)
    listener.send()
    timeline.run(2.0)
    assert (len(speaker.heard), len(listener.heard)) == (0, 1)


def test_a_wall_can_be_built_while_the_house_runs():
    timeline, links, (one, other) = house_of(2, (1, 2))
    links.part(one.eui64, other.eui64)
    one.send()
    timeline.run(1.0)
    assert other.heard == []


def test_a_patchy_link_loses_its_own_share_and_leaves_the_others_alone():
    timeline, links, (sender, good, bad) = house_of(
        3, (1, 2), path=lambda links: Patchy(Clear(), links, seed=7)
    )
    links.connect(sender.eui64, bad.eui64, Link(loss=0.3))
    for number in range(500):
        timeline.at(number * 0.1, sender.send)
    timeline.run(100.0)
    assert len(good.heard) == 500
    assert 300 < len(bad.heard) < 400


@pytest.mark.parametrize("link", [Link(lqi=0), Link(lqi=256), Link(loss=-0.1), Link(loss=1.1)])
def test_a_link_that_cannot_be_is_refused(link):
    with pytest.raises(ValueError, match="lies between"):
        Links().connect(Eui64(1), Eui64(2), link)


def test_the_sniffer_sees_what_arrived_anywhere_though_it_was_wrecked_elsewhere():
    seen = []
    timeline, _, (left, _, right, _) = house_of(
        4, (1, 2), (2, 3), (1, 4), path=lambda _: Sniffed(Clear(), seen.append)
    )
    left.send(b"whole at 4")
    right.send(b"a wreck")
    timeline.run(1.0)
    assert [flight.psdu for flight in seen] == [b"whole at 4"]


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


def test_a_frame_is_handed_only_to_radios_whose_filter_lets_it_through():
    timeline = Timeline()
    air = Air(timeline)
    sender, ours, others = Radio(air), Radio(air), Radio(air)
    ours.ears = own_addressees(0x1A2B, 0x0001, Eui64(1))
    others.ears = own_addressees(0x1A2B, 0x0002, Eui64(2))
    unicast = data_psdu(1, 0x1A2B, 0x0001, 0x0000, b"for one", ack_request=True)
    broadcast = data_psdu(2, 0x1A2B, 0xFFFF, 0x0000, b"for all", ack_request=False)
    elsewhere = data_psdu(3, 0x9999, 0x0001, 0x0000, b"for a neighbour", ack_request=True)
    for psdu in (unicast, broadcast, elsewhere, ack_psdu(1), b"\x01"):
        sender.send(psdu)
        timeline.run(timeline.now + 1.0)
    assert [psdu for _, psdu in ours.heard] == [unicast, broadcast]
    assert [psdu for _, psdu in others.heard] == [broadcast]


def test_a_frame_spoilt_into_one_for_somebody_else_is_heard_by_him_alone():
    timeline = Timeline()
    air = Air(timeline, Garbled(Clear(), 1.0, seed=3))
    sender, radio = Radio(air), Radio(air)
    radio.ears = own_addressees(0x1A2B, 0x0001, Eui64(1))
    frame = data_psdu(1, 0x1A2B, 0x0001, 0x0000, b"hello", ack_request=True)
    for _ in range(200):
        sender.send(frame)
        timeline.run(timeline.now + 1.0)
    assert 0 < len(radio.heard) < 200
    assert all(addressee(psdu) in radio.ears for _, psdu in radio.heard)
