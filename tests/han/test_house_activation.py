"""Two-stage devices activate what they hold: now, at a time, or not at all, and say how that went."""

from __future__ import annotations

from datetime import timedelta

import pytest
from two_stage_home import (
    ACCEPTED,
    DAY,
    NEW,
    NEWER,
    OLD,
    START,
    TWO_STAGE,
    Clockwork,
    TwoStageWorld,
    outcome,
    two_stage_home,
)

from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from han.sim.house_memory import HouseMemory
from ota.server import Activation

CODES = ActivateImageResponseCode
HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> TwoStageWorld:
    world = TwoStageWorld()
    world.move_in()
    return world


def in_a_state_for(code: CODES, name: str) -> tuple[TwoStageWorld, bytes, int]:
    """A house whose device answers so to a command; the hash to name, and the version that runs then."""
    failing = code is CODES.ACTIVATION_FAILURE
    world = TwoStageWorld(two_stage_home("activates = false" if failing else ""))
    world.move_in()
    if code is CODES.NO_IMAGE_HELD:
        return world, bytes(32), OLD
    image_hash = world.hold(name)
    if code is CODES.HASH_MISMATCH:
        return world, bytes(32), OLD
    return world, image_hash, OLD if failing else NEW


def the_alert(world: TwoStageWorld, name: str) -> ActivateFirmwareAlert:
    """The alert that followed the acceptance, which is all the device said of activation."""
    accepted, alert = world.heard(name)
    assert accepted == ACCEPTED
    assert isinstance(alert, ActivateFirmwareAlert)
    return alert


@pytest.mark.parametrize("name", TWO_STAGE)
@pytest.mark.parametrize("code", CODES)
def test_each_outcome_of_an_immediate_command_is_told_in_its_response(name, code):
    world, image_hash, version = in_a_state_for(code, name)
    world.activate(name, image_hash)
    world.run(60.0)

    assert world.heard(name) == [outcome(code, version)]
    assert world[name].file_version == version
    assert (world[name].firmware.held is None) is (code in (CODES.SUCCESS, CODES.NO_IMAGE_HELD))


@pytest.mark.parametrize("name", TWO_STAGE)
@pytest.mark.parametrize("code", CODES)
def test_each_outcome_of_a_dated_command_is_told_in_an_alert_at_its_time(name, code):
    world, image_hash, version = in_a_state_for(code, name)
    at = world.soon()
    world.activate(name, image_hash, at)
    assert world.heard(name) == [ACCEPTED]
    world.run_to(at - timedelta(seconds=1))
    assert world.heard(name) == [ACCEPTED]
    assert world[name].file_version == OLD
    world.run(90.0)

    alert = the_alert(world, name)
    assert alert.alert_code == (0x8F66 if code is CODES.SUCCESS else 0x8F67)
    assert (alert.outcome, alert.originator_counter) == (ActivationOutcome(code, version), 1)
    assert abs(alert.executed_at - at) <= timedelta(seconds=1)
    assert world[name].file_version == version


def test_the_hash_need_not_match_before_the_command_is_acted_on(world):
    _, image_hash = world.image("esme")
    world.activate("esme", image_hash, world.soon(7200.0))
    assert world.heard("esme") == [ACCEPTED]
    world.hold("esme")
    world.run(2.5 * 3600)

    assert the_alert(world, "esme").outcome == ActivationOutcome(CODES.SUCCESS, NEW)


def test_an_image_that_another_one_replaced_meanwhile_is_not_activated(world):
    image_hash = world.hold("esme")
    world.activate("esme", image_hash, world.soon(7200.0))
    world.hold("esme", NEWER)
    world.run(2.5 * 3600)

    assert the_alert(world, "esme").outcome == ActivationOutcome(CODES.HASH_MISMATCH, OLD)
    assert world["esme"].file_version == OLD


