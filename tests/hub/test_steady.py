"""Steady time: whatever is done to the clock, two weeks last two weeks."""

import random

import pytest

from hub.steady import SteadyMark, SteadySettings, SteadyTime

DAY = 86_400.0
START = 1_770_000_000.0
STEPS = [-20 * 365 * DAY, -3 * DAY, -3600.0, -5.0, 5.0, 3600.0, 3 * DAY, 20 * 365 * DAY]


class Clocks:
    """A machine with a clock that can be set and one that cannot; both run with the true time."""

    def __init__(self, *, drift: float = 0.0) -> None:
        self.true = 0.0
        self.set_by = START
        self.booted = 0.0
        self.drift = drift
        self.time = SteadyTime(SteadySettings(), SteadyMark())
        self.read()

    def read(self) -> float:
        return self.time.receive(self.true * (1 + self.drift) + self.set_by, self.true - self.booted)

    def pass_on(self, seconds: float) -> list[float]:
        """Let time pass, read every ten minutes; gives the steps that showed."""
        steps, until = [], self.true + seconds
        while self.true < until:
            self.true = min(until, self.true + 600.0)
            steps.append(self.read())
        return [each for each in steps if each]

    def restart(self, *, off: float = 0.0, set_by: float = 0.0) -> None:
        """Off for a while, and the clock may be set before anything runs."""
        mark = self.time.mark
        self.true += off
        self.set_by += set_by
        self.booted = self.true
        self.time = SteadyTime(SteadySettings(), mark)
        self.read()


def test_without_steps_steady_time_is_utc():
    clocks = Clocks()
    assert clocks.pass_on(15 * DAY) == []
    assert clocks.time.now == START + 15 * DAY
    assert clocks.time.utc(clocks.time.now) == START + 15 * DAY


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_told_by_how_much_and_steady_time_goes_on(step):
    clocks = Clocks()
    clocks.pass_on(7 * DAY)
    clocks.set_by += step
    [told] = clocks.pass_on(7 * DAY)
    assert told == pytest.approx(step, abs=1e-3)
    assert clocks.time.now - START == pytest.approx(14 * DAY, abs=1e-3)


@pytest.mark.parametrize("step", STEPS)
def test_the_end_of_a_retention_is_shown_in_the_utc_of_the_day(step):
    clocks = Clocks()
    until = clocks.time.now + 14 * DAY
    clocks.pass_on(DAY)
    clocks.set_by += step
    clocks.pass_on(DAY)
    assert clocks.time.utc(until) == pytest.approx(START + 14 * DAY + step, abs=1e-3)


@pytest.mark.parametrize("drift", [-400e-6, 400e-6])
def test_a_clock_that_runs_slow_or_fast_does_not_step(drift):
    clocks = Clocks(drift=drift)
    assert clocks.pass_on(14 * DAY) == []
    assert clocks.time.now - START == pytest.approx(14 * DAY, rel=5e-4)


def test_a_leap_second_is_no_step():
    clocks = Clocks()
    clocks.set_by -= 1.0
    assert clocks.pass_on(DAY) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_before_a_restart_is_remembered(step):
    clocks = Clocks()
    clocks.pass_on(5 * DAY)
    clocks.set_by += step
    clocks.pass_on(DAY)
    clocks.restart(off=DAY)
    clocks.pass_on(7 * DAY)
    assert clocks.time.now - START == pytest.approx(14 * DAY, abs=1e-3)


def test_time_off_counts_while_the_clock_runs_on():
    clocks = Clocks()
    clocks.pass_on(DAY)
    clocks.restart(off=5 * DAY)
    assert clocks.time.now - START == 6 * DAY


def test_a_clock_that_went_back_while_the_hub_was_off_takes_nothing_back():
    clocks = Clocks()
    clocks.pass_on(5 * DAY)
    clocks.restart(off=60.0, set_by=-30 * DAY)
    assert clocks.time.now - START == 5 * DAY
    # The time server is reached: that is a step as well, and the time off stays uncounted.
    clocks.set_by += 30 * DAY
    [told] = clocks.pass_on(9 * DAY)
    assert told == pytest.approx(30 * DAY, abs=1e-3)
    assert clocks.time.now - START == pytest.approx(14 * DAY, abs=1e-3)


def test_a_wrong_clock_at_the_start_cuts_no_promise_short_once_it_is_put_right():
    clocks = Clocks()
    clocks.pass_on(5 * DAY)
    clocks.restart(off=60.0, set_by=100 * DAY)
    clocks.pass_on(600.0)
    clocks.set_by -= 100 * DAY
    clocks.pass_on(DAY)
    assert clocks.time.now - START == pytest.approx(6 * DAY + 660.0, abs=1e-3)


def test_only_the_time_that_it_may_have_been_off_is_taken_back():
    clocks = Clocks()
    clocks.pass_on(5 * DAY)
    clocks.restart(off=3600.0)
    for _ in range(3):
        clocks.set_by -= 2 * DAY
        clocks.pass_on(DAY)
    assert clocks.time.now - START == pytest.approx(8 * DAY, abs=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_two_weeks_are_never_cut_short_whatever_is_done_to_the_clock(seed):
    dice = random.Random(seed)
    clocks = Clocks()
    off = 0.0
    for _ in range(40):
        clocks.pass_on(dice.uniform(0, DAY))
        match dice.randrange(4):
            case 0:
                clocks.set_by += dice.choice([-1, 1]) * dice.uniform(5, 400 * DAY)
            case 1:
                pause = dice.uniform(0, DAY)
                clocks.pass_on(600.0)  # a step right before a power cut shows only after it
                clocks.restart(off=pause, set_by=dice.choice([0.0, -dice.uniform(0, 400 * DAY)]))
                off += pause
            case _:
                pass
        clocks.pass_on(600.0)
        counted = clocks.time.now - START
        assert clocks.true - off - 1e-2 <= counted <= clocks.true + 1e-2


def test_a_long_absence_that_was_believed_is_not_taken_back_from_what_came_after_it():
    clocks = Clocks()
    clocks.restart(off=100 * DAY)
    clocks.time.believe()
    before = clocks.time.now
    clocks.set_by -= 400 * DAY
    clocks.pass_on(DAY)
    assert clocks.time.now - before == pytest.approx(DAY, abs=1e-3)
