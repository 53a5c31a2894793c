"""Every measure of the table: its name, and what gives its rows.

Nothing is asserted on absolute seconds of this machine: those that are compared come from one run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from han.sim.home import Profile
from hub.bench.download import Outcome, measure_downloads
from hub.bench.peers import measure_zigpy
from hub.bench.reference import Exchange
from hub.bench.rows import Row, at_least, at_most
from hub.bench.setup import Setup

KB = 1024
FULL_SIZE = 750 * KB
USUAL_BAUD = 115_200
"""What most dongles run at, and bellows and herdsman unless told otherwise."""
PAGE = 1024
"""Octets of a page: what a widespread stack asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large everything is; the tests have a smaller one. Sizes are octets of an image.

    Attributes:
        image: whose download is measured.
        peer_images: that are downloaded from peers too.
        crowd_image: that many devices, or many homes, download at the same time.
        crowds: how many they are; the first is what the others are compared with.
        crowd_is_secured: whether they have certificates, and so establish keys first, which takes its time.
    """

    image: int = FULL_SIZE
    peer_images: tuple[int, ...] = (350 * KB, FULL_SIZE)
    crowd_image: int = 32 * KB
    crowds: tuple[int, int, int] = (1, 10, 50)
    crowd_is_secured: bool = True

    @classmethod
    def up_to(cls, size: int) -> Self:
        """The usual one, with no image larger than this."""
        usual = cls()
        fitting = tuple(each for each in usual.peer_images if each <= size)
        return cls(image=size, peer_images=fitting or (size,), crowd_image=min(usual.crowd_image, size))


@dataclass(frozen=True, slots=True)
class Measure:
    """A part of the table that can be asked for by its name; ``rows`` measures, and takes a while."""

    name: str
    summary: str
    rows: Callable[[Scale], Iterator[Row]]


@functools.cache
def _downloaded(setup: Setup) -> Outcome:
    """A download is measured once, however many rows look at it."""
    return measure_downloads(setup)


@functools.cache
def _overheard(setup: Setup) -> Outcome:
    """The same with an ear on the air, which costs processor time."""
    return measure_downloads(setup, listens=True)


def _efficiency(name: str, setup: Setup, aim: float, scale: Scale) -> Iterator[Row]:
    """Reference time over virtual time."""
    setup = dataclasses.replace(setup, size=scale.image)
    outcome = _downloaded(setup)
    exchange = Exchange(acknowledged=setup.acknowledged, page=setup.page, baud=setup.baud)
    reference = exchange.seconds(setup.size)
    row = Row(
        name=f"air efficiency, {name}",
        value=outcome.virtual,
        unit="virtual s",
        reference="s by the PHY" if setup.baud == 0 else "s by the PHY and the serial line",
        reference_value=reference,
        ratio=reference / outcome.virtual,
    )
    yield at_least(aim, row)


def _real_time_factor(scale: Scale) -> Iterator[Row]:
    outcome = _downloaded(Setup(size=scale.image))
    for name, seconds, unit in (
        ("real-time factor", outcome.wall, "wall s"),
        ("real-time factor by processor time", outcome.cpu, "processor s"),
    ):
        yield at_least(
            20,
            Row(
                name=name,
                value=seconds,
                unit=unit,
                reference="virtual s",
                reference_value=outcome.virtual,
                ratio=outcome.virtual / seconds,
            ),
        )


def _latency(scale: Scale) -> Iterator[Row]:
    """From the end of a Block Request on the air to the beginning of its answer, at the usual baud rate."""
    for devices in scale.crowds[:2]:
        outcome = _overheard(Setup(size=2 * scale.crowd_image, devices=devices, baud=USUAL_BAUD))
        waits = sorted(each.answered - each.heard for each in outcome.asked if each.answered is not None)
        median, late = (1000 * waits[int(share * (len(waits) - 1))] for share in (0.5, 0.99))
        row = Row(
            name=f"block latency, 99th percentile, {_count(devices, 'device')}",
            value=late,
            unit="virtual ms",
            reference="ms median",
            reference_value=median,
            ratio=late / median,
        )
        yield at_most(2, row)


def _crowd(what: str, scale: Scale) -> Iterator[Row]:
    """What a block costs, and what one more costs in memory, however many they are."""
    least, *others = scale.crowds
    outcomes = {count: _downloaded(_crowd_of(count, what, scale)) for count in scale.crowds}
    costs = {count: 1e6 * each.cpu / each.blocks for count, each in outcomes.items()}
    for count in others:
        row = Row(
            name=f"cost of a block, {_count(count, what)}",
            value=costs[count],
            unit="processor us",
            reference=f"us with {least}",
            reference_value=costs[least],
            ratio=costs[count] / costs[least],
        )
        yield at_most(1.2, row)
    yield _memory(what, scale)


def _memory(what: str, scale: Scale) -> Row:
    """What is there once, such as the hub's own code, is not counted: only what each further one adds."""
    few, some, many = scale.crowds
    held = {}
    for count in scale.crowds:
        setup = dataclasses.replace(_crowd_of(count, what, scale), size=scale.crowd_image // 4)
        held[count] = measure_downloads(setup, counts_memory=True).memory / KB
    first = (held[some] - held[few]) / (some - few)
    later = (held[many] - held[some]) / (many - some)
    row = Row(
        name=f"memory of one more {what}, {some} to {many}",
        value=later,
        unit="KB of Python objects",
        reference=f"KB, {few} to {some}",
        reference_value=first,
        ratio=later / first,
    )
    return at_most(1.2, row)


def _crowd_of(count: int, what: str, scale: Scale) -> Setup:
    alone = Setup(size=scale.crowd_image, is_secured=scale.crowd_is_secured)
    if what == "device":
        return dataclasses.replace(alone, devices=count)
    return dataclasses.replace(alone, homes=count)


def _zigpy(scale: Scale) -> Iterator[Row]:
    """The same image on the same air from zigpy's manager, both under NWK security, at the usual speed."""
    for size in scale.peer_images:
        kilobytes = size // KB
        theirs = _from_zigpy(size)
        ours = _ours_for_peers(size)
        row = Row(
            name=f"{kilobytes} KB beside zigpy's OTA manager (NWK security)",
            value=ours.virtual,
            unit="virtual s",
            reference="virtual s, zigpy",
            reference_value=theirs.virtual,
            ratio=theirs.virtual / ours.virtual,
        )
        yield at_least(1, row)
        yield at_most(0, _lost(f"{kilobytes} KB, requests without an answer, ours", ours))
        yield _lost(f"{kilobytes} KB, requests without an answer, zigpy", theirs)


@functools.cache
def _from_zigpy(size: int) -> Outcome:
    return measure_zigpy(Setup(size=size, baud=USUAL_BAUD, profile=Profile.HOME_AUTOMATION, is_secured=False))


def _ours_for_peers(size: int) -> Outcome:
    """Smart Energy's profile without its certificates: the security that peers have too."""
    return _overheard(Setup(size=size, baud=USUAL_BAUD, is_secured=False))


def _lost(name: str, outcome: Outcome) -> Row:
    lost = sum(each.answered is None for each in outcome.asked)
    return Row(
        name=name,
        value=lost,
        unit="requests",
        reference="requests in all",
        reference_value=len(outcome.asked),
        ratio=lost / len(outcome.asked),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _efficiency_measure(name: str, summary: str, title: str, setup: Setup, aim: float) -> Measure:
    return Measure(name, summary, functools.partial(_efficiency, title, setup, aim))


_BLOCKS = Setup(size=FULL_SIZE)
_BARE = Setup(size=FULL_SIZE, acknowledged=False)
_PAGES = Setup(size=FULL_SIZE, page=PAGE)

MEASURES = (
    _efficiency_measure("air", "block mode, no serial line", "block mode", _BLOCKS, 0.97),
    _efficiency_measure(
        "air-bare", "the same without APS acknowledgements", "block mode without APS acks", _BARE, 0.97
    ),
    _efficiency_measure("air-page", "pages, back to back", "page mode", _PAGES, 0.95),
    *(
        _efficiency_measure(
            f"{name}-{baud}",
            f"{title} at {baud} baud",
            f"{title}, {baud} baud",
            dataclasses.replace(setup, baud=baud),
            0.95,
        )
        for baud in (USUAL_BAUD, 460_800)
        for name, title, setup in (
            ("air", "block mode", _BLOCKS),
            ("air-bare", "block mode without APS acks", _BARE),
            ("air-page", "page mode", _PAGES),
        )
    ),
    Measure("real-time", "virtual seconds per second of this machine", _real_time_factor),
    Measure("latency", "how long Block Requests wait", _latency),
    Measure("devices", "many devices on one hub", functools.partial(_crowd, "device")),
    Measure("homes", "many homes in one process", functools.partial(_crowd, "home")),
    Measure("zigpy", "zigpy's own OTA manager on the same air", _zigpy),
)