def test_a_time_that_has_passed_is_accepted_acted_on_at_once_and_told_in_an_alert(world):
    world.activate("esme", world.hold("esme"), world.soon(-3600.0))
    world.run(60.0)

    alert = the_alert(world, "esme")
    assert alert.outcome == ActivationOutcome(CODES.SUCCESS, NEW)
    assert abs(alert.executed_at - world.now) < timedelta(seconds=70)


def test_a_cancelled_activation_never_happens(world):
    image_hash = world.hold("esme")
    world.activate("esme", image_hash, world.soon())
    world.activate("esme", image_hash, CANCEL)
    world.run(2 * DAY)

    assert world.heard("esme") == [ACCEPTED, ACCEPTED]
    assert world["esme"].file_version == OLD
    assert world["esme"].firmware.held is not None


def test_to_cancel_nothing_is_accepted_and_what_is_held_can_still_be_activated(world):
    image_hash = world.hold("esme")
    world.activate("esme", bytes(32), CANCEL)
    world.activate("esme", image_hash)
    world.run(60.0)

    assert world.heard("esme") == [ACCEPTED, outcome(CODES.SUCCESS, NEW)]


@pytest.mark.parametrize("later", [None, timedelta(hours=5), timedelta(minutes=10)], ids=str)
def test_a_later_command_replaces_the_pending_one(world, later):
    image_hash = world.hold("gsme")
    at = world.soon(2 * 3600.0)
    world.activate("gsme", bytes(32), at)
    world.activate("gsme", image_hash, None if later is None else world.soon(later.total_seconds()))
    world.run(7 * 3600.0)

    told = world.heard("gsme")
    assert len(told) == (2 if later is None else 3)
    assert told[-1].outcome == ActivationOutcome(CODES.SUCCESS, NEW)
    assert len(world.said("gbcs.activate", "gsme")) == 1


def test_the_same_dated_command_again_is_accepted_again_and_acted_on_once(world):
    command = world.activate("esme", world.hold("esme"), world.soon())
    world.hub.tell("esme", command)
    world.run(2 * 3600.0)
    world.hub.tell("esme", command)
    world.run(60.0)

    accepted, again, alert, after = world.heard("esme")
    assert accepted == again == after == ACCEPTED
    assert isinstance(alert, ActivateFirmwareAlert)
    assert len(world.said("device.activated", "esme")) == 1


@pytest.mark.parametrize("counter", [1, 2])
def test_an_old_counter_neither_cancels_nor_moves_what_is_pending(world, counter):
    image_hash = world.hold("esme")
    world.counter = 1
    at = world.soon()
    world.activate("esme", image_hash, at)
    for when in (None, CANCEL, world.soon(1800.0)):
        world.hub.tell("esme", world.command("esme", image_hash, when, counter))
        world.run(30.0)
    assert world["esme"].file_version == OLD
    world.run_to(at + timedelta(seconds=60))

    assert the_alert(world, "esme").outcome.response is CODES.SUCCESS
    assert ["counter" in fact.why for fact in world.said("gbcs.dropped", "esme")] == [True] * 3


@pytest.mark.parametrize("name", TWO_STAGE)
@pytest.mark.parametrize("off_for", [600.0, 3 * DAY], ids=["back in time", "back too late"])
def test_a_dated_command_survives_a_power_cut_and_a_missed_moment_is_made_up_for(world, name, off_for):
    image_hash = world.hold(name)
    at = world.soon(7200.0)
    world.activate(name, image_hash, at)
    world[name].power_off()
    world.run(off_for)
    assert world[name].file_version == OLD
    world[name].power_on()
    if off_for < 7200.0:
        world.run_to(at - timedelta(seconds=5))
        assert world[name].file_version == OLD
        world.run(65.0)
    else:
        world.run(120.0)

    alert = the_alert(world, name)
    assert alert.outcome == ActivationOutcome(CODES.SUCCESS, NEW)
    assert abs(alert.executed_at - max(at, world.now)) < timedelta(seconds=125)


