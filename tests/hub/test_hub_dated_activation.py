"""Activations for later: accepted at once, executed at their time, replaced or cancelled before it."""

import asyncio
import contextlib
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import HCALCS, PPMID, World, cs06, dated_alert, image_for, image_hash

from han.gbcs.envelope import Envelope
from han.gbcs.messages import firmware_activated, payload_of
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from hub.messages import ActivateRequest
from hub.slot import DAY

OLD = image_for("HCALCS")
DIGEST = image_hash("HCALCS", OLD)
LATER = timedelta(days=2)


@contextlib.asynccontextmanager
async def home(tmp_path, **settings):
    """A hub, and an HCALCS that holds an image."""
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(HCALCS)
        await world.head_end.offer(OLD, HCALCS)
        await world.head_end.alert("0x8F8A", HCALCS)
        yield world


def command(world, name, counter, when=None, digest=DIGEST):
    gbcs = cs06(HCALCS, digest, counter, when)
    return ActivateRequest(request_id=name, device=str(HCALCS), gbcs=gbcs, **world.head_end.pen.stamp())


async def ask(world, *args, **more):
    answer = await world.head_end.ask(command(world, *args, **more))
    assert answer.ok, answer.reason


def outcomes(world):
    alerts = {alert.id: alert for alert in world.head_end.alerts if alert.TOPIC == "alert/activation"}
    return [(alert.request_id, alert.code, alert.response) for alert in alerts.values()]


def pending(world):
    return [each.request_id for each in world.hub.custody.memory.activations]


async def test_a_dated_activation_is_accepted_at_once_and_told_of_when_it_is_done(tmp_path):
    async with home(tmp_path) as world:
        when = world.utc.now() + LATER
        await ask(world, "dated", 1, when)
        accepted = await world.head_end.alert("CS06", HCALCS, response=None)
        assert accepted.reason == "accepted, to be executed later"
        await asyncio.sleep(1.9 * DAY)
        assert pending(world) == ["dated"]
        assert world.house.devices[HCALCS].version == 1
        done = await world.head_end.alert("0x8F66", HCALCS, within=6 * DAY)
        assert (done.request_id, done.file_version) == ("dated", "00000002")
        assert payload_of(Envelope.parse(bytes.fromhex(done.gbcs))).executed_at == when.replace(microsecond=0)
        assert pending(world) == []
        assert "dated" in world.hub.custody.memory.ended


async def test_a_dated_activation_that_fails_at_its_time_says_so(tmp_path):
    async with home(tmp_path) as world:
        await ask(world, "dated", 1, world.utc.now() + LATER, digest="ab" * 32)
        failed = await world.head_end.alert("0x8F67", HCALCS, response=2, within=6 * DAY)
        assert (failed.request_id, failed.file_version) == ("dated", "00000001")


async def test_the_hub_waits_for_the_alert_through_restarts_and_sends_the_command_once(tmp_path):
    async with home(tmp_path) as world:
        await ask(world, "dated", 1, world.utc.now() + LATER)
        await world.head_end.alert("CS06", HCALCS, response=None)
        for _ in range(3):
            await world.crash()
            await world.start()
            await asyncio.sleep(0.4 * DAY)
        await world.head_end.alert("0x8F66", HCALCS, within=6 * DAY)
        assert outcomes(world) == [("dated", "CS06", None), ("dated", "0x8F66", 0)]
        assert len([fact for fact in world.told if fact.what == "activation.delivered"]) == 1


async def test_a_cancel_ends_with_its_answer_and_nothing_is_said_in_the_name_of_what_it_cancels(tmp_path):
    async with home(tmp_path) as world:
        await ask(world, "dated", 1, world.utc.now() + LATER)
        await world.head_end.alert("CS06", HCALCS, response=None)
        await ask(world, "cancel", 2, CANCEL)
        await world.head_end.when(lambda: len(outcomes(world)) == 2)
        await asyncio.sleep(3 * DAY)
        assert outcomes(world) == [("dated", "CS06", None), ("cancel", "CS06", None)]
        assert pending(world) == []
        assert set(world.hub.custody.memory.ended) >= {"dated", "cancel"}
        assert world.house.devices[HCALCS].version == 1


