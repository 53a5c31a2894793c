"""How the command line shows transfers."""

from __future__ import annotations

import pytest

from hub.cli import wording
from hub.messages import TransferEntry


def entry(**fields) -> TransferEntry:
    return TransferEntry(**{"image_id": "0" * 64, "offset": 370, "size": 1000, "percent": 37, **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "waiting", "percent": 0}, "waiting"),
        (
            {"state": "downloading", "octets_per_second": 2830.4, "seconds_left": 250.2},
            "downloading, 37 %, 2830 B/s, 4:10 left",
        ),
        ({"state": "downloading"}, "downloading, 37 %"),
        ({"state": "paused", "octets_per_second": 0.0}, "paused, 37 %"),
        ({"state": "stalled", "octets_per_second": 0.0}, "stalled, 37 %"),
        ({"state": "complete", "percent": 100, "seconds_left": 0.0}, "complete"),
        ({"state": "failed", "octets_per_second": 0.0}, "failed, 37 %"),
    ],
)
def test_a_transfer_reads_in_a_few_words(fields, words):
    assert wording.transfer(entry(**fields)) == words


def test_no_transfer_reads_as_nothing():
    assert wording.transfer(None) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0, "0:00"),
        (59.6, "1:00"),
        (250.2, "4:10"),
        (3727.0, "1:02:07"),
        (90_000.0, "25:00:00"),
    ],
)
def test_a_time_left_reads_as_on_a_clock(seconds, words):
    assert wording.time_left(seconds) == words


def test_a_speed_that_is_not_known_is_not_made_up():
    assert (wording.speed(None), wording.speed(0.0), wording.speed(2830.4)) == ("-", "0 B/s", "2830 B/s")
