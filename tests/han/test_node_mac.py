from __future__ import annotations

import random

import pytest
from node_neighbourhood import Deaf, Replayer

from han.facts import Facts
from han.sim.air.medium import Air, Clear, Garbled, Path, Sniffed, air_time
from han.sim.air.timeline import Timeline
from han.sim.node.indirect import PERSISTENCE
from han.sim.node.mac import ACK_WAIT, BACKOFF_UNIT, CCA, LIFS, SIFS, TURNAROUND, Mac
from han.sim.node.service import Counters
from han.sim.node.station import Station
from han.sim.node.store import NodeStore
from han.sim.wire.mac import DataRequest, FrameType, MacFrame, ack_psdu
from ota.eui64 import Eui64

PAN = 0x1A62


class Street:
    """Some MACs on one air, addresses 1, 2, 3..."""

    def __init__(self, count: int = 2, path: Path | None = None, seed: int = 7) -> None:
        self.timeline = Timeline()
        self.flights = []
        self.air = Air(self.timeline, Sniffed(path or Clear(), self.flights.append))
        self.facts = Facts(lambda: self.timeline.now)
        self.heard: dict[int, list[MacFrame]] = {}
        self.ends: list[tuple[int, bool, float]] = []
        self.counters: dict[int, Counters] = {}
        self.macs = [self.mac(number, seed) for number in range(1, count + 1)]

    def mac(self, number: int, seed: int) -> Mac:
        heard = self.heard.setdefault(number, [])
        counters = self.counters[number] = Counters()
        station = Station(
            Eui64(number),
            f"mac {number}",
            0x8E,
            self.timeline,
            random.Random(f"{number} {seed}"),
            self.facts,
            NodeStore(),
            counters,
        )
        mac = Mac(station, self.air, lambda frame, lqi, rssi: heard.append(frame))
        mac.tune(11)
        mac.address(PAN, number)
        return mac

    def send(self, sender: int, to: int, payload: bytes = bytes(40)) -> None:
        self.macs[sender - 1].send_data(
            to, payload, lambda ok: self.ends.append((sender, ok, self.timeline.now))
        )

    def run(self, seconds: float = 1.0) -> None:
        self.timeline.run(self.timeline.now + seconds)


def test_a_unicast_is_heard_by_its_destination_alone_and_acknowledged():
    street = Street(3)
    street.send(1, 2, b"for number two")
    street.run()
    assert [frame.payload for frame in street.heard[2]] == [b"for number two"]
    assert street.heard[3] == []
    assert [ok for _, ok, _ in street.ends] == [True]
    data, ack = street.flights
    assert ack.psdu == ack_psdu(data.psdu[2])


def test_the_timing_is_backoff_cca_turnaround_frame_turnaround_acknowledgement():
    street = Street()
    street.send(1, 2, bytes(40))
    street.run()
    data, ack = street.flights
    units = (data.start - CCA - TURNAROUND) / BACKOFF_UNIT
    assert units == pytest.approx(round(units), abs=1e-6)
    assert 0 <= round(units) <= 7
    assert data.end - data.start == pytest.approx(air_time(40 + 11))
    assert ack.start - data.end == pytest.approx(TURNAROUND)
    assert ack.end - ack.start == pytest.approx(352e-6)
    assert street.ends[0][2] == pytest.approx(ack.end)


@pytest.mark.parametrize(("size", "gap"), [(7, SIFS), (8, LIFS), (116, LIFS)])
def test_two_frames_of_one_sender_are_an_interframe_space_apart(size, gap):
    street = Street()
    street.send(1, 2, bytes(size))
    street.send(1, 2, b"second")
    street.run()
    _, first_ack, second, _ = street.flights
    units = (second.start - first_ack.end - gap - CCA - TURNAROUND) / BACKOFF_UNIT
    assert units == pytest.approx(round(units), abs=1e-6)
    assert 0 <= round(units) <= 7


def test_a_lost_frame_is_sent_four_times_in_all_and_then_given_up():
    street = Street(path=Deaf(lambda flight: True))
    with street.facts.recorded() as facts:
        street.send(1, 2)
        street.run()
    assert len(street.flights) == 4
    assert len({flight.psdu for flight in street.flights}) == 1
    assert [ok for _, ok, _ in street.ends] == [False]
    assert [fact.what for fact in facts] == ["mac.retry"] * 3 + ["mac.failed"]
    gap = street.flights[1].start - street.flights[0].end
    assert gap >= ACK_WAIT + CCA + TURNAROUND - 1e-9


def test_a_frame_whose_acknowledgement_was_lost_is_heard_once():
    lost = []

    def loses_the_first_acknowledgement(flight):
        if len(flight.psdu) == 5 and not lost:
            lost.append(flight)
            return True
        return False

    street = Street(path=Deaf(loses_the_first_acknowledgement))
    street.send(1, 2, b"once")
    street.run()
    assert [frame.payload for frame in street.heard[2]] == [b"once"]
    assert [ok for _, ok, _ in street.ends] == [True]
    assert len(street.flights) == 4


