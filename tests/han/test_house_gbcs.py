"""Devices and the hub exchange GBCS messages about firmware through their tunnels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from house_world import World, home_with, image_for

from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.messages import activate_firmware, payload_of, read_firmware_version
from han.gbcs.parties import ACCESS_CONTROL_BROKER, lab_party
from han.gbcs.payloads import (
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionResponse,
)
from han.gbcs.protection import signed, with_mac
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


def activate(world: World, name: str, image_hash: bytes, counter: int = 1) -> bytes:
    return activate_firmware(world[name].eui64, ActivateFirmwareCommand(image_hash, counter)).to_bytes()


def read_version(world: World, name: str) -> bytes:
    return read_firmware_version(world[name].eui64, 5).to_bytes()


def outcome(response: ActivateImageResponseCode, version: int) -> ActivateFirmwareResponse:
    return ActivateFirmwareResponse(ActivationOutcome(response, version))


def heard_from(world: World, name: str) -> list[object]:
    messages = [Envelope.parse(octets) for octets in world.hub.messages_of(name)]
    assert all(message.originator == world[name].eui64 for message in messages)
    return [payload_of(message) for message in messages]


def test_every_device_opens_a_tunnel_once_it_is_attached(world):
    assert len(world.said("tunnel.open")) == len(world.house.devices)


@pytest.mark.parametrize("name", ["hcalcs", "gsme"])
def test_a_two_stage_device_activates_what_it_holds_when_it_is_told(world, name):
    image_hash = holding(world, name)
    world.hub.tell(name, activate(world, name, image_hash))
    world.run(60.0)

    assert world[name].file_version == NEW
    assert world[name].is_attached
    assert heard_from(world, name)[-1:] == [outcome(ActivateImageResponseCode.SUCCESS, NEW)]


def test_a_command_without_a_held_image_is_answered_so(world):
    world.hub.tell("hcalcs", activate(world, "hcalcs", bytes(32)))
    world.run(10.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.NO_IMAGE_HELD, OLD)]


def test_a_command_for_another_image_changes_nothing(world):
    holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(world, "hcalcs", bytes(32)))
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
    world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash))
    world.run(60.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.ACTIVATION_FAILURE, OLD)]
    assert world["hcalcs"].file_version == OLD


def test_a_command_that_is_repeated_is_answered_again_and_obeyed_once(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash))
    world.run(60.0)
    world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash))
    world.run(60.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.SUCCESS, NEW)] * 2
    assert len(world.said("device.activated", "hcalcs")) == 1


def test_a_command_is_acknowledged_before_the_device_goes_dark(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash))
    world.run_until("device.activated", "hcalcs")
    world.run(10.0)

    assert not world.said("aps.retry", "hub")


def test_a_command_that_comes_again_before_it_is_obeyed_is_obeyed_once(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash))
    world.run(1.0)
    world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash))
    world.run(60.0)

    assert heard_from(world, "hcalcs") == [outcome(ActivateImageResponseCode.SUCCESS, NEW)]


def test_a_command_is_obeyed_even_if_the_power_fails_right_after(world):
    image_hash = holding(world, "hcalcs")
    world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash))
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
        world.hub.tell("hcalcs", activate(world, "hcalcs", image_hash, counter))
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
    world.hub.tell(name, read_version(world, name))
    world.run(10.0)

    assert heard_from(world, name) == [ReadFirmwareVersionResponse(OLD)]


@pytest.mark.parametrize("name", ["ppmid-silent", "gsme"])
def test_a_device_that_knows_no_cs08_says_nothing(world, name):
    world.hub.tell(name, read_version(world, name))
    world.run(10.0)

    assert heard_from(world, name) == []
    assert "0x0129" in world.said("gbcs.dropped", name)[0].why


def test_a_ppmid_from_before_secmp0007_activates_and_never_says_a_word(world):
    world.hub.offer(image_for(world, "ppmid-silent", version=NEW), "ppmid-silent")
    world.run_until("device.activated", "ppmid-silent")
    world.run(60.0)
    for message in (activate(world, "ppmid-silent", bytes(32)), read_version(world, "ppmid-silent"), b"\x30"):
        world.hub.tell("ppmid-silent", message)
        world.run(60.0)
    world["ppmid-silent"].power_off()
    world["ppmid-silent"].power_on()
    world.run(2 * 86_400.0)

    assert world["ppmid-silent"].file_version == NEW
    assert heard_from(world, "ppmid-silent") == []
    assert world["ppmid-silent"].memory.unsent == ()


def test_a_ppmid_takes_no_activate_command(world):
    world.hub.tell("ppmid", activate(world, "ppmid", bytes(32)))
    world.run(10.0)

    assert heard_from(world, "ppmid") == []
    assert world.said("gbcs.dropped", "ppmid")


def spoilt(world: World, **change: object) -> bytes:
    message = Envelope.parse(activate(world, "hcalcs", bytes(32), counter=7))
    return replace(message, **change).to_bytes()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mac": bytes(12)}, "MAC"),
        ({"mac": None}, "MAC"),
        ({"signature": bytes(range(64))}, "MAC"),
        ({"counter": 8}, "MAC"),
        ({"recipient": ACCESS_CONTROL_BROKER}, "for 90-B3"),
        ({"kind": MessageKind.ALERT}, "alert"),
    ],
)
def test_a_command_whose_protection_does_not_hold_is_dropped_with_the_reason(world, change, why):
    world.hub.tell("hcalcs", spoilt(world, **change))
    world.run(10.0)

    assert why in world.said("gbcs.dropped", "hcalcs")[0].why
    assert heard_from(world, "hcalcs") == []


def test_a_command_that_somebody_else_signed_is_dropped_although_its_mac_holds(world):
    device = world["hcalcs"].eui64
    command = replace(Envelope.parse(activate(world, "hcalcs", bytes(32))), mac=None)
    forged = with_mac(
        signed(command, lab_party(device).signing),
        lab_party(ACCESS_CONTROL_BROKER).agreement,
        lab_party(device).agreement.public_key(),
    )
    world.hub.tell("hcalcs", forged.to_bytes())
    world.run(10.0)

    assert "signature" in world.said("gbcs.dropped", "hcalcs")[0].why
    assert heard_from(world, "hcalcs") == []


def test_an_old_command_cannot_be_played_again_after_a_newer_one(world):
    image_hash = holding(world, "hcalcs")
    old = activate(world, "hcalcs", bytes(32), counter=1)
    for message in (old, activate(world, "hcalcs", image_hash, counter=2), old):
        world.hub.tell("hcalcs", message)
        world.run(60.0)

    assert heard_from(world, "hcalcs") == [
        outcome(ActivateImageResponseCode.HASH_MISMATCH, OLD),
        outcome(ActivateImageResponseCode.SUCCESS, NEW),
    ]
    assert "counter" in world.said("gbcs.dropped", "hcalcs")[-1].why


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
    world.hub.tell("hcalcs", read_version(world, "hcalcs"), tunnel=0x0BAD)
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

    assert len(world.said("tunnel.open")) == len(world.house.devices)
