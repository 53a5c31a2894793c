"""Short messages under way: turns, tags, fates and times, on a dongle that does as it is told."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from bellows.exception import InvalidCommandError
from bellows.ezsp import EZSP
from bellows.types import EmberStatus, sl_Status
from zigpy.exceptions import ControllerException, DeliveryError

from han.short_messages import PER_DEVICE, REPORT_WITHIN, ShortMessages
from han.unicast_frames import FRAGMENT, Sent

ROOM = 8
PPMID, GSME = 0x1234, 0x5678


class FakeDongle:
    """Takes one command at a time, and reports on messages when the test says so."""

    def __init__(self, version: int = 13) -> None:
        self.ezsp_version = version
        self.taken: list[tuple[int, int, bytes]] = []
        """Address, tag and payload of each message, in order."""
        self.answers: deque[object] = deque()
        """What the next commands are answered with; OK if there is nothing."""
        self.latency = 0.001
        self.commands_at_once = 0

    async def _command(self, name: str, octets: bytes) -> tuple[object, int]:
        assert name == "sendUnicast"
        assert self.commands_at_once == 0, "EZSP has one command at a time"
        self.commands_at_once += 1
        is_new = self.ezsp_version >= 14
        nwk = int.from_bytes(octets[1:3], "little")
        tag = int.from_bytes(octets[14 : 16 if is_new else 15], "little")
        self.taken.append((nwk, tag, octets[17 if is_new else 16 :]))
        await asyncio.sleep(self.latency)
        self.commands_at_once -= 1
        answer = self.answers.popleft() if self.answers else EmberStatus.SUCCESS
        if isinstance(answer, Exception):
            raise answer
        return answer, 0


class World:
    """Short messages on a fake dongle, and what was told of them."""

    def __init__(self, version: int = 13) -> None:
        self.dongle: FakeDongle | None = FakeDongle(version)
        self.tag = 0
        self.told: dict[str, Exception | None] = {}
        self.messages = ShortMessages(dongle=lambda: self.dongle, next_tag=self.next_tag, room=lambda: ROOM)

    def next_tag(self) -> int:
        self.tag = (self.tag + 1) % 256
        return self.tag

    def post(self, name: str, nwk: int = PPMID):
        return self.messages.post(
            nwk, 0x0109, 0x0019, (1, 3), 0x0140, name.encode(), lambda error: self.told.update({name: error})
        )

    @property
    def taken(self) -> list[str]:
        """What the dongle was given, in order."""
        return [payload.decode() for _, _, payload in self.dongle.taken]

    def report(self, name: str, status: int = 0) -> bool:
        """Let the dongle say what became of a message."""
        nwk, tag, _ = next(each for each in self.dongle.taken if each[2] == name.encode())
        return self.messages.was_sent(Sent(nwk, 0x0140, tag, status, b""))


@pytest.fixture
async def world(rebound):
    world = World()
    yield world
    world.messages.stop()


async def test_a_message_is_told_delivered_once_its_report_comes_and_not_before(world):
    world.post("one")
    await asyncio.sleep(1)
    assert (world.taken, world.told) == (["one"], {})

    assert world.report("one")
    assert world.told == {"one": None}
    assert not world.report("one"), "a second report on a message is about none of ours"


async def test_the_next_message_does_not_wait_for_the_report_on_the_last(world):
    for name in ("one", "two", "three"):
        world.post(name)
    await asyncio.sleep(1)

    assert world.taken == ["one", "two", "three"]


async def test_a_device_has_so_many_under_way_and_the_others_wait_in_order_without_holding_up_the_house(
    world,
):
    names = [f"to the PPMID {number}" for number in range(PER_DEVICE + 2)]
    for name in names:
        world.post(name)
    world.post("to the GSME", GSME)
    await asyncio.sleep(1)
    assert world.taken == [*names[:PER_DEVICE], "to the GSME"]

    world.report(names[1])
    await asyncio.sleep(1)
    assert world.taken[PER_DEVICE + 1 :] == [names[PER_DEVICE]]


async def test_a_dongle_is_given_no_more_than_it_has_room_for(world):
    devices = range(0x2000, 0x2000 + ROOM + 3)
    for nwk in devices:
        world.post(str(nwk), nwk)
    await asyncio.sleep(1)
    assert len(world.taken) == ROOM

    world.report(str(devices[3]))
    world.report(str(devices[4]))
    await asyncio.sleep(1)
    assert world.taken == [str(nwk) for nwk in devices[: ROOM + 2]]


@pytest.mark.parametrize(
    ("version", "told", "status"),
    [
        (13, EmberStatus.DELIVERY_FAILED, sl_Status.ZIGBEE_DELIVERY_FAILED),
        (17, sl_Status.ZIGBEE_DELIVERY_FAILED, sl_Status.ZIGBEE_DELIVERY_FAILED),
    ],
)
async def test_a_failed_delivery_is_told_with_its_status_in_the_words_of_any_version(
    rebound, version, told, status
):
    world = World(version)
    world.post("one")
    await asyncio.sleep(1)
    world.report("one", int(told))

    assert isinstance(world.told["one"], DeliveryError)
    assert world.told["one"].status == status
    world.messages.stop()


@pytest.mark.parametrize(
    "answer",
    [EmberStatus.MAX_MESSAGE_LIMIT_REACHED, InvalidCommandError("no such command"), RuntimeError("a bug")],
    ids=repr,
)
async def test_a_message_that_the_dongle_does_not_take_fails_and_the_next_one_goes_out(world, answer):
    world.dongle.answers.append(answer)
    world.post("one")
    world.post("two")
    await asyncio.sleep(1)

    assert isinstance(world.told["one"], DeliveryError if isinstance(answer, EmberStatus) else type(answer))
    assert world.taken == ["one", "two"]
    assert world.report("two")


async def test_a_report_before_the_answer_to_its_command_counts(world):
    world.dongle.latency = 1.0
    world.post("one")
    await asyncio.sleep(0.5)

    assert world.report("one")
    await asyncio.sleep(1)
    assert world.told == {"one": None}


async def test_a_message_without_a_report_is_given_up_and_makes_room(world):
    for number in range(PER_DEVICE + 1):
        world.post(str(number))
    await asyncio.sleep(REPORT_WITHIN - 0.1)
    assert world.told == {}
    await asyncio.sleep(0.2)

    assert [type(error) for error in world.told.values()] == [TimeoutError] * PER_DEVICE
    await asyncio.sleep(1)
    assert world.taken[-1] == str(PER_DEVICE)


async def test_two_messages_under_way_to_a_device_never_share_a_tag(world):
    world.post("slow")
    await asyncio.sleep(0.1)
    for number in range(600):  # the tags come round twice in the time of one message
        world.post(str(number))
        await asyncio.sleep(0.005)
        assert world.report(str(number))

    assert world.told.pop("slow", "under way") == "under way"
    assert set(world.told.values()) == {None}
    assert world.report("slow")


async def test_a_cancelled_message_is_not_sent_if_it_waits_and_never_told_of(world):
    under_way = world.post("under way")
    await asyncio.sleep(0.1)
    for number in range(PER_DEVICE):
        world.post(str(number)).cancel()
    under_way.cancel()
    world.report("under way")
    world.post("after")
    await asyncio.sleep(1)

    assert world.taken == ["under way", "after"]
    assert world.told == {}


async def test_a_report_on_a_fragment_or_on_a_message_of_somebody_else_is_not_taken(world):
    world.post("one")
    await asyncio.sleep(1)
    ((nwk, tag, _),) = world.dongle.taken

    assert not world.messages.was_sent(Sent(nwk, FRAGMENT, tag, 0, b""))
    assert not world.messages.was_sent(Sent(nwk, 0, tag + 1, 0, b""))
    assert not world.messages.was_sent(Sent(GSME, 0, tag, 0, b""))
    assert world.told == {}


async def test_when_the_dongle_goes_everything_fails_and_whatever_comes_after(world):
    for number in range(PER_DEVICE + 3):
        world.post(str(number))
    world.post("elsewhere", GSME)
    await asyncio.sleep(0.1)
    world.messages.stop()
    world.post("later")
    assert world.told == {}, "nobody is told from inside his own call"
    await asyncio.sleep(0.1)

    assert {type(error) for error in world.told.values()} == {ControllerException}
    assert len(world.told) == PER_DEVICE + 5


async def test_a_dongle_that_was_only_reset_is_sent_to_again(world):
    world.post("one")
    await asyncio.sleep(1)
    world.messages.stop()
    world.messages.take_over(EZSP._BY_VERSION[13](lambda *_: None, None))
    world.post("two")
    await asyncio.sleep(1)

    assert world.taken == ["one", "two"]
    assert world.report("two")
    assert {name: type(error) for name, error in world.told.items()} == {
        "one": ControllerException,
        "two": type(None),
    }


async def test_without_a_dongle_a_message_fails(world):
    world.dongle = None
    world.post("one")
    await asyncio.sleep(1)

    assert isinstance(world.told["one"], ControllerException)


async def test_ten_thousand_messages_leave_nothing_behind(world):
    for number in range(10_000):
        world.post(str(number), PPMID + number % 3)
        await asyncio.sleep(0.002)
        world.messages.was_sent(Sent(*world.dongle.taken[-1][:1], 0, world.dongle.taken[-1][1], 0, b""))
    messages = world.messages

    assert len(world.told) == 10_000
    assert [messages._under_way, [*messages._ready], messages._waiting, messages._shares] == [{}, [], {}, {}]
    assert len(messages._deadlines) <= 1
