"""A device on the Home Automation profile: what hosts that know no Smart Energy are given to work with."""

from __future__ import annotations

import pytest
from house_world import World, home_with, image_for

from han.sim.node.service import SendRequest
from han.zcl import (
    BASIC_CLUSTER,
    HOME_AUTOMATION_PROFILE,
    OTA_CLUSTER,
    SMART_ENERGY_PROFILE,
    TUNNELLING_CLUSTER,
    ReadAttributes,
    RequestTunnel,
    decode_global,
    encode_global,
    encode_tunnel,
)
from ota.server import TransferCompleted
from ota.status import Status

NEW = 0x00020000

DISPLAY = """
[[devices]]
kind = "PPMID"
profile = "home-automation"
name = "display"
eui64 = "00-DB-12-34-56-78-90-A4"
install_code = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
image_type = 0x0084
file_version = 0x00010000
first_query_within = 1
"""


@pytest.fixture
def world() -> World:
    world = World(home_with(DISPLAY), profile=HOME_AUTOMATION_PROFILE)
    world.move_in()
    return world


def test_it_finds_the_ota_server_of_its_own_profile(world):
    assert world.said("device.attached", "display")[-1].endpoint == 3


def test_it_finds_no_ota_server_of_smart_energy():
    world = World(home_with(DISPLAY), profile=SMART_ENERGY_PROFILE)
    world.hub.form()
    world.hub.admit_everyone()
    world.house.power_on()
    world.run_until("device.no-server", "display", within=60.0)

    assert not world["display"].is_attached


def test_it_describes_itself_as_a_home_automation_device_without_a_tunnel(world):
    described = world["display"].node.endpoints[1]

    assert described.profile == HOME_AUTOMATION_PROFILE
    assert described.input_clusters == (BASIC_CLUSTER,)
    assert described.output_clusters == (OTA_CLUSTER,)


def test_it_downloads_an_image_and_runs_it(world):
    data = image_for(world, "display", version=NEW)
    world.hub.offer(data, "display")
    world.run_until("device.attached", "display", within=300.0)

    assert world["display"].file_version == NEW
    assert sum(block.size for block in world.said("ota.block", "display")) == len(data)
    assert any(isinstance(event, TransferCompleted) for event in world.hub.events)


def test_it_tells_its_model_to_who_reads_it(world):
    nwk = world["display"].node.nwk
    world.hub.send(nwk, BASIC_CLUSTER, encode_global(ReadAttributes((5,)), world.hub.sequence()))
    world.run(2.0)

    records = decode_global(world.hub.global_answers[-1]).records
    assert [(record.status, record.value) for record in records] == [(Status.SUCCESS, "PPMID")]


def test_a_range_extender_may_speak_home_automation_too():
    extender = DISPLAY.replace('"PPMID"', '"ROUTER"').replace("display", "landing")
    world = World(home_with(DISPLAY + extender.replace("90-A4", "90-01")), profile=HOME_AUTOMATION_PROFILE)
    world.move_in()

    assert world["landing"].node.endpoints[1].profile == HOME_AUTOMATION_PROFILE


def test_it_opens_no_tunnel_and_refuses_one(world):
    world.run(3600.0)
    assert not world.hub.tunnels.numbers

    nwk = world["display"].node.nwk
    question = encode_tunnel(RequestTunnel(6, 0xFFFF, False, 1500), world.hub.sequence())
    world.hub.send(nwk, TUNNELLING_CLUSTER, question)
    world.run(2.0)

    answer = decode_global(world.hub.global_answers[-1])
    assert answer.status is Status.UNSUP_CLUSTER_COMMAND


def test_a_message_of_smart_energy_is_not_for_it(world):
    nwk = world["display"].node.nwk
    read = encode_global(ReadAttributes((5,)), world.hub.sequence())
    world.hub.node.send(SendRequest(nwk, SMART_ENERGY_PROFILE, BASIC_CLUSTER, 3, 1, read), lambda _: None)
    world.run(2.0)

    assert not world.hub.global_answers
    assert "0x0109" in world.said("frame.dropped", "display")[-1].why
