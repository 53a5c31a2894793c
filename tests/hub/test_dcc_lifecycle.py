"""The tables of a request's life."""

from __future__ import annotations

import itertools

import pytest

from hub.dcc.controls import DAY, HOUR, InProgress, Milestone, Retries, Service
from hub.dcc.lifecycle import TRANSITIONS, Happening, Patience, Result, Stage, follow, table_for

PATIENCE = Patience(in_progress=InProgress(), retries=Retries(), alert_wait=DAY, outcome_wait=2 * DAY)


@pytest.mark.parametrize("kind", list(TRANSITIONS), ids=str)
def test_every_stage_that_can_be_entered_ends_when_its_time_is_up(kind):
    table = TRANSITIONS[kind]
    entered = {
        Stage.ACCEPTED,
        *(to for row in table.values() for to in row.values() if isinstance(to, Stage)),
    }

    for stage in entered:
        assert isinstance(follow(table, stage, Happening.TIME_UP), Result)


@pytest.mark.parametrize("kind", list(TRANSITIONS), ids=str)
def test_nothing_follows_after_the_end(kind):
    assert Stage.ENDED not in TRANSITIONS[kind]
    assert all(follow(TRANSITIONS[kind], Stage.ENDED, happening) is None for happening in Happening)


@pytest.mark.parametrize("kind", list(TRANSITIONS), ids=str)
def test_no_order_of_happenings_goes_round_in_a_circle(kind):
    """Three happenings in any order either end a request or leave it in a stage further on."""
    table = TRANSITIONS[kind]
    order = list(Stage)
    for happenings in itertools.product(Happening, repeat=3):
        stage = Stage.ACCEPTED
        for happening in happenings:
            to = follow(table, stage, happening)
            if isinstance(to, Result):
                break
            if to is not None:
                assert order.index(to) > order.index(stage)
                stage = to


def test_the_setting_of_control_1_chooses_the_table():
    late = InProgress(completes={Service.UPDATE_FIRMWARE: Milestone.ACTIVATED})

    assert table_for(Service.UPDATE_FIRMWARE, InProgress()) is TRANSITIONS[Milestone.TRANSFERRED]
    assert table_for(Service.UPDATE_FIRMWARE, late) is TRANSITIONS[Milestone.ACTIVATED]
    assert table_for(Service.READ_FIRMWARE_VERSION, late) is TRANSITIONS[Service.READ_FIRMWARE_VERSION]


def test_no_stage_of_an_update_outlasts_its_expiry():
    for stage in (Stage.ACCEPTED, Stage.DELIVERED, Stage.STOPPED, Stage.TRANSFERRED):
        deadline = PATIENCE.deadline(Service.UPDATE_PPMID_FIRMWARE, stage, 0.0, 27.9 * DAY)
        assert deadline == 28 * DAY


def test_a_command_outlasts_its_retries():
    deadline = PATIENCE.deadline(Service.READ_FIRMWARE_VERSION, Stage.ACCEPTED, 0.0, 0.0)

    assert deadline == DAY + HOUR


def test_what_a_service_user_wanted_is_told_from_what_went_wrong():
    good = {
        "transferred",
        "activated",
        "transferred, activation unreported",
        "version read",
        "cancellation accepted",
    }

    assert {result.value for result in Result if result.is_success} == good
