"""Whatever a device of a house is sent, it goes on: no exception escapes, nothing of what it is changes."""

from __future__ import annotations

import random

import pytest
from house_world import World, home_with, image_for

from han.sim.node.service import Received
from han.zcl import (
    BASIC_CLUSTER,
    KEY_ESTABLISHMENT_CLUSTER,
    OTA_CLUSTER,
    SMART_ENERGY_PROFILE,
    TUNNELLING_CLUSTER,
    ZclFrame,
)

NEW = 0x00020000
FRAMES = 10_000
CLUSTERS = (
    BASIC_CLUSTER,
    OTA_CLUSTER,
    TUNNELLING_CLUSTER,
    KEY_ESTABLISHMENT_CLUSTER,
    0x000A,
    0x0025,
    0x0700,
    0x0702,
)

DEVICE = """
[[devices]]
kind = "GSME"
name = "gsme"
eui64 = "00-DB-12-34-56-78-90-A4"
install_code = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
image_type = 0x0021
file_version = 0x00010000
first_query_within = 1
"""


def rubbish(dice: random.Random, seen: list[bytes]) -> bytes:
    """Octets out of nothing, or a message that was seen with some of them changed, lost or added."""
    if dice.random() < 0.3:
        return dice.randbytes(dice.randrange(90))
    octets = bytearray(dice.choice(seen))
    for _ in range(dice.randrange(1, 4)):
        match dice.randrange(3):
            case 0 if octets:
                octets[dice.randrange(len(octets))] = dice.randrange(256)
            case 1:
                del octets[dice.randrange(len(octets) + 1) :]
            case _:
                octets += dice.randbytes(dice.randrange(1, 8))
    return bytes(octets)


@pytest.mark.parametrize("is_secured", [False, True], ids=["in plain", "under the link key"])
def test_ten_thousand_frames_of_rubbish_change_nothing(is_secured):
    world = World(home_with(DEVICE))
    world.move_in()
    gsme = world["gsme"]
    seen = [message.payload for message in world.hub.heard]
    key, store = gsme.memory.established_key, gsme.memory.node
    before = (dict(store.link_keys), store.network, gsme.file_version)
    dice = random.Random(f"rubbish {is_secured}")
    for number in range(FRAMES):
        payload = rubbish(dice, seen)
        cluster = dice.choice(CLUSTERS)
        gsme.node.on_message(
            Received(
                source=0x0000,
                source_eui64=world.hub.node.eui64,
                profile=SMART_ENERGY_PROFILE,
                cluster=cluster,
                source_endpoint=3,
                destination_endpoint=1,
                payload=payload,
                aps_secured=is_secured,
                broadcast=dice.random() < 0.1,
                lqi=255,
                rssi=-40,
                aps_counter=number & 0xFF,
                ack_requested=True,
            )
        )
        world.run(0.2)
    world.run(120.0)

    assert (dict(store.link_keys), store.network, gsme.file_version) == before
    assert gsme.memory.established_key == key
    assert gsme.is_attached
    assert len(gsme._smart_energy._questions._waiting) <= 8
    assert ZclFrame.parse(seen[0])
    world.hub.offer(image_for(world, "gsme", version=NEW), "gsme")
    world.run_until("ota.held", "gsme", within=7 * 3600.0)
