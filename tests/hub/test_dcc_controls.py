"""The three distribution controls, as decisions."""

from __future__ import annotations

import pytest

from hub.dcc.controls import DAY, HOUR, Attempts, Batch, BatchSettings, InProgress, Retries, Service

PPMID, HCALCS = "ppmid", "hcalcs"


def attempts_of(retries: Retries, answer_takes: float = 0.0) -> list[float]:
    """The times of every attempt against a hub that never has time."""
    attempts, now, times = Attempts(retries, first_at=0.0), 0.0, []
    while True:
        times.append(now)
        again = attempts.failed(now + answer_takes)
        if again is None:
            return times
        now = again


def test_a_device_with_an_update_in_progress_is_told_from_a_free_one():
    split = InProgress().split([PPMID, HCALCS], {PPMID: 0.0}, now=DAY)

    assert split.free == (HCALCS,)
    assert split.busy == (PPMID,)


def test_an_update_past_its_expiry_blocks_nothing():
    rule = InProgress(expiry=3 * DAY)

    assert rule.split([PPMID], {PPMID: 0.0}, now=3 * DAY - 1).busy == (PPMID,)
    assert rule.split([PPMID], {PPMID: 0.0}, now=3 * DAY).free == (PPMID,)


def test_only_requests_that_carry_an_image_count_as_updates():
    assert [service.value for service in Service if service.is_update] == ["11.1", "11.4"]


def test_a_busy_hub_is_tried_once_more_at_once_then_hourly_for_a_day():
    assert attempts_of(Retries()) == [0.0, 0.0, *(hour * HOUR for hour in range(1, 25))]


def test_a_slow_refusal_does_not_shift_the_hourly_attempts():
    times = attempts_of(Retries(), answer_takes=60.0)

    assert times[:4] == [0.0, 60.0, HOUR, 2 * HOUR]
    assert len(times) == 26


def test_the_proposed_four_days_are_a_setting():
    assert attempts_of(Retries(horizon=4 * DAY))[-1] == 4 * DAY


def test_without_retries_the_first_failure_is_the_last():
    assert attempts_of(Retries(immediate=0, horizon=0.0)) == [0.0]


def test_progress_starts_the_count_of_failures_anew():
    attempts = Attempts(Retries(), first_at=0.0)
    for _ in range(20):
        attempts.failed(0.0)

    attempts.progressed(20 * HOUR)

    assert attempts.failed(20 * HOUR + 5) == 20 * HOUR + 5
    assert attempts.failed(20 * HOUR + 6) == 21 * HOUR


@pytest.mark.parametrize("wrong", [{"immediate": -1}, {"period": 0.0}, {"horizon": -1.0}])
def test_retries_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="retries need"):
        Retries(**wrong)


def test_without_batching_each_notification_is_handed_over_at_once():
    batch: Batch[str] = Batch(BatchSettings())
    batch.add("a", 5.0)

    assert batch.timer() == 5.0
    assert batch.drain(5.0) == ["a"]
    assert batch.timer() is None


def test_a_full_batch_goes_at_once_and_an_incomplete_one_when_its_time_is_up():
    batch: Batch[str] = Batch(BatchSettings(size=2, interval=10.0))
    batch.add("a", 0.0)
    assert batch.drain(9.0) == []
    batch.add("b", 9.0)
    assert batch.drain(9.0) == ["a", "b"]

    batch.add("c", 20.0)
    assert batch.timer() == 30.0
    assert batch.drain(29.9) == []
    assert batch.drain(30.0) == ["c"]


@pytest.mark.parametrize("wrong", [{"size": 0}, {"interval": -1.0}, {"size": 5, "interval": 0.0}])
def test_a_batch_that_would_never_be_handed_over_is_refused(wrong):
    with pytest.raises(ValueError, match="a batch"):
        BatchSettings(**wrong)
