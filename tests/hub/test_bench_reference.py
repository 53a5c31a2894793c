"""Reference times: the numbers that IEEE 802.15.4's timing gives by hand."""

from __future__ import annotations

import pytest

from hub.bench.reference import MEAN_BACKOFF, Exchange, Serial, aps_ack_size, frame_seconds, psdu_size

KB = 1024
LIFS_EACH = 2 * 640e-6
"""Both sides send two frames back to back for each block."""


@pytest.mark.parametrize(
    ("psdu", "least", "mean"),
    [(71, 3.33e-3, 4.45e-3), (127, 5.12e-3, 6.24e-3), (54, 2.78e-3, 3.90e-3)],
)
def test_a_frame_takes_its_backoff_its_octets_and_its_acknowledgement(psdu, least, mean):
    assert frame_seconds(psdu, backoff=0.0) == pytest.approx(least, abs=5e-6)
    assert frame_seconds(psdu) == pytest.approx(mean, abs=5e-6)


def test_the_frames_of_a_block_have_the_sizes_that_are_sniffed():
    assert psdu_size(14, aps_secured=True) == 71
    assert psdu_size(14 + 56, aps_secured=True) == 127
    assert psdu_size(14 + 65, aps_secured=False) == 127
    assert (aps_ack_size(aps_secured=True), aps_ack_size(aps_secured=False)) == (54, 45)


@pytest.mark.parametrize(
    ("kilobytes", "block", "plain", "least", "mean"),
    [
        (350, 56, 68, 54, 118),
        (350, 50, 75, 59, 131),
        (350, 40, 91, 71, 161),
        (350, 32, 111, 86, 199),
        (750, 56, 147, 116, 254),
        (750, 48, 167, 131, 292),
        (750, 32, 238, 184, 426),
    ],
)
def test_block_mode_takes_so_many_seconds(kilobytes, block, plain, least, mean):
    """The published table leaves the interframe space out of the exchange with acknowledgements."""
    size = kilobytes * KB
    blocks = -(-size // block)
    unacknowledged = Exchange(block=block, acknowledged=False)
    acknowledged = Exchange(block=block)

    assert unacknowledged.seconds(size) == pytest.approx(plain, abs=0.6)
    assert unacknowledged.seconds(size, backoff=0.0) == pytest.approx(least, abs=0.6)
    assert acknowledged.seconds(size) - blocks * LIFS_EACH == pytest.approx(mean, abs=0.6)


@pytest.mark.parametrize(("kilobytes", "seconds"), [(350, 127), (750, 271)])
def test_with_the_interframe_space_an_acknowledged_download_takes_so_long(kilobytes, seconds):
    assert Exchange().seconds(kilobytes * KB) == pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize(("kilobytes", "least", "mean"), [(350, 38, 46), (750, 82, 98)])
def test_page_mode_takes_so_many_seconds(kilobytes, least, mean):
    """The published table fills every response, and sets a space before a page's first one too."""
    size, page = kilobytes * KB, 18 * 56
    first_spaces = -(-size // page) * 640e-6

    assert Exchange(page=page).seconds(size) + first_spaces == pytest.approx(mean, abs=0.5)
    assert Exchange(page=page).seconds(size, backoff=0.0) + first_spaces == pytest.approx(least, abs=0.5)


def test_a_page_that_ends_in_mid_block_costs_a_short_frame_more():
    assert Exchange(page=1024).seconds(1024) > Exchange(page=1008).seconds(1008) + MEAN_BACKOFF


def test_a_last_block_that_is_short_takes_less_than_a_whole_one():
    one = Exchange().seconds(56)
    assert Exchange().seconds(57) < 2 * one
    assert Exchange().seconds(112) == pytest.approx(2 * one)


def test_a_fast_line_hides_behind_the_acknowledgement_and_a_slow_one_does_not():
    on_air = Exchange().seconds(750 * KB)

    assert Exchange(baud=460_800).seconds(750 * KB) == on_air
    assert Exchange(baud=115_200).seconds(750 * KB) > 1.3 * on_air


def test_without_acknowledgements_nothing_hides_even_a_fast_line():
    on_air = Exchange(acknowledged=False).seconds(56)
    turn = Serial(460_800).round_trip(17, 73)

    assert Exchange(acknowledged=False, baud=460_800).seconds(56) == pytest.approx(on_air + turn)


def test_half_the_speed_doubles_what_the_line_takes():
    assert Serial(57_600).round_trip(17, 73) == pytest.approx(2 * Serial(115_200).round_trip(17, 73))
    assert Serial(0).round_trip(17, 73) == 0.0