def test_a_broadcast_is_heard_by_all_and_acknowledged_by_none():
    street = Street(4)
    street.send(1, 0xFFFF, b"everyone")
    street.run()
    assert all([frame.payload for frame in street.heard[number]] == [b"everyone"] for number in (2, 3, 4))
    assert len(street.flights) == 1
    assert [ok for _, ok, _ in street.ends] == [True]


def test_many_senders_share_the_channel_without_losing_a_frame():
    street = Street(6)
    for sender in range(2, 7):
        for number in range(40):
            when = number * 0.1 + sender * 0.003
            street.timeline.after(when, street.send, sender, 1, bytes((sender, number)) * 20)
    street.run(60.0)
    assert len(street.ends) == 200
    assert all(ok for _, ok, _ in street.ends)
    for sender in range(2, 7):
        numbers = [frame.payload[1] for frame in street.heard[1] if frame.source == sender]
        assert numbers == list(range(40))
    assert street.air.collisions > 0


def test_a_busy_channel_makes_who_wants_to_send_wait():
    street = Street()
    street.air.transmit(Replayer(street.air, 11), 11, bytes(127), lambda: None)
    street.send(1, 2, b"patient")
    street.run()
    assert street.flights[1].start > street.flights[0].end
    assert [frame.payload for frame in street.heard[2]] == [b"patient"]


def test_a_spoilt_frame_is_dropped_with_its_reason_and_repeated():
    street = Street(path=Garbled(Clear(), rate=0.1, seed=7))
    with street.facts.recorded() as facts:
        for number in range(30):
            street.timeline.after(number * 0.1, street.send, 1, 2, bytes((number,)) * 30)
        street.run(10.0)
    assert [frame.payload[0] for frame in street.heard[2]] == list(range(30))
    assert "the frame check sequence does not match" in {
        fact.why for fact in facts if fact.what == "frame.dropped"
    }


@pytest.mark.parametrize("size", range(1, 20))
def test_noise_of_any_length_changes_nothing(size):
    street = Street()
    noise = Replayer(street.air, 11)
    dice = random.Random(size)
    for number in range(50):
        street.timeline.after(number * 0.01, noise.send, dice.randbytes(size))
    street.run()
    assert street.heard == {1: [], 2: []}


def test_an_acknowledgement_that_nobody_waits_for_ends_nothing():
    street = Street(path=Deaf(lambda flight: len(flight.psdu) != 5))
    forger = Replayer(street.air, 11)
    street.send(1, 2)
    for sequence in range(256):
        street.timeline.after(
            1e-9 * sequence, forger._air.transmit, forger, 12, ack_psdu(sequence), lambda: None
        )
    street.run()
    assert [ok for _, ok, _ in street.ends] == [False]


def test_a_frame_of_another_pan_is_not_heard():
    street = Street(3)
    street.macs[2].address(0x2222, 2)
    street.macs[1].address(PAN, 9)
    street.send(1, 2)
    street.run()
    assert street.heard[3] == []
    assert [ok for _, ok, _ in street.ends] == [False]


def poll(parent: int) -> MacFrame:
    return MacFrame(FrameType.COMMAND, 0, PAN, parent, Eui64(2), DataRequest().to_bytes(), ack_request=True)


def held(street: Street, ends: list[bool]) -> None:
    frame = MacFrame(FrameType.COMMAND, 0, PAN, Eui64(2), Eui64(1), b"\x02held", ack_request=True)
    street.macs[0].hold(Eui64(2), frame, ends.append)


def test_a_held_frame_goes_out_when_its_destination_asks():
    street, ends = Street(), []
    held(street, ends)
    street.run()
    assert street.flights == []
    street.macs[1].send(poll(1), lambda ok: None)
    street.run()
    assert [frame.payload for frame in street.heard[2]] == [b"\x02held"]
    assert ends == [True]
    assert street.flights[1].psdu == ack_psdu(street.flights[0].psdu[2], frame_pending=True)


def test_who_asks_when_nothing_is_held_is_told_so():
    street = Street()
    street.macs[1].send(poll(1), lambda ok: None)
    street.run()
    assert street.flights[1].psdu == ack_psdu(street.flights[0].psdu[2])


def test_a_held_frame_that_nobody_asks_for_expires():
    street, ends = Street(), []
    held(street, ends)
    street.run(PERSISTENCE - 0.1)
    assert ends == []
    street.run(0.2)
    assert ends == [False]


def test_a_radio_that_is_switched_off_is_silent_and_says_no_word():
    street = Street()
    street.send(1, 2)
    street.send(1, 2)
    street.timeline.run(0.001)
    street.macs[0].tune(None)
    street.run()
    assert street.ends == []
    assert len(street.flights) <= 2


def test_the_counters_tell_what_happened():
    street = Street(path=Deaf(lambda flight: flight.start < 0.004))
    street.send(1, 2)
    street.run()
    assert street.counters[1].mac_tx_unicast_success == 1
    assert street.counters[1].mac_tx_unicast_retry >= 1
    assert street.counters[2].mac_rx_unicast == 1
