"""A gas meter on a battery, told of an image by the functional notification flag and by nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from two_stage_home import ACCEPTED, DAY, NEW, OLD, TwoStageWorld

from han.clusters import NEW_OTA_FIRMWARE
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from han.gbcs.receipt import ReceiptAlert
from han.sim.home import read_home
from ota.server import Activation

SLEEPY_GSME = Path(__file__).parents[2] / "fixtures" / "homes" / "sleepy-gsme.toml"
HALF_AN_HOUR = 1800.0
DONE = ActivationOutcome(ActivateImageResponseCode.SUCCESS, NEW)


class SleepyWorld(TwoStageWorld):
    """The home of the sleeping gas meter, moved into. By itself it would not ask for an image for a week."""

    def __init__(self, *, loss: float = 0.0) -> None:
        home = read_home(str(SLEEPY_GSME))
        never = replace(home.devices[0], query_period=7 * DAY, first_query_within=0.0)
        super().__init__(replace(home, devices=(never, *home.devices[1:])), loss=loss)
        self.hub.form()
        self.hub.admit_everyone()
        self.house.power_on()
        self.run_until("device.attached", "gsme", within=200.0)
        self.run(600.0)

    def tell_when_awake(self, octets: bytes) -> None:
        """Send the meter this message the next time that it asks for its flags."""
        self.clock.flags = 1 << 31
        self.run_until("flags.seen", "gsme", within=2 * HALF_AN_HOUR)
        self.clock.flags = 0
        self.hub.tell("gsme", octets)
        self.run(5.0)


def told_by_flag(world: SleepyWorld) -> bytes:
    """Let the meter fetch an image that only the flag tells it of; the image's hash."""
    data, image_hash = world.image("gsme")
    world.hub.offer(data, "gsme", activation=Activation.WAIT)
    world.run(2 * HALF_AN_HOUR)
    assert len(world.said("ota.query", "gsme")) == 1, "the hub's Image Notify found it asleep"
    world.clock.flags = NEW_OTA_FIRMWARE
    world.run_until("ota.held", "gsme", within=HALF_AN_HOUR + 300.0)
    world.clock.flags = 0
    world.run(10.0)
    return image_hash


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_it_collects_its_image_sends_its_receipt_and_obeys_a_dated_command(loss):
    world = SleepyWorld(loss=loss)
    image_hash = told_by_flag(world)
    (receipt,) = {payload_of(Envelope.parse(octets)) for octets in world.hub.messages_of("gsme")}
    assert isinstance(receipt, ReceiptAlert)
    assert (receipt.alert_code, receipt.manufacturer_image_hash) == (0x8F72, image_hash)

    at = world.soon(5 * 3600.0)
    world.tell_when_awake(world.command("gsme", image_hash, at))
    assert world.heard("gsme") == [ACCEPTED]
    world.run_to(at - timedelta(seconds=2))
    assert world["gsme"].file_version == OLD
    world.run(120.0)

    assert world["gsme"].file_version == NEW
    accepted, alert = world.heard("gsme")
    assert isinstance(alert, ActivateFirmwareAlert)
    assert (accepted, alert.alert_code, alert.outcome) == (ACCEPTED, 0x8F66, DONE)
    assert abs(alert.executed_at - at) <= timedelta(seconds=1)


def test_the_moment_comes_while_it_sleeps_and_nothing_but_its_clock_wakes_it():
    world = SleepyWorld()
    image_hash = told_by_flag(world)
    at = world.soon(5 * 3600.0)
    world.tell_when_awake(world.command("gsme", image_hash, at))
    world.run_to(at - timedelta(seconds=60))
    before = len(world.facts)
    world.run_until("device.activated", "gsme", within=62.0)

    meanwhile = {fact.what for fact in world.facts[before:] if fact.who == "gsme"}
    assert meanwhile == {"gbcs.activate", "device.activated"}


def test_a_cancellation_reaches_it_between_two_sleeps():
    world = SleepyWorld()
    image_hash = told_by_flag(world)
    world.tell_when_awake(world.command("gsme", image_hash, world.soon(5 * 3600.0)))
    world.tell_when_awake(world.command("gsme", image_hash, CANCEL))
    world.run(DAY)

    assert world.heard("gsme") == [ACCEPTED, ACCEPTED]
    assert world["gsme"].file_version == OLD