def just_before_its_moment() -> TwoStageWorld:
    """A house whose electricity meter is about to carry out a dated command."""
    world = TwoStageWorld()
    world.move_in()
    at = world.soon(600.0)
    world.activate("esme", world.hold("esme"), at)
    world.run_to(at - timedelta(seconds=0.5))
    return world


@pytest.mark.parametrize("every", [17, pytest.param(1, marks=pytest.mark.soak)])
def test_a_power_cut_at_any_call_around_the_moment_leaves_one_activation_and_one_alert(every):
    world, calls = just_before_its_moment(), 0
    while len(world.heard("esme")) < 2:
        world.house.timeline.step()
        calls += 1
    for cut in range(0, calls + 20, every):
        world = just_before_its_moment()
        for _ in range(cut):
            world.house.timeline.step()
        world["esme"].power_off()
        world.run(30.0)
        world["esme"].power_on()
        world.run(120.0)

        accepted, *alerts = world.heard("esme")
        assert accepted == ACCEPTED
        # What the radio had sent when the power failed is sent again if nothing acknowledged it: the same.
        (alert,) = set(alerts)
        assert alert.outcome == ActivationOutcome(CODES.SUCCESS, NEW), cut
        assert len(world.said("device.activated", "esme")) == 1, cut


def test_a_device_acts_at_its_time_although_its_hub_is_away_and_tells_later(world):
    image_hash = world.hold("esme")
    at = world.soon(4 * 3600.0)
    world.activate("esme", image_hash, at)
    world.hub.node.crash()
    world.run_to(at + timedelta(seconds=30))
    assert world.said("device.detached", "esme"), "it has noticed that the hub is gone"
    assert world["esme"].file_version == NEW
    assert len(world["esme"].memory.unsent) == 1
    world.hub.node.reboot()
    world.run(2 * 3600.0)

    alert = the_alert(world, "esme")
    assert alert.outcome == ActivationOutcome(CODES.SUCCESS, NEW)
    assert abs(alert.executed_at - at) <= timedelta(seconds=2)


@pytest.mark.parametrize("ahead", [-HOUR, HOUR], ids=["slow", "fast"])
def test_it_is_the_devices_own_clock_that_counts_and_the_hub_sets_that(ahead):
    world = TwoStageWorld()
    world.clock.ahead = ahead
    world.move_in()
    at = world.soon(2 * 3600.0)
    world.activate("esme", world.hold("esme"), at)
    activated = world.run_until("device.activated", "esme", within=DAY)

    assert abs(START + timedelta(seconds=activated.at) - (at - ahead)) <= timedelta(seconds=2)


def test_a_clock_that_is_set_forward_brings_the_moment_forward(world):
    at = world.soon(30 * 3600.0)
    world.activate("esme", world.hold("esme"), at)
    world.clock.ahead = timedelta(days=2)
    activated = world.run_until("device.activated", "esme", within=2 * DAY)

    # It reads the time daily.
    assert abs(activated.at - DAY) < 60.0


def test_a_device_that_does_not_know_the_time_any_more_waits_until_it_is_told(world):
    at = world.soon(600.0)
    world.activate("esme", world.hold("esme"), at)
    world["esme"].power_off()
    world.clock.ahead = None
    world["esme"].power_on()
    world.run(3 * 3600.0)
    assert world["esme"].is_attached
    assert world["esme"].file_version == OLD
    world.clock.ahead = timedelta()
    world.run(3700.0)

    assert the_alert(world, "esme").outcome == ActivationOutcome(CODES.SUCCESS, NEW)


