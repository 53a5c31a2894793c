"""A month of Service Requests over a bad air, with a power cut of the hub a day and an outage a week.

A few days of it here; the month with several seeds in ``make soak``. To watch one day by day, or to try other
seeds: ``python tests/scenarios/try_months.py --first 1 --count 5``.
"""

from __future__ import annotations

import pytest
from month_world import Month, Plan

from han import clock


def lived(plan: Plan) -> Month:
    """The month that this plan makes."""
    month = Month(plan)
    clock.run(month.live(), virtual=True, seed=plan.seed)
    return month


def test_whatever_happens_in_a_few_days_each_request_ends_once_and_each_alert_is_told_once_and_in_order():
    month = lived(Plan(seed=3, days=4, outage_every=4.0, outage_hours=(12.0, 24.0)))

    assert month.unmet == []
    assert month.tally.hub_cuts == 4
    assert month.tally.outages == 1
    assert set(month.tally.outcomes) == {"11.1", "11.2", "11.3", "11.4"}


def test_the_same_seed_tells_the_same_story_to_the_last_fact():
    plan = Plan(seed=5, days=2, requests_a_day=6.0, outage_every=2.0, outage_hours=(2.0, 6.0))

    first, second = lived(plan), lived(plan)

    assert first.tally.facts > 1000
    assert second.digest == first.digest


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_month_leaves_nothing_without_an_outcome(seed):
    month = lived(Plan(seed=seed))

    assert month.unmet == []
    assert month.tally.hub_cuts == 30
    assert month.tally.outages == 4