@pytest.mark.parametrize("days", [None, 1, 5])
async def test_a_later_command_replaces_the_pending_one_whether_it_is_for_now_or_for_a_time(tmp_path, days):
    async with home(tmp_path) as world:
        await ask(world, "first", 1, world.utc.now() + LATER)
        await world.head_end.alert("CS06", HCALCS, response=None)
        when = None if days is None else world.utc.now() + timedelta(days=days)
        await ask(world, "second", 2, when)
        await world.head_end.alert("CS06" if days is None else "0x8F66", HCALCS, within=6 * DAY)
        await asyncio.sleep(6 * DAY)
        assert [each for each in outcomes(world) if each[0] == "first"] == [("first", "CS06", None)]
        assert [each[1:] for each in outcomes(world) if each[0] == "second"][-1][1] == 0
        assert pending(world) == []
        assert [fact.by for fact in world.told if fact.what == "activation.replaced"] == ["second"]


async def test_a_command_that_no_device_took_is_void_once_a_later_one_was_obeyed(tmp_path):
    async with home(tmp_path) as world:
        world.house.devices[HCALCS].is_asleep = True
        await ask(world, "second", 2)
        world.house.devices[HCALCS].is_asleep = False
        await world.head_end.alert("CS06", HCALCS)
        world.house.devices[HCALCS].is_asleep = True
        await ask(world, "third", 3, world.utc.now() + LATER)
        await ask(world, "cancel", 4, CANCEL)
        world.house.devices[HCALCS].hear = lambda cluster, zcl: None
        world.house.devices[HCALCS].is_asleep = False
        await asyncio.sleep(3600.0)
        (obeyed,) = [each for each in world.hub.custody.memory.activations if each.request_id == "cancel"]
        answer = firmware_activated(
            Envelope.parse(obeyed.command), ActivateFirmwareResponse(), world.utc.now()
        )
        world.house.devices[HCALCS].tell(answer.to_bytes())
        await world.head_end.when(lambda: ("cancel", "CS06", None) in outcomes(world))
        assert pending(world) == []


async def test_a_cancel_repeated_after_it_ended_is_not_sent_again(tmp_path):
    async with home(tmp_path) as world:
        await ask(world, "cancel", 1, CANCEL)
        await world.head_end.alert("CS06", HCALCS, response=None)
        answer = await world.head_end.ask(command(world, "cancel", 1, CANCEL))
        assert answer.code == "ended"


DONE = ActivationOutcome(ActivateImageResponseCode.SUCCESS, 2)
FAILED = ActivationOutcome(ActivateImageResponseCode.NO_IMAGE_HELD, 1)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda sent: dated_alert(HCALCS, 9, sent, DONE, 0x8F67), "0x8f67 does not go with"),
        (lambda sent: dated_alert(HCALCS, 9, sent, FAILED, 0x8F66), "0x8f66 does not go with"),
        (lambda sent: dated_alert(HCALCS, 9, sent, DONE, 0x8F8B), "0x8f8b does not go with"),
        (lambda sent: dated_alert(HCALCS, 9, replace(sent, originator_counter=7), DONE), "no CS06"),
        (lambda sent: replace(dated_alert(HCALCS, 9, sent, DONE), recipient=PPMID), "it is for"),
        (lambda sent: replace(dated_alert(HCALCS, 9, sent, DONE), originator=PPMID), "comes from"),
    ],
)
async def test_an_alert_that_answers_no_pending_command_leaves_it_pending(tmp_path, spoil, why):
    async with home(tmp_path) as world:
        await ask(world, "dated", 1, world.utc.now() + LATER)
        await world.head_end.alert("CS06", HCALCS, response=None)
        (kept,) = world.hub.custody.memory.activations
        before = world.hub.custody.memory
        world.house.devices[HCALCS].tell(spoil(payload_of(Envelope.parse(kept.command))).to_bytes())
        await asyncio.sleep(1.0)
        assert world.hub.custody.memory == before
        assert any(why in said for said in world.whys("gbcs.refused")), world.whys("gbcs.refused")
        await world.head_end.alert("0x8F66", HCALCS, within=6 * DAY)


async def test_a_command_whose_counters_differ_is_refused(tmp_path):
    async with home(tmp_path) as world:
        message = replace(Envelope.parse(bytes.fromhex(cs06(HCALCS, DIGEST, 5))), counter=6)
        request = ActivateRequest(
            request_id="odd",
            device=str(HCALCS),
            gbcs=message.to_bytes().hex(),
            **world.head_end.pen.stamp(),
        )
        answer = await world.head_end.ask(request)
        assert (answer.code, pending(world)) == ("malformed", [])
        assert "counters" in answer.reason
