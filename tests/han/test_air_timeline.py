from __future__ import annotations

import pytest

from han.sim.air.timeline import Timeline


def test_calls_are_made_in_the_order_of_their_times():
    timeline, made = Timeline(), []
    timeline.at(3.0, made.append, "third")
    timeline.at(1.0, made.append, "first")
    timeline.after(2.0, made.append, "second")
    timeline.run(10.0)
    assert made == ["first", "second", "third"]


def test_calls_of_one_instant_are_made_in_the_order_of_asking():
    timeline, made = Timeline(), []
    for number in range(20):
        timeline.at(1.0, made.append, number)
    timeline.run(1.0)
    assert made == list(range(20))


def test_a_call_sees_its_own_time_however_late_it_is_made():
    timeline, seen = Timeline(), []
    timeline.at(1.25, lambda: seen.append(timeline.now))
    timeline.run(99.0)
    assert seen == [1.25]
    assert timeline.now == 99.0


def test_a_call_planned_by_a_call_is_made_in_the_same_run_if_due():
    timeline, made = Timeline(), []
    timeline.at(1.0, lambda: timeline.after(0.5, made.append, "due"))
    timeline.at(1.0, lambda: timeline.after(5.0, made.append, "not yet"))
    timeline.run(2.0)
    assert made == ["due"]
    assert timeline.timer() == 6.0


def test_a_cancelled_call_is_not_made_and_sets_no_timer():
    timeline, made = Timeline(), []
    handle = timeline.at(1.0, made.append, "never")
    handle.cancel()
    handle.cancel()
    assert timeline.timer() is None
    timeline.run(2.0)
    assert made == []


def test_a_call_may_cancel_another_of_the_same_instant():
    timeline, made = Timeline(), []
    timeline.at(1.0, lambda: later.cancel())  # noqa: PLW0108 - there is no later yet
    later = timeline.at(1.0, made.append, "never")
    timeline.run(1.0)
    assert made == []


def test_what_is_planned_for_the_past_is_made_now():
    timeline, seen = Timeline(5.0), []
    timeline.at(1.0, lambda: seen.append(timeline.now))
    timeline.run(5.0)
    assert seen == [5.0]


def test_time_never_goes_back():
    timeline = Timeline()
    timeline.run(10.0)
    timeline.run(3.0)
    assert timeline.now == 10.0


def test_a_step_jumps_to_the_next_call_and_says_when_there_is_none():
    timeline, made = Timeline(), []
    timeline.at(1000.0, made.append, "far away")
    assert timeline.step()
    assert timeline.now == 1000.0
    assert not timeline.step()


def test_an_exception_of_a_call_passes_and_the_others_stay_planned():
    timeline, made = Timeline(), []

    def fails():
        raise ZeroDivisionError

    timeline.at(1.0, fails)
    timeline.at(2.0, made.append, "still made")
    with pytest.raises(ZeroDivisionError):
        timeline.run(3.0)
    timeline.run(3.0)
    assert made == ["still made"]
