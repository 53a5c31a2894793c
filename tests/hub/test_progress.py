"""What people are told of a download: how far, how fast, how long still."""

from __future__ import annotations

import random

import pytest

from hub.progress import LARGEST_PAGE, Meter, Meters, Reading, State
from ota.eui64 import Eui64

ONE = Eui64.parse("00-DB-12-34-56-78-90-A4")
TWO = Eui64.parse("00-DB-12-34-56-78-90-A5")
BLOCK = 50
SIZE = 100_000


def run(meter: Meter, begin: int, blocks: int, now: float, gap: float) -> tuple[int, float]:
    """So many blocks, one in each gap; gives the next offset and the time of the last."""
    for number in range(blocks):
        meter.moved(begin + BLOCK * number, BLOCK, now + gap * number)
    return begin + BLOCK * blocks, now + gap * (blocks - 1)


# The meter.


def test_percent_speed_and_time_left_are_those_of_the_download():
    meter = Meter(SIZE)
    offset, now = run(meter, 0, 400, 100.0, 0.05)
    assert meter.offset == offset == 20_000
    assert meter.speed(now) == pytest.approx(1000, rel=0.01)
    assert meter.seconds_left(now) == pytest.approx(80, rel=0.01)


def test_the_speed_is_right_a_second_after_a_resume_and_nothing_before_it_counts():
    meter = Meter(SIZE)
    meter.begin(60_000)
    _, now = run(meter, 60_000, 21, 500.0, 0.05)
    assert meter.speed(now) == pytest.approx(1000, rel=0.01)
    assert meter.seconds_left(now) == pytest.approx(39, rel=0.05)


@pytest.mark.parametrize("state", [State.PAUSED, State.STALLED, State.INTERRUPTED])
def test_no_time_that_a_download_was_held_up_lies_in_its_speed(state):
    meter = Meter(SIZE)
    offset, now = run(meter, 0, 100, 0.0, 0.05)
    meter.hold(state)
    assert (meter.speed(now + 1), meter.seconds_left(now + 1)) == (0.0, None)
    _, now = run(meter, offset, 21, now + 900, 0.05)
    assert meter.speed(now) == pytest.approx(1000, rel=0.01)


def test_a_device_that_was_silent_without_a_word_has_its_speed_again_at_once():
    meter = Meter(SIZE)
    offset, now = run(meter, 0, 100, 0.0, 0.05)
    _, now = run(meter, offset, 21, now + 45, 0.05)
    assert meter.speed(now) == pytest.approx(1000, rel=0.01)


def test_a_silent_device_moves_at_no_speed_and_its_end_cannot_be_foretold():
    meter = Meter(SIZE)
    _, now = run(meter, 0, 100, 0.0, 0.05)
    assert meter.speed(now + 1) > 0
    assert (meter.speed(now + 6), meter.seconds_left(now + 6)) == (0.0, None)


def test_a_device_that_asks_once_an_hour_has_a_speed_too():
    meter = Meter(SIZE)
    offset, now = run(meter, 0, 6, 0.0, 3600.0)
    assert meter.speed(now + 1800) == pytest.approx(BLOCK / 3600)
    assert meter.seconds_left(now) == pytest.approx((SIZE - offset) * 3600 / BLOCK)


def test_a_device_that_lost_its_power_after_the_first_block_has_its_speed_at_once():
    meter = Meter(SIZE)
    meter.moved(0, BLOCK, 0.0)
    _, now = run(meter, BLOCK, 21, 60.0, 0.05)
    assert meter.speed(now) == pytest.approx(1000, rel=0.01)


def test_a_device_that_becomes_slower_shows_it_within_the_window():
    meter = Meter(SIZE)
    offset, now = run(meter, 0, 600, 0.0, 0.05)
    _, now = run(meter, offset, 70, now + 0.5, 0.5)
    assert meter.speed(now) == pytest.approx(100, rel=0.1)


