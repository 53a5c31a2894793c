"""What a device answers over the air to OTA commands that are not for it to obey."""

from __future__ import annotations

import pytest
from house_world import World

from han.sim.node.service import Received, SendRequest
from han.zcl import OTA_CLUSTER, SMART_ENERGY_PROFILE, ZclFrame, encode_ota
from ota.commands import DefaultResponse, ImageBlockResponse, ImageNotify, QueryNextImageRequest
from ota.status import Status


@pytest.fixture
def world() -> World:
    world = World()
    world.move_in()
    return world


def answers(world: World, octets: bytes, *, nwk: int | None = None) -> list[ZclFrame]:
    """The default responses on the OTA cluster that a frame from the hub brings back."""
    before = len(world.hub.heard)
    world.hub.send(world["ppmid"].node.nwk if nwk is None else nwk, OTA_CLUSTER, octets)
    world.run(2.0)
    frames = [
        ZclFrame.parse(received.payload)
        for received in world.hub.heard[before:]
        if received.cluster == OTA_CLUSTER
    ]
    return [frame for frame in frames if not frame.is_cluster_command]


def test_a_command_that_ends_early_is_malformed(world):
    (answer,) = answers(world, ZclFrame(0x05, 77, b"\x00\x1d", from_server=True).to_bytes())

    assert (answer.sequence, answer.payload) == (77, bytes((0x05, Status.MALFORMED_COMMAND)))
    assert not answer.from_server


def test_a_command_that_nobody_knows_is_unsupported(world):
    (answer,) = answers(world, ZclFrame(0x0A, 77, b"", from_server=True).to_bytes())

    assert answer.payload == bytes((0x0A, Status.UNSUP_CLUSTER_COMMAND))


def test_a_command_for_a_server_is_answered_as_by_a_server(world):
    (answer,) = answers(world, encode_ota(QueryNextImageRequest(0x121D, 0x0084, 1), 77))

    assert answer.payload == bytes((0x01, Status.UNSUP_CLUSTER_COMMAND))
    assert answer.from_server


def test_a_manufacturer_s_own_command_is_unsupported_and_the_answer_names_the_manufacturer(world):
    frame = ZclFrame(0x05, 77, b"", from_server=True, manufacturer=0x1234)
    (answer,) = answers(world, frame.to_bytes())

    assert answer.payload == bytes((0x05, 0x83))
    assert answer.manufacturer == 0x1234


def test_a_broadcast_that_is_malformed_is_not_answered(world):
    assert answers(world, ZclFrame(0x00, 77, b"\x04\x64", from_server=True).to_bytes(), nwk=0xFFFD) == []


@pytest.mark.parametrize(
    ("command", "is_answered"),
    [
        (ImageBlockResponse(0x121D, 0x0084, 2, 0, b"x"), True),
        (ImageNotify(), False),
        (DefaultResponse(0x03, Status.ABORT), False),
    ],
)
def test_another_node_is_not_authorised_to_serve_images(world, command, is_answered):
    stranger, device = world["hcalcs"].node, world["ppmid"]
    heard: list[Received] = []
    stranger.on_message = heard.append
    request = SendRequest(device.node.nwk, SMART_ENERGY_PROFILE, OTA_CLUSTER, 1, 1, encode_ota(command, 77))
    stranger.send(request, lambda _: None)
    world.run(2.0)

    refused = [ZclFrame.parse(received.payload).payload for received in heard]
    assert refused == ([bytes((command.COMMAND_ID, Status.NOT_AUTHORIZED))] if is_answered else [])
