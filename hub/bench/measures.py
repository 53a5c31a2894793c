"""Every measure of the table: its name, and what gives its rows.

Nothing is asserted on absolute seconds of this machine: those that are compared come from one run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

from hub.bench import peer_measures
from hub.bench.download import downloaded, measure_downloads, overheard_download
from hub.bench.reference import Exchange
from hub.bench.rows import Row, at_least, at_most
from hub.bench.scale import FULL_SIZE, KB, PAGE, USUAL_BAUD, Measure, Scale
from hub.bench.setup import Setup


def _efficiency(name: str, setup: Setup, aim: float, scale: Scale) -> Iterator[Row]:
    """Reference time over virtual time."""
    setup = dataclasses.replace(setup, size=scale.image)
    outcome = downloaded(setup)
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
    outcome = downloaded(Setup(size=scale.image))
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
        outcome = overheard_download(Setup(size=4 * scale.crowd_image, devices=devices, baud=USUAL_BAUD))
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
    outcomes = {count: downloaded(_crowd_of(count, what, scale)) for count in scale.crowds}
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
    Measure("zigpy", "zigpy's own OTA manager on the same air", peer_measures.beside_zigpy),
    Measure("herdsman", "herdsman's OTA session, in real time", peer_measures.beside_herdsman),
    Measure("host-cost", "what an octet costs the host's process, ours and zigpy's", peer_measures.host_cost),
)
