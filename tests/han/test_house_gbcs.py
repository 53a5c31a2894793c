"""Devices and the hub exchange GBCS messages about firmware through their tunnels."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from house_world import World, home_with, image_for

from han.gbcs.payloads import (
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
    parse_from_device,
)
from han.zcl import RequestTunnel
from ota.gbcs_image import GbcsImage, Layout
from ota.server import Activation

OLD = 0x00010000
NEW = 0x00020000


@pytest.fixture
def world() -> World:
    world = World()
    world.move_in()
    return world


def holding(world: World, name: str, version: int = NEW) -> bytes:
    """Let the device take an image and hold it; its Manufacturer Image Hash."""
    data = image_for(world, name, version=version)
    world.hub.offer(data, name, activation=Activation.WAIT)
    world.run_until("ota.held", name, within=8 * 3600.0)
    return GbcsImage.read(data, Layout.AUTHORISED).manufacturer_image_hash


def activate(image_hash: bytes, counter: int = 1) -> bytes:
    return ActivateFirmwareCommand(image_hash, counter).to_der()


def outcome(response: ActivateImageResponseCode, version: int) -> ActivateFirmwareResponse:
    return ActivateFirmwareResponse(ActivationOutcome(response, version))


def heard_from(world: World, name: str) -> list[object]:
    return [parse_from_device(message) for message in world.hub.messages_of(name)]


def test_every_device_opens_a_tunnel_once_it_is_attached(world):
    assert len(world.said("tunnel.open")) == 4


@pytest.mark.parametrize("name", ["hcalcs", "gsme"])
def test_a_two_stage_device_activates_what_it_holds_when_it_is_told(world, name):
    image_hash = holding(world, name)
    world.hub.tell(name, activate(image_hash))
    world.run(60.0)

    assert world[name].file_version == NEW
    assert world[name].is_attached
    assert heard_from(world, name) == [outcome(ActivateImageResponseCode.SUCCESS, NEW)]


def test_a_command_without_a_held_image_is_answered_so(world):
    world.hub.tell("hcalcs", activate(bytes(32)))
    world.run(10.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.NO_IMAGE_HELD, OLD)]


def test_a_command_for_another_image_changes_nothing(world):
    holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(bytes(32)))
    world.run(60.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.HASH_MISMATCH, OLD)]
    assert world["hcalcs"].file_version == OLD
    assert world["hcalcs"].firmware.held is not None


def test_a_device_whose_new_firmware_does_not_start_says_so():
    home = home_with("""
[[devices]]
kind = "HCALCS"
name = "hcalcs"
eui64 = "00-DB-12-34-56-78-90-A5"
install_code = "8468461acbac55e2222d2939821412e59593"
image_type = 0x42
file_version = 0x00010000
activates = false
""")
    world = World(home)
    world.move_in()
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(image_hash))
    world.run(60.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.ACTIVATION_FAILURE, OLD)]
    assert world["hcalcs"].file_version == OLD


def test_a_command_that_is_repeated_is_answered_again_and_obeyed_once(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(image_hash))
    world.run(60.0)
    world.hub.tell("hcalcs", activate(image_hash))
    world.run(60.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.SUCCESS, NEW)] * 2
    assert len(world.said("device.activated", "hcalcs")) == 1


def test_a_command_is_acknowledged_before_the_device_goes_dark(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(image_hash))
    world.run_until("device.activated", "hcalcs")

    assert not world.said("aps.retry", "hub")


def test_a_command_that_comes_again_before_it_is_obeyed_is_obeyed_once(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(image_hash))
    world.run(1.0)
    world.hub.tell("hcalcs", activate(image_hash))
    world.run(60.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.SUCCESS, NEW)]


def test_a_command_is_obeyed_even_if_the_power_fails_right_after(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(image_hash))
    world.run(1.0)
    world["hcalcs"].power_off()
    world.run(100.0)
    assert world["hcalcs"].file_version == OLD
    world["hcalcs"].power_on()
    world.run(60.0)

    assert world["hcalcs"].file_version == NEW
    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.SUCCESS, NEW)]


def test_a_second_image_is_activated_by_a_second_command(world):
    for counter, version in ((1, NEW), (2, 0x00030000)):
        image_hash = holding(world, "hcalcs", version)
        world.hub.tell("hcalcs", activate(image_hash, counter))
        world.run(60.0)

    assert world["hcalcs"].file_version == 0x00030000
    assert [answer.outcome.file_version for answer in heard_from(world, "hcalcs")] == [NEW, 0x00030000]


def test_a_ppmid_tells_that_it_activated(world):
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    activated = world.run_until("device.activated", "ppmid")
    world.run(60.0)

    (alert,) = heard_from(world, "ppmid")
    assert alert == FirmwareActivationAlert(
        datetime(2026, 1, 5, 0, 0, int(activated.at), tzinfo=UTC), NEW, is_success=True
    )


def test_a_ppmid_whose_new_firmware_does_not_start_tells_that_too():
    home = home_with("""
