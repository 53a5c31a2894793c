"""What an Activate Firmware command means for a device, decided without a device."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from han.gbcs.envelope import Envelope
from han.gbcs.messages import activate_firmware, payload_of
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from han.sim.devices.memory import Memory
from han.sim.devices.orders import AT_ONCE, Accepted, Execute, Orders, Refused, Repeated, Tell
from han.sim.node.store import NodeStore
from ota.eui64 import Eui64

DEVICE = Eui64.parse("00-DB-12-34-56-78-90-A1")
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HASH, OTHER = bytes(range(32)), bytes(32)
CODES = ActivateImageResponseCode
NULL = ActivateFirmwareResponse()


class Desk:
    """One device's orders, and a way to give and read them."""

    def __init__(self) -> None:
        self.memory = Memory(NodeStore(), 0x00010000)
        self.orders = Orders(self.memory)

    def hear(
        self,
        counter: int,
        at: datetime | None = None,
        *,
        image_hash: bytes = HASH,
        inner: int | None = None,
        now: datetime = NOW,
    ) -> list:
        said = ActivateFirmwareCommand(image_hash, counter if inner is None else inner, at)
        command = activate_firmware(DEVICE, said)
        self.orders.receive(replace(command, counter=counter), now)
        return self.drain()

    def tick(self, now: datetime | None) -> list:
        self.orders.tick(now)
        return self.drain()

    def executed(self, code: ActivateImageResponseCode = CODES.SUCCESS, now: datetime = NOW) -> list:
        self.orders.executed(ActivationOutcome(code, 0x00020000), now)
        return self.drain()

    def drain(self) -> list:
        """Messages as what they say."""
        return [
            payload_of(Envelope.parse(each.message)) if isinstance(each, Tell) else each
            for each in self.orders.drain()
        ]

    def lose_power(self) -> None:
        self.memory = Memory.from_dict(self.memory.to_dict())
        self.orders = Orders(self.memory)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_command_without_a_time_is_due_at_once_and_answered_with_its_outcome(desk):
    assert desk.hear(1) == [Accepted(AT_ONCE, replaces=False)]
    assert desk.orders.timer() == AT_ONCE
    assert desk.tick(NOW) == [Execute(HASH)]
    outcome = ActivationOutcome(CODES.SUCCESS, 0x00020000)
    assert desk.executed() == [ActivateFirmwareResponse(outcome)]
    assert desk.orders.timer() is None


def test_a_command_without_a_time_needs_no_clock(desk):
    desk.hear(1)
    assert desk.tick(None) == [Execute(HASH)]


def test_a_command_with_a_time_is_accepted_at_once_and_carried_out_then(desk):
    assert desk.hear(1, NOW + HOUR) == [Accepted(NOW + HOUR, replaces=False), NULL]
    assert desk.orders.timer() == NOW + HOUR
    assert desk.tick(NOW + HOUR - timedelta(microseconds=1)) == []
    assert desk.tick(NOW + HOUR) == [Execute(HASH)]


def test_a_command_with_a_time_waits_for_a_clock(desk):
    desk.hear(1, NOW + HOUR)
    assert desk.tick(None) == []
    assert desk.tick(NOW + 2 * HOUR) == [Execute(HASH)]


@pytest.mark.parametrize("code", CODES)
def test_after_a_dated_command_the_alert_tells_the_outcome_and_quotes_the_command(desk, code):
    desk.hear(7, NOW + HOUR)
    desk.tick(NOW + HOUR)
    alert_code = 0x8F66 if code is CODES.SUCCESS else 0x8F67
    outcome = ActivationOutcome(code, 0x00020000)
    assert desk.executed(code, NOW + HOUR) == [ActivateFirmwareAlert(alert_code, NOW + HOUR, 7, outcome)]
    assert desk.memory.originator_counter == 1
    assert desk.orders.timer() is None


def test_a_time_that_has_passed_is_answered_like_any_other_and_due_at_once(desk):
    assert desk.hear(1, NOW - HOUR) == [Accepted(NOW - HOUR, replaces=False), NULL]
    assert desk.tick(NOW) == [Execute(HASH)]
    assert isinstance(desk.executed()[0], ActivateFirmwareAlert)


