"""Ten thousand damaged fragments, with a fixed seed: nothing breaks, nothing grows, messages still pass."""

from __future__ import annotations

import random

import pytest
from dongle_world import OTA_CLUSTER, SE_PROFILE, Desk, Host, join_device
from mutation import mutated
from node_neighbourhood import OTA, SMART_ENERGY, Neighbourhood

from han.sim.dongle.frames import SEND_REPLY, SEND_UNICAST
from han.sim.dongle.personality import plain
from han.sim.node.service import SendStatus
from han.sim.wire.aps import ApsFrame, Fragment, FragmentKind, FrameType, seal
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk import NwkFrame

FRAMES = 10_000
LONG = random.Random(1).randbytes(1200)


def originals() -> list[bytes]:
    """Fragments and acknowledgements of fragments as they should be."""
    frame = ApsFrame(FrameType.DATA, 9, 1, OTA, SMART_ENERGY, 1, bytes(60), ack_request=True)
    kinds = [
        frame._replace(fragment=Fragment(FragmentKind.FIRST, 5)),
        frame._replace(fragment=Fragment(FragmentKind.LATER, 3)),
        frame._replace(fragment=Fragment(FragmentKind.LATER, 4), security=True),
        frame._replace(type=FrameType.ACK, ack_request=False, fragment=Fragment(FragmentKind.LATER, 3, 0xFF)),
    ]
    return [kind.to_bytes() for kind in kinds]


def sealed(device, hub, dice: random.Random) -> bytes:
    """Nonsense of somebody who has a link key: well sealed, and any block of any count."""
    fragment = Fragment(dice.choice(list(FragmentKind)), dice.randrange(256), dice.randrange(256))
    frame = ApsFrame(
        dice.choice((FrameType.DATA, FrameType.ACK)),
        dice.randrange(256),
        dice.choice((0, 1, 1, 1)),
        OTA,
        SMART_ENERGY,
        1,
        bytes(dice.randrange(61)),
        ack_request=dice.random() < 0.9,
        fragment=fragment,
    )
    key, counter = device.store.link_keys[hub.eui64].key, device.store.link_counter.take()
    return seal(frame, key, counter, device.eui64, extended_nonce=dice.random() < 0.5)


@pytest.mark.parametrize("host_fragments", [False, True])
def test_a_node_survives_damaged_fragments_of_somebody_who_has_the_network_key(host_fragments):
    street = Neighbourhood(7)
    hub, device = street.hub(), street.node("ppmid")
    assert street.join(hub, device).ok
    street.facts.subscribe(lambda fact: street.heard.clear())  # ten thousand facts are of no use
    hub.host_fragments = host_fragments
    dice, originals_ = random.Random(20_26), originals()
    before = list(hub.store.link_keys), hub.store.to_dict()["network"]
    for _ in range(FRAMES):
        payload = mutated(dice.choice(originals_), dice)
        if dice.random() < 0.3:
            payload = sealed(device, hub, dice)
        frame = NwkFrame(NwkFrameType.DATA, 0x0000, dice.choice((device.nwk, 0x4242)), 30, 1, payload, True)
        hub._aps.receive(frame, device.eui64, 255, -40)
        assert len(hub._aps._fragmentation._reassembly) <= 8
        street.timeline.run(street.timeline.now + 0.01)
        street.messages["hub"].clear()
    street.timeline.run(street.timeline.now + 60.0)

    assert (list(hub.store.link_keys), hub.store.to_dict()["network"]) == before
    assert len(hub._aps._fragmentation._reassembly) == 0
    hub.host_fragments = False
    assert street.send(device, hub, LONG, aps_security=True) is SendStatus.OK
    assert street.messages["hub"][-1].payload == LONG


@pytest.mark.parametrize("version", [13, 17], ids=["v13", "v17"])
def test_a_dongle_survives_damaged_commands_about_fragments(version):
    host = Host(Desk(plain(ezsp=version)), version).ready()
    host.expect_device()
    device, heard = join_device(host.desk)
    dice = random.Random(20_26)
    ours = (device.nwk or 0).to_bytes(2, "little")
    aps = (
        SE_PROFILE.to_bytes(2, "little") + OTA_CLUSTER.to_bytes(2, "little") + bytes.fromhex("01014080000209")
    )
    tag = b"\x07" if version < 14 else b"\x07\x00"
    commands = [
        (SEND_UNICAST, b"\x00" + ours + aps + tag + b"\x05hello"),
        (SEND_REPLY, ours + aps + b"\x00"),
    ]
    for _ in range(FRAMES):
        frame_id, parameters = dice.choice(commands)
        host.start(host._header(frame_id) + mutated(parameters, dice))
        host.desk.run(0.02)
        host.callbacks.clear()
    host.desk.run(60.0)

    assert len(host._answers) == 256  # each sequence number was answered, in every round
    assert len(host.desk.dongle._firmware.messaging._fragments) <= 1
    heard.clear()
    host.answered(host.start(host.unicast(device.nwk or 0, b"still there?")))
    host.desk.run(1.0)
    assert [message.payload for message in heard] == [b"still there?"]