def test_a_block_that_is_asked_for_again_is_no_progress():
    meter, other = Meter(SIZE), Meter(SIZE)
    _, now = run(meter, 0, 100, 0.0, 0.05)
    for number in range(100):
        other.moved(BLOCK * number, BLOCK, 0.05 * number)
        other.moved(BLOCK * number, BLOCK, 0.05 * number + 0.02)
    assert other.offset == meter.offset
    assert other.speed(now) == meter.speed(now)


def test_before_there_are_two_blocks_no_speed_is_claimed():
    meter = Meter(SIZE)
    meter.moved(0, BLOCK, 3.0)
    assert meter.speed(3.0) is None
    assert meter.seconds_left(3.0) is None
    for number in range(1, 18):  # a page that leaves in one go
        meter.moved(BLOCK * number, BLOCK, 3.0)
    assert meter.speed(3.0) is None


def test_a_client_that_goes_back_for_the_holes_of_a_page_has_not_lost_the_rest():
    meter = Meter(SIZE)
    run(meter, 0, 40, 0.0, 0.05)
    meter.moved(500, BLOCK, 2.1)
    assert meter.offset == 2000
    meter.moved(2000, BLOCK, 2.2)
    assert meter.offset == 2050


def test_a_client_that_starts_anew_is_seen_to():
    meter = Meter(SIZE)
    run(meter, 0, 40, 0.0, 0.05)
    meter.moved(0, BLOCK, 3.0)
    assert meter.offset == BLOCK
    large = Meter(10 * SIZE)
    run(large, 0, 2 * LARGEST_PAGE // BLOCK, 0.0, 0.01)
    large.moved(BLOCK, BLOCK, 100.0)
    assert large.offset == 2 * BLOCK


def test_a_complete_image_is_all_there_and_takes_no_more_time():
    meter = Meter(SIZE)
    _, now = run(meter, 0, 10, 0.0, 0.05)
    meter.hold(State.COMPLETE)
    assert (meter.offset, meter.speed(now), meter.seconds_left(now)) == (SIZE, 0.0, 0.0)


def test_percent_is_rounded_down_so_that_a_hundred_is_all_of_it():
    assert Reading(ONE, "a", State.DOWNLOADING, 1999, 2000).percent == 99
    assert Reading(ONE, "a", State.COMPLETE, 2000, 2000).percent == 100


def test_whatever_the_order_of_blocks_a_meter_says_nothing_impossible():
    dice = random.Random(5)
    for _ in range(200):
        size = dice.randint(1, 200_000)
        meter, now = Meter(size), 0.0
        for _ in range(100):
            now += dice.choice([0.0, 0.001, 0.05, 1.0, 20.0, 4000.0])
            match dice.randrange(8):
                case 0:
                    meter.hold(dice.choice(list(State)))
                case 1:
                    meter.begin(dice.randrange(size))
                case _:
                    offset = dice.randrange(size)
                    meter.moved(offset, min(dice.randint(1, 65), size - offset), now)
            speed, left = meter.speed(now), meter.seconds_left(now)
            assert 0 <= meter.offset <= size
            assert speed is None or 0 <= speed <= 65 * 100 / 0.5
            assert left is None or left >= 0


# Telling.


def offered(size: int) -> Meters:
    """Meters of two devices that have an image of this size to get."""
    meters = Meters(5.0)
    for device in (ONE, TWO):
        meters.offered(device, "a", size)
    return meters


def told(meters: Meters, until: float) -> list[tuple[float, Reading]]:
    """What a pump would tell up to this moment, and when."""
    out = []
    while (due := meters.timer()) is not None and due <= until:
        meters.tick(due)
        out += [(due, reading) for reading in meters.drain()]
    return out


def test_a_flood_of_blocks_makes_no_flood_of_messages():
    meters, out = offered(10**7), []
    for number in range(20_000):
        now = number * 0.001
        meters.moved(ONE, "a", BLOCK * number, BLOCK, now)
        out += told(meters, now)
    assert [at for at, _ in out] == pytest.approx([1.0, 6.0, 11.0, 16.0], abs=0.01)


def test_the_latest_is_told_in_the_end_though_nothing_follows_it():
    meters = offered(SIZE)
    for number in range(10):
        meters.moved(ONE, "a", BLOCK * number, BLOCK, 0.1 * number)
    assert [(at, reading.offset) for at, reading in told(meters, 99.0)] == [(1.0, 10 * BLOCK)]
    assert meters.timer() is None


def test_a_reading_after_a_silence_waits_until_the_speed_is_known():
    meters = offered(SIZE)
    for number in range(200):
        meters.moved(ONE, "a", BLOCK * number, BLOCK, 0.05 * number)
        told(meters, 0.05 * number)
    told(meters, 60.0)
    meters.moved(ONE, "a", BLOCK * 200, BLOCK, 60.0)
    assert meters.timer() == 61.0


def test_an_end_is_told_at_once():
    meters = offered(SIZE)
    meters.moved(ONE, "a", 0, BLOCK, 1.0)
    told(meters, 1.0)
    meters.held(ONE, "a", State.COMPLETE, 1.2)
    ((at, reading),) = told(meters, 1.2)
    assert (at, reading.state, reading.percent, reading.seconds_left) == (1.2, State.COMPLETE, 100, 0.0)


def test_a_device_that_breaks_off_and_begins_all_the_time_is_told_of_no_more_often():
    meters, out = offered(SIZE), []
    for number in range(2000):
        now = number * 0.01
        if number % 2:
            meters.held(ONE, "a", State.INTERRUPTED, now)
        else:
            meters.began(ONE, "a", 0, now)
        out += told(meters, now)
    assert len(out) <= 5


def test_devices_do_not_wait_for_each_other():
    meters = offered(SIZE)
    meters.moved(ONE, "a", 0, BLOCK, 0.0)
    told(meters, 1.0)
    meters.moved(TWO, "a", 0, BLOCK, 1.0)
    assert [(at, reading.device) for at, reading in told(meters, 99.0)] == [(2.0, TWO)]


def test_another_image_starts_another_meter_but_no_flood():
    meters = offered(SIZE)
    meters.moved(ONE, "a", 5000, BLOCK, 0.0)
    told(meters, 1.0)
    meters.offered(ONE, "b", 777)
    meters.moved(ONE, "a", 5050, BLOCK, 1.0)  # a late one
    meters.moved(ONE, "b", 0, BLOCK, 1.0)
    assert meters.reading(ONE, "a", 1.0) is None
    assert (meters.reading(ONE, "b", 1.0).offset, meters.timer()) == (BLOCK, 6.0)


def test_what_is_forgotten_is_told_no_more():
    meters = offered(SIZE)
    meters.moved(ONE, "a", 0, BLOCK, 0.0)
    meters.forget(ONE)
    assert told(meters, 99.0) == []
    assert meters.reading(ONE, "a", 0.0) is None


def test_what_a_device_had_before_a_restart_of_the_hub_is_not_measured_again():
    meters = Meters(5.0)
    meters.offered(ONE, "a", SIZE, State.COMPLETE)
    meters.offered(TWO, "a", SIZE, State.FAILED)
    assert meters.reading(ONE, "a", 0.0) == Reading(ONE, "a", State.COMPLETE, SIZE, SIZE, 0.0, 0.0)
    assert meters.reading(TWO, "a", 0.0) == Reading(TWO, "a", State.FAILED, 0, SIZE, 0.0, None)
    assert meters.timer() is None


def test_blocks_of_an_image_that_was_not_offered_are_not_measured():
    meters = Meters(5.0)
    meters.moved(ONE, "a", 0, BLOCK, 0.0)
    meters.began(ONE, "a", 0, 0.0)
    meters.held(ONE, "a", State.COMPLETE, 0.0)
    assert meters.timer() is None
