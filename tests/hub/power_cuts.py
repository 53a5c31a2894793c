"""Every way in which the power can go during a story, and what must hold whichever it was.

A case is a story and one cut, or two of which the second comes while the hub recovers from the first. The
operations of the disk are counted in a run without a cut; the cases are made from them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hub_faulty_disk import AMID, Cut, FaultyDisk, Operation, Place, PowerCutError, Survives
from hub_world import HUB, World

from han.clock import virtual_loop_factory
from han.gbcs.envelope import Envelope
from hub.errors import SurroundingsError
from hub.flash import FlashError
from hub.messages import Alert, HeldImage
from hub.mqtt import BrokerError
from ota.eui64 import Eui64

SETTLING = 120.0
"""Seconds after a story in which nothing more may be told."""
DARK = 20.0
"""Seconds without power."""
RECOVERY = 24
"""Operations after a restart in which a second cut is tried; no restart has more."""
SURVIVING = (Survives.ALL, Survives.NOTHING, Survives.NAMES, Survives.OCTETS, Survives.LAST_NAME)

Expected = Counter[tuple[Eui64, str, int | None]]


@dataclass(frozen=True, slots=True)
class Story:
    """What is told, to which devices, and what must come of it: alerts, each once, and what runs at last."""

    name: str
    tell: Callable[[World], Awaitable[None]]
    devices: tuple[Eui64, ...]
    alerts: Expected
    versions: dict[Eui64, int]
    downloads: dict[Eui64, int]


class PromiseBroken(AssertionError):  # noqa: N818 - it says what happened
    """Something that must hold did not."""


def cases(operations: Sequence[Operation]) -> Iterator[Cut]:
    """Every single cut: before, amid and after each operation, and whatever may survive of it then."""
    for number, operation in enumerate(operations, 1):
        if operation.kind in {"read", "names"}:
            yield Cut(number, Place.BEFORE, Survives.NOTHING)
            continue
        for place in (Place.BEFORE, Place.AFTER):
            for survives in SURVIVING:
                yield Cut(number, place, survives)
        if operation.can_tear:
            for place in AMID:
                survivors = (Survives.ALL, Survives.NOTHING)
                if operation.kind in {"sync", "sync_names"}:  # what is amid these is what becomes safe
                    survivors = (Survives.NOTHING,)
                for survives in survivors:
                    yield Cut(number, place, survives)


def second_cuts(many: int = RECOVERY) -> Iterator[Cut]:
    """A cut at each of the first operations after the power came back."""
    for number in range(1, many + 1):
        for place, survives in (
            (Place.BEFORE, Survives.NOTHING),
            (Place.AMID_HALF, Survives.ALL),
            (Place.AFTER, Survives.NOTHING),
            (Place.AFTER, Survives.ALL),
            (Place.AFTER, Survives.LAST_NAME),
        ):
            yield Cut(number, place, survives)


@dataclass(frozen=True, slots=True)
class Lived:
    """What a story did when it was told: operations of the disk, and frames on the air."""

    operations: list[Operation]
    frames: int


def live_through(
    story: Story,
    cuts: Sequence[Cut] = (),
    disk_type: type[FaultyDisk] = FaultyDisk,
    *,
    at_frame: int | None = None,
    full_from: int | None = None,
) -> Lived:
    """Tell a story with these cuts, with one at this frame on the air, or on a disk that fills up.

    From the operation ``full_from`` on the disk takes nothing more, nor does it at the first restart then.

    Raises:
        PromiseBroken: with the case and what did not hold.
    """
    # On a loop of its own: what a crash leaves undone must not be there for the next case.
    with asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
        return runner.run(_live_through(story, disk_type, _Trouble(cuts, at_frame, full_from)))


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What happens during a story."""

    cuts: Sequence[Cut]
    at_frame: int | None
    full_from: int | None

    def __str__(self) -> str:
        words = [str(cut) for cut in self.cuts]
        words += [] if self.at_frame is None else [f"at frame {self.at_frame}"]
        words += [] if self.full_from is None else [f"full from operation {self.full_from} on"]
        return "; then ".join(words) or "no cut"


async def _live_through(story: Story, disk_type: type[FaultyDisk], trouble: _Trouble) -> Lived:
    disk = disk_type(random.Random(f"{story.name}, {trouble}"))
    with tempfile.TemporaryDirectory(prefix="gbhan-") as folder:
        async with World(Path(folder), disk) as world:
            return await _told(world, story, trouble)


async def _told(world: World, story: Story, trouble: _Trouble) -> Lived:
    cuts, case = trouble.cuts, f"{story.name}, {trouble}"
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: (
            None
            if isinstance(context.get("exception"), PowerCutError | FlashError)
            else loop.default_exception_handler(context)
        )
    )
    has_died = asyncio.Event()

    def die() -> None:
        world.hub.halt()
        give_up()

    def give_up() -> None:
        world.house.ears = None
        has_died.set()

    await world.start()
    await world.join(*story.devices)
    began = len(world.disk.operations), world.house.frames
    world.disk.on_cut = die
    world.disk.cut(*cuts)
    world.house.on_frame = lambda number: die() if number - began[1] == trouble.at_frame else None
    if trouble.full_from is not None:
        world.disk.fill_up(trouble.full_from)
        world.facts.subscribe(lambda fact: give_up() if fact.what == "flash.refused" else None)
    supply = asyncio.create_task(_supply(world, has_died))
    telling = asyncio.create_task(_tell(world, story))
    try:
        await asyncio.wait({supply, telling}, return_when=asyncio.FIRST_COMPLETED)
        if supply.done():
            supply.result()
        telling.result()
        _judge(world, story)
        if trouble.full_from is not None:
            said = world.whys("flash.refused")
            _hold(bool(said) and all("free some space" in why for why in said), "the hub says what to do")
        if len(cuts) == 1:
            _hold(not world.disk.awaits_cuts, "the cut came")
        return Lived(world.disk.operations[began[0] :], world.house.frames - began[1])
    except PromiseBroken as broken:
        raise PromiseBroken(f"{case}: not kept: {broken}") from broken
    except TimeoutError as error:
        raise PromiseBroken(f"{case}: not kept: the story comes to its end") from error
    finally:
        for task in (supply, telling):
            task.cancel()
        await asyncio.gather(supply, telling, return_exceptions=True)


