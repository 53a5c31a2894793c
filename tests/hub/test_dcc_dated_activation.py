"""11.3 for later, replaced and cancelled, at the head end: each ends once, and says how."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import msgspec
import pytest
from dcc_world import HASH, HCALCS, World, only, world

from han.clock import Utc
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.payloads import CANCEL
from hub.dcc.contract import asked, read_asked
from hub.dcc.controls import DAY
from hub.dcc.lifecycle import Result, Stage
from hub.dcc.requests import ActivateFirmware, BadRequestError, fingerprint
from hub.dcc.store import Store


def activate(days: float | None = None, **more) -> ActivateFirmware:
    when = None if days is None else Utc(asyncio.get_running_loop()).now() + timedelta(days=days)
    return ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH, execution_time=when, **more)


async def submit(w: World, request: ActivateFirmware) -> str:
    response = await w.dsp.submit(request)
    await asyncio.sleep(5)
    return response.request_id


def said(w: World, number: int):
    return payload_of(Envelope.parse(bytes.fromhex(w.hub.commands[number].gbcs)))


async def test_a_dated_activation_stands_as_scheduled_until_its_alert_and_ends_by_that():
    async with world() as w:
        request = await submit(w, activate(3))
        assert w.dsp.outcome(request).devices[0].stage is Stage.SCHEDULED
        await asyncio.sleep(3 * DAY)
        assert only(w.dsp.outcome(request)) is None
        w.hub.outcome(w.hub.commands[0], 0, code="0x8F66")
        assert only(await w.dsp.finished(request)) is Result.ACTIVATED
        assert "activation outcome 0x8F66" in w.story(request)


@pytest.mark.parametrize(
    ("response", "result"),
    [(1, Result.NO_IMAGE_HELD), (2, Result.HASH_MISMATCH), (3, Result.ACTIVATION_FAILED)],
)
async def test_a_dated_activation_that_fails_at_its_time_has_its_outcome(response, result):
    async with world() as w:
        request = await submit(w, activate(1))
        w.hub.outcome(w.hub.commands[0], response, code="0x8F67")
        assert only(await w.dsp.finished(request)) is result


async def test_the_patience_with_a_dated_activation_counts_from_its_time():
    async with world() as w:
        request = await submit(w, activate(3))
        await asyncio.sleep(3.9 * DAY)
        assert only(w.dsp.outcome(request)) is None
        await asyncio.sleep(0.2 * DAY)
        assert only(w.dsp.outcome(request)) is Result.NO_OUTCOME


async def test_a_cancellation_is_the_command_with_the_last_second_of_the_calendar_and_ends_both():
    async with world() as w:
        dated = await submit(w, activate(3))
        cancel = await submit(w, activate(cancels=True))
        assert said(w, 1).execute_at == CANCEL
        assert said(w, 1).originator_counter > said(w, 0).originator_counter
        assert only(w.dsp.outcome(cancel)) is Result.CANCELLATION_ACCEPTED
        assert only(w.dsp.outcome(dated)) is Result.CANCELLED
        assert w.dsp.outcome(cancel).ok
        assert not w.dsp.outcome(dated).ok
        assert cancel in w.dsp.story(dated)[-2].text


@pytest.mark.parametrize("days", [None, 1, 7])
async def test_a_later_command_that_was_accepted_ends_the_earlier_as_cancelled(days):
    async with world() as w:
        first = await submit(w, activate(3))
        second = await submit(w, activate(days))
        assert only(w.dsp.outcome(first)) is Result.CANCELLED
        if days is not None:
            w.hub.outcome(w.hub.commands[1], 0, code="0x8F66")
        assert only(await w.dsp.finished(second)) is Result.ACTIVATED
        assert only(w.dsp.outcome(first)) is Result.CANCELLED


async def test_a_later_command_that_nobody_answered_ends_nothing():
    async with world() as w:
        first = await submit(w, activate(3))
        w.hub.is_on = False
        await submit(w, activate(cancels=True))
        assert only(w.dsp.outcome(first)) is None
        w.hub.outcome(w.hub.commands[0], 0, code="0x8F66")
        assert only(await w.dsp.finished(first)) is Result.ACTIVATED


async def test_an_earlier_command_that_is_still_on_its_way_is_carried_no_further():
    async with world() as w:
        w.hub.is_on = False
        first = await submit(w, activate(3))
        second = await submit(w, activate())
        w.hub.is_on = True
        (command,) = [order for order in w.orders() if order.request_id == second]
        w.hub.outcome(command, 0)
        assert only(await w.dsp.finished(first)) is Result.CANCELLED
        sent = len(w.orders())
        w.hub.appear(online=False)
        w.hub.appear()
        await asyncio.sleep(3 * DAY)
        assert first not in [order.request_id for order in w.orders()[sent:]]


async def test_whatever_the_order_of_answers_each_11_3_has_one_outcome():
    """Two commands and four answers of a device, in every order: for each command one end, and no other."""
    answers = [(0, None, "CS06"), (0, 0, "0x8F66"), (1, None, "CS06"), (1, 0, "0x8F66")]
    for order in itertools.permutations(answers):
        async with world() as w:
            w.hub.is_on = False  # the answers below are all that comes
            ids = [await submit(w, activate(3)), await submit(w, activate(4))]
            orders = w.orders()
            assert [each.request_id for each in orders] == ids
            for which, response, code in order:
                w.hub.outcome(orders[which], response, code=code)
                await asyncio.sleep(1)
            for each in ids:
                assert only(await w.dsp.finished(each)) in {Result.ACTIVATED, Result.CANCELLED}
            ended = [fact.request for fact in w.said("request.ended")]
            assert sorted(ended) == sorted(ids)


async def test_a_restart_of_the_head_end_forgets_no_pending_activation(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/dsp.db")
    async with world(store=store) as w:
        dated = await submit(w, activate(3))
        command = w.hub.commands[0]
    store = Store(f"sqlite:///{tmp_path}/dsp.db")
    async with world(store=store) as w:
        await asyncio.sleep(5)
        assert w.dsp.outcome(dated).devices[0].stage is Stage.SCHEDULED
        cancel = await submit(w, activate(cancels=True))
        assert only(await w.dsp.finished(cancel)) is Result.CANCELLATION_ACCEPTED
        assert only(w.dsp.outcome(dated)) is Result.CANCELLED
        w.hub.outcome(command, 0, code="0x8F66")
        await asyncio.sleep(1)
        assert only(w.dsp.outcome(dated)) is Result.CANCELLED
        assert "activation outcome (after the end) 0x8F66" in w.story(dated)


def test_a_cancellation_has_no_time_of_its_own():
    when = CANCEL.replace(year=2030)
    with pytest.raises(BadRequestError, match="cancellation"):
        ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH, execution_time=when, cancels=True)


def test_a_cancellation_travels_through_the_door_and_is_no_repetition_of_an_activation():
    cancel = ActivateFirmware(device=str(HCALCS), manufacturer_image_hash=HASH, cancels=True)
    assert read_asked(msgspec.json.encode(asked(cancel))) == cancel
    plain = ActivateFirmware(device=str(HCALCS), manufacturer_image_hash=HASH)
    assert fingerprint(cancel) != fingerprint(plain)
    assert read_asked(msgspec.json.encode(asked(plain))) == plain
