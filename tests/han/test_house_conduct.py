"""Devices that conduct themselves badly in key establishment: both ends stay sane, others are served."""

from __future__ import annotations

import pytest
from house_world import World, home_with, image_for

from han.security.binary_curve import SECT163K1, SECT283K1
from han.security.errors import PointError
from han.security.key_establishment import Established, Failed
from han.security.key_establishment import TerminateStatus as Status
from han.sim.devices.conduct import off_curve
from han.sim.home import Conduct
from han.zcl import KEY_ESTABLISHMENT_CLUSTER, ZclFrame

NEW = 0x00020000


def ppmid(name: str, number: int, code: str, extra: str = "") -> str:
    return f"""
[[devices]]
kind = "PPMID"
name = "{name}"
eui64 = "00-DB-12-34-56-78-90-{number:02X}"
install_code = "{code}"
image_type = 0x0084
file_version = 0x00010000
first_query_within = 1
certificate = "lab"
{extra}
"""


BAD = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
GOOD = "3bd0068397c7aea590ff28dc4992f4f38178"


def world_with(conduct: str, extra: str = "") -> World:
    """A house with a device of this conduct that comes first, and an honest one."""
    bad = ppmid("bad", 0xA4, BAD, f'establishment = "{conduct}"\n{extra}')
    world = World(home_with(bad + ppmid("good", 0xB4, GOOD)))
    world.hub.form()
    world.hub.admit_everyone()
    world["bad"].power_on()
    world.run_until("keys.started", "bad", within=30.0)
    return world


def serve_the_other(world: World) -> None:
    """The honest device joins and updates itself, whatever the other is at."""
    world["good"].power_on()
    world.run_until("device.attached", "good", within=30.0)
    world.hub.offer(image_for(world, "good", version=NEW), "good")
    world.run_until("device.activated", "good", within=120.0)


def failures(world: World) -> set[Status | None]:
    """How the hub's exchanges with the bad one ended."""
    events = world.hub.keys.events
    return {e.status for e in events if isinstance(e, Failed) and e.peer == world["bad"].eui64}


def is_keyed(world: World, name: str = "bad") -> bool:
    return world[name].memory.established_key is not None


REFUSED = {
    "wrong-issuer": Status.UNKNOWN_ISSUER,
    "wrong-name": Status.INVALID_CERTIFICATE,
    "wrong-mac": Status.BAD_KEY_CONFIRM,
    "off-curve": Status.BAD_MESSAGE,
    "malformed": Status.BAD_MESSAGE,
    "silent-after-initiate": None,
    "silent-after-ephemeral-data": None,
    "terminates-unknown-issuer": Status.UNKNOWN_ISSUER,
    "terminates-bad-key-confirm": Status.BAD_KEY_CONFIRM,
    "terminates-bad-message": Status.BAD_MESSAGE,
    "terminates-no-resources": Status.NO_RESOURCES,
    "terminates-unsupported-suite": Status.UNSUPPORTED_SUITE,
    "terminates-invalid-certificate": Status.INVALID_CERTIFICATE,
}
"""A conduct, and the status with which the hub's exchange ends; None: in silence."""


@pytest.mark.parametrize(("conduct", "status"), REFUSED.items())
def test_a_bad_exchange_ends_with_its_status_and_without_a_key_while_the_other_is_served(conduct, status):
    world = world_with(conduct)
    serve_the_other(world)
    world.run(600.0)

    assert failures(world) == {status}
    assert not is_keyed(world)
    assert not world["bad"].is_attached
    assert world["bad"].eui64 not in world.hub.keys.keyed


@pytest.mark.parametrize("conduct", ["wrong-issuer", "off-curve", "silent-after-initiate"])
def test_the_hub_is_soon_rid_of_it_and_the_device_tries_once_an_hour_in_the_end(conduct):
    world = world_with(conduct, "suites = [1]")
    world.run(4 * 3600.0)
    before = len(world.said("keys.started", "bad"))
    world.run(6 * 3600.0)
    later = len(world.said("keys.started", "bad")) - before

    assert before >= 5
    assert 5 <= later <= 7 * 5  # within one effort the machine tries five times
    world["bad"].power_off()
    world.run(60.0)
    assert not world.hub.keys.machine.is_busy_with(world["bad"].eui64)
    assert world.hub.keys.machine.timer() is None


def test_a_device_that_misses_the_last_command_runs_the_exchange_again_and_the_hub_follows():
    world = world_with("deaf-to-confirm-key")
    serve_the_other(world)
    world.run(300.0)
    keys = [
        event.link_key
        for event in world.hub.keys.events
        if isinstance(event, Established) and event.peer == world["bad"].eui64
    ]

    assert len(keys) >= 2
    assert world.hub.node.trust.link_keys[world["bad"].eui64].key == keys[-1]
    assert not is_keyed(world)
    assert not world["bad"].is_attached


def test_a_slow_device_gets_there_as_it_announces_how_long_it_takes():
    world = world_with("slow")
    serve_the_other(world)
    world.run(60.0)

    assert is_keyed(world)
    assert world["bad"].is_attached
    assert failures(world) == set()


def test_a_device_that_is_too_late_gets_no_key_and_harms_nobody():
    world = world_with("too-late")
    serve_the_other(world)
    world.run(1200.0)

    assert not is_keyed(world)
    assert None in failures(world)


def test_a_device_that_asks_twice_at_once_gets_one_key():
    world = world_with("twice")
    world.run_until("device.attached", "bad", within=30.0)
    asked = [
        frame
        for message in world.hub.heard
        if message.cluster == KEY_ESTABLISHMENT_CLUSTER
        and (frame := ZclFrame.parse(message.payload)).command_id == 0
    ]

    assert len(asked) == 2
    assert asked[0].sequence != asked[1].sequence
    assert len([event for event in world.hub.keys.events if isinstance(event, Established)]) == 1
    serve_the_other(world)


def test_a_device_of_suite_1_alone_is_told_so_by_a_hub_of_suite_2_alone():
    world = World(home_with(ppmid("bad", 0xA4, BAD, "suites = [1]")), hub_suites=(2,))
    world.hub.form()
    world.hub.admit_everyone()
    world["bad"].power_on()
    failed = world.run_until("keys.failed", "bad", within=30.0)

    assert "UNSUPPORTED_SUITE" in failed.why
    assert not is_keyed(world)


def test_every_conduct_that_a_home_can_ask_for_is_tried_here():
    assert set(REFUSED) | {"honest", "deaf-to-confirm-key", "slow", "too-late", "twice"} == {
        conduct.value for conduct in Conduct
    }


@pytest.mark.parametrize("curve", [SECT163K1, SECT283K1], ids=lambda curve: curve.name)
def test_what_is_off_the_curve_is_refused_by_it(curve):
    octets = off_curve(curve.encode(curve.generator))

    assert len(octets) == curve.point_size
    with pytest.raises(PointError):
        curve.decode(octets)