async def _tell(world: World, story: Story) -> None:
    await story.tell(world)
    await asyncio.sleep(SETTLING)


async def _supply(world: World, has_died: asyncio.Event) -> None:
    """A power supply that comes back after a while, as often as needed."""
    while True:
        await has_died.wait()
        await world.hub.crash()
        if world.running is not None:
            with contextlib.suppress(PowerCutError, FlashError, BaseExceptionGroup):
                await world.stop()
        world.running = None
        has_died.clear()
        if not world.disk.is_full:
            world.disk.power_back()
        elif world.disk.restarts_when_full:
            world.disk.restarts_when_full -= 1
        else:
            world.disk.is_full = False
        _images_are_whole(world)
        await asyncio.sleep(DARK)
        try:
            many = await _started(world)
        except PowerCutError:
            has_died.set()
        except FlashError as error:
            _hold(world.disk.is_full, f"the hub starts again ({error})")
            has_died.set()
        except SurroundingsError as error:
            raise PromiseBroken(f"the hub starts again ({error})") from error
        else:
            _images_are_whole(world)
            _hold(many <= RECOVERY, f"second cuts are tried throughout a recovery, and this one took {many}")


async def _started(world: World) -> int:
    """Start the hub, as whoever watches over it does: again and again while the broker is away.

    Gives how many operations of the disk that took at last.
    """
    while True:
        before = len(world.disk.operations)
        try:
            await world.start()
        except BrokerError:
            world.running = None
            await asyncio.sleep(DARK)
        else:
            return len(world.disk.operations) - before


def _images_are_whole(world: World) -> None:
    """An image is on the flash with its hash, or not at all."""
    for name, file in world.disk.content().items():
        if name.endswith(".ota"):
            digest = hashlib.sha256(file).hexdigest()
            _hold(name == f"{digest}.ota", f"{name[:12]} is whole on the flash or not there")


def _judge(world: World, story: Story) -> None:
    """What must hold at the end, whatever happened to the power."""
    head_end = world.head_end
    alerts: dict[str, Alert] = {}
    for alert in head_end.alerts:
        _hold(alerts.setdefault(alert.id, alert) == alert, "an alert that is sent again is the same")
    outcomes = Counter((Eui64.parse(each.device), each.code, each.response) for each in alerts.values())
    _hold(
        outcomes == story.alerts,
        f"each alert is told once and none is forgotten: {_shown(outcomes)}, not {_shown(story.alerts)}",
    )
    raised = Counter(fact.id for fact in world.told if fact.what == "alert.raised")
    _hold(all(many == 1 for many in raised.values()), "no alert is announced twice")
    _counters_never_repeat(list(alerts.values()))
    _retention_stands(head_end.states)
    for device, version in story.versions.items():
        _hold(world.house.devices[device].version == version, f"{device} runs version {version}")
    for device, many in story.downloads.items():
        state = world.house.devices[device]
        _hold(len(state.downloads) == many, f"{device} downloads {many} image(s)")
        _hold(all(data in head_end.images.values() for data in state.downloads), "no image is mixed")
        _hold(state.offsets == sorted(set(state.offsets)), f"{device} goes on where it stood")
    memory = world.hub.custody.memory
    _hold(not memory.alerts and not memory.activations, "nothing is owed any more")
    owed = [name for name in world.disk.content() if name.endswith((".part", ".new"))]
    _hold(not owed, f"nothing is left over on the flash: {owed}")


def _counters_never_repeat(alerts: list[Alert]) -> None:
    """No two messages of one originator have the same counter: whoever gets both drops the second."""
    messages = [Envelope.parse(bytes.fromhex(each.gbcs)) for each in alerts if each.gbcs]
    own = Counter(message.counter for message in messages if message.originator == HUB)
    _hold(all(many == 1 for many in own.values()), "the hub's originator counter never repeats")


def _retention_stands(states: list) -> None:
    """The moment until which a stored image is kept is told once, and stays."""
    until: dict[str, set[object]] = {}
    for state in states:
        for held in (getattr(state, "image", None), getattr(state, "esme_image", None)):
            if isinstance(held, HeldImage) and held.stage == "stored":
                until.setdefault(held.image_id, set()).add(held.retained_until)
    _hold(all(len(told) == 1 for told in until.values()), f"the retention did not move: {until}")


def _shown(alerts: Counter) -> list[tuple[str, str, int | None, int]]:
    return sorted((str(who)[-2:], code, response, many) for (who, code, response), many in alerts.items())


def _hold(holds: bool, promise: str) -> None:  # noqa: FBT001 - the promise reads after it
    if not holds:
        raise PromiseBroken(promise)
