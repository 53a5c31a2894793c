"""The hub's pump for key establishment, with a device's machine at the other end of a line."""

from __future__ import annotations

import asyncio
import random

import pytest

from han.errors import HanError
from han.establishment import WAITING_AT_MOST, Agreed, EntropyDice, Establishment, Hands, NotAgreed
from han.facts import Facts
from han.security.key_establishment import (
    Established,
    Failed,
    KeyEstablishment,
    Send,
    Settings,
    TerminateStatus,
)
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from han.zcl import ZclFrame, decode_key_establishment, encode_key_establishment
from ota.eui64 import Eui64

HUB = Eui64.parse("00-DB-12-34-56-78-90-A2")
METER = Eui64.parse("00-DB-12-34-56-78-90-A1")


class World:
    """A hub, a meter, and a line between them that takes 10 ms and may break."""

    def __init__(self, *suites: Suite) -> None:
        self.loop = asyncio.get_running_loop()
        self.facts = Facts(self.loop.time)
        self.said = []
        self.facts.subscribe(self.said.append)
        self.told = []
        self.kept = {}
        self.order = []
        self.breaks = self.has_no_room = False
        self.meter = KeyEstablishment([lab_credentials(METER)], Settings(), random.Random(1))
        self.events = []
        own = [lab_credentials(HUB, suite) for suite in suites]
        hands = Hands(self._send, self._keep, self.told.append)
        self.hub = Establishment(own, Settings(), random.Random(2).randbytes, hands, self.facts)

    async def _send(self, peer: Eui64, zcl: bytes) -> None:
        assert peer == METER
        await asyncio.sleep(0.01)
        if self.breaks:
            raise HanError("no acknowledgement")
        frame = ZclFrame.parse(zcl)
        self.order.append(type(decode_key_establishment(frame)).__name__)
        self.meter.receive(HUB, decode_key_establishment(frame), frame.sequence, self.loop.time())
        self.settle()

    async def _keep(self, peer: Eui64, key: bytes) -> None:
        await asyncio.sleep(0.02)
        if self.has_no_room:
            raise HanError("the key table is full")
        self.order.append("key kept")
        self.kept[peer] = key

    def settle(self) -> None:
        """Let the meter say what it has to say."""
        for item in self.meter.drain():
            if isinstance(item, Send):
                frame = ZclFrame.parse(encode_key_establishment(item.command, item.sequence or 7))
                self.loop.call_later(0.01, self.hub.receive, METER, frame)
            else:
                self.events.append(item)
        due = self.meter.timer()
        if due is not None:
            self.loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self.meter.tick(self.loop.time())
        if self.meter.timer() is not None:
            self.settle()

    def happened(self, kind: type) -> list[object]:
        """What became of it at the meter."""
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def world():
    made = World(Suite.TWO)
    yield made
    await made.hub.close()


async def begin(world: World) -> None:
    world.meter.initiate(HUB, world.loop.time())
    world.settle()
    await asyncio.sleep(1.0)


async def test_the_dongle_has_the_key_before_the_device_learns_that_it_is_agreed(world):
    await begin(world)

    (established,) = world.happened(Established)
    assert world.kept == {METER: established.link_key}
    assert world.told == [Agreed(METER)]
    assert world.order == ["Initiate", "EphemeralData", "key kept", "ConfirmKey"]


async def test_without_room_for_the_key_the_device_gets_no_confirmation_but_a_reason(world):
    world.has_no_room = True
    await begin(world)

    assert world.happened(Established) == []
    assert [event.status for event in world.happened(Failed)] == [TerminateStatus.NO_RESOURCES]
    assert world.told == [NotAgreed(METER, "the key table is full")]
    assert "ConfirmKey" not in world.order


async def test_the_hub_may_begin(world):
    world.hub.initiate(METER)
    world.hub.initiate(METER)  # once is enough
    await asyncio.sleep(1.0)

    (established,) = world.happened(Established)
    assert world.kept == {METER: established.link_key}
    assert len([fact for fact in world.said if fact.what == "keys.started"]) == 1


async def test_a_hub_without_certificates_begins_nothing_and_says_why_it_refuses():
    world = World()
    world.hub.initiate(METER)
    await begin(world)
    await world.hub.close()

    assert world.order == ["Terminate"]
    (trouble,) = world.told
    assert "UNSUPPORTED_SUITE" in trouble.why
    assert "has none" in trouble.why


async def test_a_line_that_breaks_is_said_and_the_exchange_ends_by_its_timer(world):
    world.breaks = True
    await begin(world)
    await asyncio.sleep(120.0)

    assert any(fact.what == "keys.unsent" for fact in world.said)
    assert {type(outcome) for outcome in world.told} == {NotAgreed}
    assert world.kept == {}


async def test_a_device_that_says_more_than_it_is_answered_loses_some_of_it(world):
    frame = ZclFrame(0x77, 1, b"")
    for _ in range(2 * WAITING_AT_MOST):
        world.hub.receive(METER, frame)
    await begin(world)

    ignored = [fact for fact in world.said if fact.what == "keys.ignored"]
    assert sum("wait already" in fact.why for fact in ignored) == WAITING_AT_MOST
    assert world.told == [Agreed(METER)]


@pytest.mark.parametrize("octets", [b"", b"\x02\x00", bytes(300)], ids=len)
@pytest.mark.parametrize("command", range(5))
async def test_what_is_no_command_harms_nobody(world, command, octets):
    world.hub.receive(METER, ZclFrame(command, 1, octets))
    await asyncio.sleep(60.0)
    await begin(world)

    assert [outcome for outcome in world.told if isinstance(outcome, Agreed)] == [Agreed(METER)]


async def test_a_hub_that_closes_in_the_middle_leaves_nothing_running(world):
    world.meter.initiate(HUB, world.loop.time())
    world.settle()
    await asyncio.sleep(0.025)
    await world.hub.close()
    before = len(world.said)
    await asyncio.sleep(100.0)

    assert len(world.said) == before
    assert world.told == []


async def test_a_device_that_is_forgotten_gets_no_answer(world):
    world.meter.initiate(HUB, world.loop.time())
    world.settle()
    await asyncio.sleep(0.025)
    world.hub.forget(METER)
    await asyncio.sleep(5.0)

    assert world.kept == {}


async def test_no_key_is_in_what_is_said(world):
    await begin(world)

    told = "".join(fact.to_json() for fact in world.said)
    assert world.kept[METER].hex() not in told
    assert [fact.what for fact in world.said] == ["keys.started", "keys.established"]


def test_dice_of_entropy_repeat_with_it_and_are_even():
    first, second = (EntropyDice(random.Random(3).randbytes) for _ in range(2))

    assert [first.randrange(1000) for _ in range(9)] == [second.randrange(1000) for _ in range(9)]
    throws = [first.random() for _ in range(2000)]
    assert all(0 <= throw < 1 for throw in throws)
    assert 0.45 < sum(throws) / len(throws) < 0.55