def test_with_a_hub_that_tells_no_time_a_device_goes_by_its_own_crystal():
    world = TwoStageWorld(tells_time=False)
    world.move_in()
    at = world.soon()
    world.activate("esme", world.hold("esme"), at)
    world["esme"].power_off()
    world.run(60.0)
    world["esme"].power_on()
    activated = world.run_until("device.activated", "esme", within=DAY)

    assert abs(START + timedelta(seconds=activated.at) - at) <= timedelta(seconds=1)


def test_a_device_without_power_does_nothing_although_its_crystal_runs_on():
    world = TwoStageWorld(two_stage_home('certificate = "none"'))
    world.move_in()
    world.activate("esme", world.hold("esme"), world.soon(600.0))
    world["esme"].power_off()
    world.run(1200.0)
    assert world["esme"].file_version == OLD
    world["esme"].power_on()
    world.run(60.0)

    assert the_alert(world, "esme").outcome == ActivationOutcome(CODES.SUCCESS, NEW)


def test_after_a_power_cut_a_device_does_not_go_by_what_an_earlier_hub_lacked():
    world = TwoStageWorld(tells_time=False)
    world.move_in()
    world.activate("esme", world.hold("esme"), world.soon(600.0))
    world["esme"].power_off()
    world.run(1200.0)
    clock = Clockwork(world.hub)
    clock.ahead = None
    world["esme"].power_on()
    world.run(60.0)
    assert world["esme"].is_attached
    assert world["esme"].file_version == OLD
    clock.ahead = timedelta()
    world.run(3700.0)

    assert world["esme"].file_version == NEW


def test_an_immediate_command_does_not_wait_for_a_clock(world):
    image_hash = world.hold("esme")
    world["esme"].power_off()
    world.clock.ahead = None
    world["esme"].power_on()
    world.run(60.0)
    world.activate("esme", image_hash)
    world.run(60.0)

    assert world.heard("esme") == [outcome(CODES.SUCCESS, NEW)]


def test_a_house_that_goes_on_elsewhere_keeps_its_appointments(world):
    at = world.soon(7200.0)
    world.activate("esme", world.hold("esme"), at)
    kept = HouseMemory.from_dict(world.house.remember().to_dict())
    later = TwoStageWorld(memory=kept, hub_store=world.hub.node.store)
    # Its timeline begins anew, so its clock does: what counts is what the clock says.
    later.clock.ahead = world.now - START
    later.hub.node.reboot()
    later.house.power_on()
    later.run_until("device.activated", "esme", within=DAY)
    assert abs(later.clock.utc - at) <= timedelta(seconds=2)
    later.run(60.0)

    (alert,) = later.heard("esme")
    assert (alert.originator_counter, alert.outcome) == (1, ActivationOutcome(CODES.SUCCESS, NEW))


def test_the_last_image_of_many_is_activated_by_the_last_of_many_commands(world):
    for version in (NEW, NEWER):
        world.activate("gsme", world.hold("gsme", version), world.soon(600.0))
        world.run(900.0)

    alerts = [each for each in world.heard("gsme") if isinstance(each, ActivateFirmwareAlert)]
    assert [each.outcome.file_version for each in alerts] == [NEW, NEWER]
    assert [each.originator_counter for each in alerts] == [1, 2]


def test_an_esme_heeds_an_image_notify_and_asks_by_itself_besides(world):
    described = world["esme"].description
    assert described.is_reached_by_notify
    queries = len(world.said("ota.query", "esme"))
    world.run(10.0)
    assert len(world.said("ota.query", "esme")) == queries
    data, _ = world.image("esme")
    begin = world.house.timeline.now
    world.hub.offer(data, "esme", activation=Activation.WAIT)
    assert world.run_until("ota.started", "esme").at - begin < 10.0


def test_responses_and_alerts_of_one_device_are_not_taken_for_those_of_another(world):
    for name in TWO_STAGE:
        world.activate(name, bytes(32))
    world.run(60.0)

    assert [world.heard(name) for name in TWO_STAGE] == [[outcome(CODES.NO_IMAGE_HELD, OLD)]] * 3