[[devices]]
kind = "PPMID"
name = "ppmid"
eui64 = "00-DB-12-34-56-78-90-A4"
install_code = "19a47e1e70bcc9515adfa480fc2f8bf3c1b2"
image_type = 0x84
file_version = 0x00010000
activates = false
""")
    world = World(home)
    world.move_in()
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activation-failed", "ppmid")
    world.run(60.0)

    (alert,) = heard_from(world, "ppmid")
    assert (alert.is_success, alert.file_version) == (False, OLD)
    assert world["ppmid"].file_version == OLD


@pytest.mark.parametrize("name", ["ppmid", "hcalcs"])
def test_the_firmware_version_can_be_read_by_cs08(world, name):
    world.hub.tell(name, ReadFirmwareVersionCommand().to_der())
    world.run(10.0)

    assert heard_from(world, name) == [ReadFirmwareVersionResponse(OLD)]


@pytest.mark.parametrize("name", ["ppmid-silent", "gsme"])
def test_a_device_that_knows_no_cs08_says_nothing(world, name):
    world.hub.tell(name, ReadFirmwareVersionCommand().to_der())
    world.run(10.0)

    assert heard_from(world, name) == []
    assert "ReadFirmwareVersionCommand" in world.said("gbcs.dropped", name)[0].why


def test_a_ppmid_takes_no_activate_command(world):
    world.hub.tell("ppmid", activate(bytes(32)))
    world.run(10.0)

    assert heard_from(world, "ppmid") == []
    assert world.said("gbcs.dropped", "ppmid")


@pytest.mark.parametrize("message", [b"", b"\x30", b"\x05\x00\x00", b"\x30\x03\x04\x01\x00", bytes(60)])
def test_a_message_that_cannot_be_read_is_dropped_with_a_reason(world, message):
    world.hub.tell("hcalcs", message)
    world.run(10.0)

    assert world.said("gbcs.dropped", "hcalcs")[0].why
    assert heard_from(world, "hcalcs") == []


def test_an_alert_waits_for_a_hub_that_is_away(world):
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("ota.activating", "ppmid")
    world.hub.node.crash()
    world.run(600.0)
    assert world["ppmid"].memory.unsent
    world.hub.node.reboot()
    world.run(4000.0)

    assert [alert.file_version for alert in heard_from(world, "ppmid")] == [NEW]
    assert world["ppmid"].memory.unsent == ()


def test_an_alert_survives_a_power_cut_of_the_device(world):
    world.hub.offer(image_for(world, "ppmid", version=NEW), "ppmid")
    world.run_until("device.activated", "ppmid")
    world["ppmid"].power_off()
    world.run(60.0)
    assert heard_from(world, "ppmid") == []
    world["ppmid"].power_on()
    world.run(60.0)

    assert [alert.file_version for alert in heard_from(world, "ppmid")] == [NEW]


def test_a_hub_that_forgot_its_tunnels_still_gets_the_answer_and_a_new_tunnel(world):
    world.hub.tunnels.numbers.clear()
    world.hub.tell("hcalcs", ReadFirmwareVersionCommand().to_der(), tunnel=0x0BAD)
    world.run(30.0)

    assert heard_from(world, "hcalcs") == [ReadFirmwareVersionResponse(OLD)]
    assert world.hub.tunnels.errors
    assert world["hcalcs"].node.nwk in world.hub.tunnels.numbers


def test_a_hub_may_open_the_tunnel_itself(world):
    nwk = world["hcalcs"].node.nwk
    world.hub.tunnels.numbers.clear()
    world.hub.send_tunnel(nwk, RequestTunnel(6, 0xFFFF, flow_control=False, maximum_incoming=1500), 9)
    world.run(1.0)

    assert nwk in world.hub.tunnels.numbers


def test_a_device_is_not_put_off_by_a_hub_that_has_no_tunnel_to_give():
    world = World()
    world.hub.tunnels.refuses = True
    world.move_in()
    assert not world.said("tunnel.open")
    world.hub.tunnels.refuses = False
    world.run(120.0)

    assert len(world.said("tunnel.open")) == 4
