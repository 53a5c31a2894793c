"""Ten thousand damaged frames at the dongle, with a fixed seed: ASH, then EZSP. Nothing breaks or grows."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable

import pytest
from dongle_world import PPMID, Desk, Host
from mutation import mutated

from han.sim.dongle import ash_frames
from han.sim.dongle.ash import Ash, Received
from han.sim.dongle.ash_frames import ResetCode
from han.sim.dongle.configuration import KEY_TABLE_SIZE
from han.sim.dongle.dialect import _zero
from han.sim.dongle.personality import plain
from ota.eui64 import Eui64

FRAMES = 10_000
VERSIONS = (4, 7, 13, 17)
CHANGES_THE_NETWORK = ("leaveNetwork", "tokenFactoryReset", "broadcastNetworkKeySwitch")
"""What these do to the network is no fault: the dongle of the test does without them."""
GROWTH = 200_000
"""Octets that the second half of the frames may leave behind: 40 for each frame."""


def growth(step: Callable[[], None], times: int) -> int:
    """How many octets the second half of so many steps left behind."""
    for _ in range(times // 2):
        step()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(times // 2):
        step()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def is_whole(octets: bytes) -> bool:
    """Whether the damage cancelled itself out, or lies outside of a frame that is whole."""
    for piece in octets.translate(None, b"\x11\x13").split(b"\x7e"):
        frame = ash_frames.unstuffed(piece.split(b"\x1a")[-1])
        if frame is not None and len(frame) > 2 and ash_frames.crc_is_right(frame):
            return True
    return False


def test_damaged_ash_frames_change_nothing():
    dice = random.Random(20_26)
    ash = Ash()
    ash.ready(ResetCode.SOFTWARE)
    ash.send(b"waiting", 0.0)
    ash.drain()
    frames = [
        ash_frames.data_frame(1, again=False, ack=1, payload=dice.randbytes(40)),
        ash_frames.data_frame(0, again=True, ack=0, payload=dice.randbytes(3)),
        ash_frames.ack_frame(1),
        ash_frames.nak_frame(1),
        ash_frames.rstack_frame(ResetCode.SOFTWARE),
        ash_frames.error_frame(ResetCode.ACK_TIMEOUTS),
    ]
    heard = []

    def step() -> None:
        # A flag on both sides: what the damage leaves behind must not become part of the next frame.
        damaged = mutated(dice.choice(frames)[:-1], dice)
        if is_whole(damaged):
            return
        ash.feed(b"\x7e" + damaged + b"\x7e", 0.0)
        heard.extend(item for item in ash.drain() if isinstance(item, Received))
        assert len(ash._partial) <= 2 * ash_frames.MAX_FRAME

    grown = growth(step, FRAMES)

    assert heard == []
    assert ash.unacknowledged == [b"waiting"]
    assert grown < GROWTH
    ash.feed(ash_frames.data_frame(0, again=False, ack=1, payload=b"still there"), 0.0)
    assert Received(b"still there") in ash.drain()


def commands_of(host: Host) -> list[tuple[int, bytes]]:
    """Every command that the firmware has, with parameters as they might be: zeros mostly."""
    known = host.desk.dongle._firmware.ezsp._commands
    for name in CHANGES_THE_NETWORK:
        if name in host.table:
            known.pop(host.table[name][0], None)
    found = []
    for name, (frame_id, request, _) in host.table.items():
        if frame_id in known and known[frame_id].name == name:
            parameters = b"".join(_zero(kind) for kind in request.values()) if request else b""
            found.append((frame_id, parameters))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_damaged_ezsp_commands_end_in_answers_and_the_network_is_as_it_was(version):
    dice = random.Random(version)
    desk = Desk(plain(version))
    host = Host(desk, version).ready()
    host.expect_device()
    commands, node = commands_of(host), desk.node
    assert len(commands) > 40
    network, security = node.network, desk.dongle.flash.security
    desk.facts.subscribe(lambda _: desk.told.clear())

    def step() -> None:
        frame_id, parameters = dice.choice(commands)
        host.start(mutated(host._header(frame_id) + parameters + dice.randbytes(dice.randrange(12)), dice))
        desk.run(0.01)
        host.frames.clear()
        host.order.clear()
        host.callbacks.clear()
        host._answers.clear()

    grown = growth(step, FRAMES // len(VERSIONS))

    assert (node.network, desk.dongle.flash.security) == (network, security)
    rows = desk.dongle._firmware.configuration[KEY_TABLE_SIZE]
    assert len(desk.dongle.flash.link_keys) <= rows
    assert len(node.trust.transient) <= desk.dongle.personality.transient_keys
    assert list(node.endpoints) == [1]
    assert grown < GROWTH
    desk.run(30.0)
    assert host.call("networkState")["status"] == 2
    assert Eui64.from_wire(host.call("getEui64")["eui64"].serialize()) != PPMID