def test_a_cancellation_is_accepted_and_nothing_is_due_any_more(desk):
    desk.hear(1, NOW + HOUR)
    assert desk.hear(2, CANCEL) == [Accepted(CANCEL, replaces=True), NULL]
    assert desk.orders.timer() is None
    assert desk.tick(NOW + 2 * HOUR) == []


def test_to_cancel_where_nothing_is_pending_is_accepted_too(desk):
    assert desk.hear(1, CANCEL) == [Accepted(CANCEL, replaces=False), NULL]


@pytest.mark.parametrize("at", [None, NOW + 3 * HOUR, CANCEL])
def test_a_later_command_replaces_the_one_that_is_pending(desk, at):
    desk.hear(1, NOW + HOUR)
    assert desk.hear(2, at, image_hash=OTHER)[0] == Accepted(at or AT_ONCE, replaces=True)
    executed = [item for hours in (1, 2, 3) for item in desk.tick(NOW + hours * HOUR)]
    assert Execute(HASH) not in executed


@pytest.mark.parametrize("at", [None, NOW + HOUR, CANCEL])
def test_a_command_that_comes_again_changes_nothing_and_is_answered_as_before(desk, at):
    answers = desk.hear(1, at)[1:]
    kept = desk.memory.to_dict()
    assert desk.hear(1, at) == [Repeated(), *answers]
    assert desk.memory.to_dict() == kept


def test_an_answer_that_still_waits_is_not_given_twice(desk):
    desk.hear(1, CANCEL)
    desk.memory.unsent = (desk.memory.answer,)
    assert desk.hear(1, CANCEL) == [Repeated()]


def test_after_it_was_carried_out_a_repeated_dated_command_raises_no_second_alert(desk):
    desk.hear(1, NOW + HOUR)
    desk.tick(NOW + HOUR)
    desk.executed()
    assert desk.hear(1, NOW + HOUR) == [Repeated(), NULL]
    assert desk.tick(NOW + HOUR) == []


@pytest.mark.parametrize("counter", [6, 7])
@pytest.mark.parametrize("at", [None, NOW + 2 * HOUR, CANCEL])
def test_another_command_whose_counter_is_not_greater_changes_nothing(desk, counter, at):
    desk.hear(7, NOW + HOUR)
    kept = desk.memory.to_dict()
    (refused,) = desk.hear(counter, at, image_hash=OTHER)
    assert isinstance(refused, Refused)
    assert "counter" in refused.why
    assert desk.memory.to_dict() == kept


def test_a_command_whose_two_counters_differ_changes_nothing(desk):
    kept = desk.memory.to_dict()
    (refused,) = desk.hear(7, inner=8)
    assert isinstance(refused, Refused)
    assert desk.memory.to_dict() == kept


times = st.sampled_from([None, NOW - HOUR, NOW + HOUR, NOW + 2 * HOUR, CANCEL])
steps = st.one_of(
    st.tuples(st.just("hear"), st.integers(1, 6), times),
    st.tuples(st.just("pass"), st.integers(1, 90), st.none()),
    st.tuples(st.just("cut"), st.none(), st.none()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=25))
def test_whatever_comes_each_accepted_command_is_carried_out_once_or_replaced_or_a_cancellation(story):
    desk, now, greatest, pending = Desk(), NOW, 0, None
    for what, number, at in story:
        if what == "hear":
            items = desk.hear(number, at, now=now)
            if number > greatest:
                greatest, pending = number, None if at == CANCEL else (number, at or AT_ONCE)
                assert isinstance(items[0], Accepted)
        elif what == "pass":
            now += timedelta(minutes=number)
        else:
            desk.lose_power()
        is_due = pending is not None and now >= pending[1]
        assert (desk.tick(now) == [Execute(HASH)]) is is_due
        if is_due:
            (told,) = desk.executed(now=now)
            dated = pending[1] != AT_ONCE
            assert isinstance(told, ActivateFirmwareAlert if dated else ActivateFirmwareResponse)
            assert not dated or told.originator_counter == pending[0]
            pending = None
    assert desk.orders.timer() == (None if pending is None else pending[1])
