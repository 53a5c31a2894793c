"""Why the policy that was withdrawn in 2020 was no good: what it costs in images."""

import json
import math

import pytest
from click.testing import CliRunner

from hub.cli.retention import retention
from hub.retention_study import WEEK, Circumstances, study
from hub.slot import DAY, MINIMUM_RETENTION, WITHDRAWN_RETENTION


def shares(delay, **circumstances):
    return {
        share.policy: share.lost
        for share in study([delay], Circumstances(homes=4000, seed=3, **circumstances))
    }


@pytest.mark.parametrize("delay", [8 * DAY, 10 * DAY, 13 * DAY, 28 * DAY])
@pytest.mark.parametrize("per_week", [0.25, 1.0, 5.0])
def test_a_restart_in_the_time_in_memory_loses_the_image_as_the_closed_form_has_it(delay, per_week):
    expected = 1 - math.exp(-per_week / WEEK * (delay - WITHDRAWN_RETENTION))
    found = shares(delay, reboots_per_week=per_week)
    assert found["withdrawn"] == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))
    assert found["adopted"] == 0


def test_nothing_is_lost_without_restarts_and_others_or_while_the_image_is_in_flash():
    assert set(shares(28 * DAY, reboots_per_week=0).values()) == {0}
    assert set(shares(6.9 * DAY, reboots_per_week=20, others_per_week=20).values()) == {0}


@pytest.mark.parametrize("delay", [10 * DAY, 14 * DAY])
def test_another_image_overwrites_what_is_in_memory_and_not_what_is_retained(delay):
    found = shares(delay, reboots_per_week=0, others_per_week=1)
    assert found["adopted"] == 0
    assert found["withdrawn"] == pytest.approx(1 - math.exp(-(delay - WITHDRAWN_RETENTION) / WEEK), abs=0.04)


def test_after_its_two_weeks_the_adopted_policy_makes_room_too():
    found = shares(21 * DAY, reboots_per_week=0, others_per_week=1)
    assert found["adopted"] == pytest.approx(1 - math.exp(-(21 * DAY - MINIMUM_RETENTION) / WEEK), abs=0.04)
    assert found["withdrawn"] > found["adopted"]


def test_the_same_seed_gives_the_same_document_and_another_one_another():
    def document(seed):
        options = ["--json", "--homes", "500", "--collected-after", "10d", "--seed", str(seed)]
        return CliRunner().invoke(retention, options, catch_exceptions=False).stdout

    assert document(1) == document(1)
    assert document(1) != document(2)
    assert [share["policy"] for share in json.loads(document(1))["shares"]] == ["adopted", "withdrawn"]


def test_the_table_is_for_people():
    lines = CliRunner().invoke(retention, ["--homes", "200"], catch_exceptions=False).stdout.splitlines()
    assert any("14 days" in line and "0.0%" in line for line in lines)


@pytest.mark.parametrize(
    "options", [["--homes", "0"], ["--reboots-per-week", "-1"], ["--collected-after", "soon"]]
)
def test_a_study_of_nothing_is_refused(options):
    assert CliRunner().invoke(retention, options).exit_code == 2
