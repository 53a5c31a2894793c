"""ASH, the dongle's end, without any EZSP: a machine that is handed octets and times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from han.sim.dongle import ash_frames
from han.sim.dongle.ash import Ash, AshSettings, Dropped, LinkFailed, Received, ResetAsked, State
from han.sim.dongle.ash_frames import ResetCode, ack_frame, data_frame, error_frame, nak_frame, stuffed
from han.sim.dongle.errors import OurError


def connected(settings: AshSettings | None = None) -> Ash:
    """A link just after RSTACK."""
    ash = Ash(settings)
    ash.ready(ResetCode.SOFTWARE)
    ash.drain()
    return ash


def host_data(number: int, payload: bytes = b"\x00\x00\x05", *, ack: int = 0, again: bool = False) -> bytes:
    return data_frame(number, again=again, ack=ack, payload=payload)


def octets(ash: Ash) -> list[bytes]:
    return [item for item in ash.drain() if isinstance(item, bytes)]


def test_data_in_order_is_handed_up_once():
    ash = connected()

    ash.feed(host_data(0, b"abc"), now=0.0)
    ash.feed(host_data(1, b"def"), now=0.0)

    assert [Received(b"abc"), Received(b"def")] == ash.drain()


def test_an_acknowledgement_rides_on_data_when_data_is_at_hand():
    ash = connected()
    ash.feed(host_data(0), now=0.0)
    ash.drain()

    ash.send(b"answer", now=0.01)

    assert [data_frame(0, again=False, ack=1, payload=b"answer")] == ash.drain()
    ash.tick(now=1.0)
    assert octets(ash) == []


def test_an_acknowledgement_goes_alone_after_20_ms():
    ash = connected()
    ash.feed(host_data(0), now=5.0)
    ash.drain()

    assert ash.timer() == pytest.approx(5.02)
    ash.tick(now=5.02)

    assert octets(ash) == [ack_frame(1)]


@given(st.binary(min_size=1, max_size=220), st.integers(1, 7))
def test_frames_survive_any_cut(payload: bytes, size: int):
    ash = connected()
    frame = host_data(0, payload)

    for start in range(0, len(frame), size):
        ash.feed(frame[start : start + size], now=0.0)

    assert Received(payload) in ash.drain()


@given(st.binary(max_size=256))
def test_whatever_is_stuffed_comes_back(payload: bytes):
    frame = stuffed(payload)

    assert set(frame[:-1]).isdisjoint({0x11, 0x13, 0x18, 0x1A, 0x7E})
    assert ash_frames.unstuffed(frame[:-1])[:-2] == payload


def test_a_bad_crc_is_dropped_and_asked_for_again_once():
    ash = connected()
    spoilt = bytearray(host_data(0, b"abcdef"))
    spoilt[3] ^= 0x01

    ash.feed(bytes(spoilt), now=0.0)
    ash.feed(bytes(spoilt), now=0.0)

    assert ash.drain() == [Dropped("bad CRC"), nak_frame(0), Dropped("bad CRC")]
    ash.feed(host_data(0, b"abcdef", again=True), now=0.1)
    assert ash.drain() == [Received(b"abcdef")]


def test_a_damaged_acknowledgement_is_dropped_without_a_word():
    ash = connected()
    spoilt = bytearray(ack_frame(0))
    spoilt[1] ^= 0x01

    ash.feed(bytes(spoilt), now=0.0)

    assert ash.drain() == [Dropped("bad CRC")]


def test_a_frame_out_of_sequence_is_asked_for_once_and_what_follows_is_dropped():
    ash = connected()

    ash.feed(host_data(2) + host_data(3), now=0.0)

    assert ash.drain() == [Dropped("out of sequence"), nak_frame(0), Dropped("out of sequence")]


def test_an_old_frame_sent_again_is_acknowledged_and_not_handed_up():
    ash = connected()
    ash.feed(host_data(0, b"abc"), now=0.0)
    ash.drain()

    ash.feed(host_data(0, b"abc", again=True), now=0.1)

    assert ash.drain() == [ack_frame(1)]


@pytest.mark.parametrize(
    "piece", [b"\x7e", b"\x00\x7e", b"\x00\x01\x7e", b"\x7d\x7e", b"\x41\x7d\x7d\x33\x7e"]
)
def test_scraps_between_flags_do_no_harm(piece: bytes):
    ash = connected()

    ash.feed(piece + host_data(0, b"abc"), now=0.0)

    assert Received(b"abc") in ash.drain()
    assert ash.state is State.CONNECTED


def test_a_cancel_octet_throws_away_what_came_before_it():
    ash = connected()

    ash.feed(b"rubbish\x1a\x1a" + host_data(0, b"abc"), now=0.0)

    assert ash.drain() == [Received(b"abc")]


def test_a_substitute_octet_spoils_the_frame_it_stands_in():
    ash = connected()
    frame = host_data(0, b"abc")

    ash.feed(frame[:3] + b"\x18" + frame[3:] + frame, now=0.0)

    assert ash.drain() == [Dropped("spoilt on the line"), Received(b"abc")]


def test_a_flood_without_a_flag_is_forgotten():
    ash = connected()

    for _ in range(100):
        ash.feed(b"x" * 100, now=0.0)
    ash.feed(b"\x7e" + host_data(0, b"abc"), now=0.0)

    assert Received(b"abc") in ash.drain()


def test_a_frame_longer_than_a_dongle_takes_is_refused():
    ash = connected()

    ash.feed(host_data(0, bytes(221)), now=0.0)

    assert ash.drain() == [Dropped("too long"), nak_frame(0)]


def test_five_frames_may_be_under_way_and_a_sixth_may_not():
    ash = connected()
    for _ in range(5):
        ash.send(b"x", now=0.0)

    assert not ash.window_open
    with pytest.raises(OurError, match="window"):
        ash.send(b"x", now=0.0)


def test_frames_that_are_not_acknowledged_are_all_sent_again():
    ash = connected()
    for payload in (b"a", b"b", b"c"):
        ash.send(payload, now=0.0)
    ash.feed(ack_frame(1), now=0.01)
    ash.drain()

    ash.tick(now=ash.timer())

    again = [data_frame(number, again=True, ack=0, payload=p) for number, p in ((1, b"b"), (2, b"c"))]
    assert octets(ash) == again


def test_a_nak_brings_everything_from_there_again():
    ash = connected()
    for payload in (b"a", b"b"):
        ash.send(payload, now=0.0)
    ash.drain()

    ash.feed(nak_frame(1), now=0.1)

    assert octets(ash) == [data_frame(1, again=True, ack=0, payload=b"b")]


def test_a_silent_host_gets_four_repetitions_then_error_0x51_until_it_sends_rst():
    ash = connected()
    for payload in (b"a", b"b", b"c"):
        ash.send(payload, now=0.0)
    ash.drain()

    said = []
    while (due := ash.timer()) is not None:
        ash.tick(now=due)
        said += ash.drain()

    repeated = [item for item in said if isinstance(item, bytes)]
    # Three frames under way, four repetitions: the twelve of the published log, then ERROR.
    assert len(repeated) == 13
    assert repeated[-1] == error_frame(ResetCode.ACK_TIMEOUTS)
    assert LinkFailed(ResetCode.ACK_TIMEOUTS) in said
    ash.feed(host_data(0), now=60.0)
    ash.feed(ack_frame(0), now=60.0)
    assert ash.drain() == [error_frame(ResetCode.ACK_TIMEOUTS)] * 2
    ash.feed(bytes.fromhex("1ac038bc7e"), now=61.0)
    assert ash.drain() == [ResetAsked()]


def test_the_acknowledgement_time_doubles_and_stays_within_its_bounds():
    ash = connected()
    ash.send(b"a", now=0.0)
    waits, last = [], 0.0
    while (due := ash.timer()) is not None:
        waits.append(round(due - last, 3))
        last = due
        ash.tick(now=due)

    assert waits == [1.6, 3.2, 3.2, 3.2, 3.2]


def test_quick_acknowledgements_bring_the_time_down_to_400_ms():
    ash = connected()
    for number in range(30):
        ash.send(b"a", now=float(number))
        ash.feed(ack_frame((number + 1) & 7), now=number + 0.01)

    ash.send(b"a", now=50.0)

    assert ash.timer() == pytest.approx(50.4)


def test_an_acknowledgement_of_something_never_sent_changes_nothing():
    ash = connected()
    ash.send(b"a", now=0.0)

    ash.feed(ack_frame(5), now=0.1)

    assert ash.unacknowledged == [b"a"]


def test_nothing_is_heard_while_the_processor_starts():
    ash = connected()
    ash.boot()

    ash.feed(host_data(0) + bytes.fromhex("1ac038bc7e"), now=0.0)

    assert ash.drain() == []
    assert ash.timer() is None


def test_xoff_keeps_octets_back_until_xon():
    ash = connected()
    ash.feed(b"\x13", now=0.0)

    ash.send(b"a", now=0.1)
    assert ash.drain() == []
    ash.feed(b"\x11", now=0.2)

    assert ash.drain() == [data_frame(0, again=False, ack=0, payload=b"a")]


def test_an_xoff_that_a_line_error_made_does_not_silence_the_dongle_for_ever():
    ash = connected()
    ash.feed(b"\x13", now=0.0)
    ash.send(b"a", now=0.1)

    assert ash.timer() == pytest.approx(1.0)
    ash.tick(now=1.0)

    assert octets(ash) == [data_frame(0, again=False, ack=0, payload=b"a")]


def test_flow_control_octets_inside_a_frame_are_no_part_of_it():
    ash = connected()
    frame = host_data(0, b"abc")

    ash.feed(frame[:4] + b"\x13" + frame[4:6] + b"\x11" + frame[6:], now=0.0)

    assert ash.drain() == [Received(b"abc")]


def test_a_host_that_is_not_ready_gets_no_callbacks_for_a_second():
    ash = connected()

    ash.feed(stuffed(b"\x88"), now=10.0)

    assert not ash.callbacks_are_welcome(10.5)
    assert ash.callbacks_are_welcome(11.0)
    ash.feed(stuffed(b"\x88") + ack_frame(0), now=12.0)
    assert ash.callbacks_are_welcome(12.0)


@pytest.mark.parametrize("seed", range(20))
def test_noise_never_gets_up_to_ezsp(seed: int):
    dice = random.Random(seed)
    ash = connected()

    for _ in range(50):
        ash.feed(dice.randbytes(dice.randrange(1, 60)), now=0.0)

    assert not [item for item in ash.drain() if isinstance(item, Received)]
