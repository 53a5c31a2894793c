"""Every measure of the table: its name, and what gives its rows.

Nothing is asserted on absolute seconds of this machine: those that are compared come from one run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hub.bench.download import Cost, measure_download
from hub.bench.reference import Exchange
from hub.bench.rows import Row, at_least
from hub.bench.workplace import Setup

KB = 1024
FULL_SIZE = 750 * KB
PHYSICS = "s by the PHY"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is; the tests have a smaller one.

    Attributes:
        image: octets of the image whose download is measured.
    """

    image: int = FULL_SIZE


@dataclass(frozen=True, slots=True)
class Measure:
    """A part of the table that can be asked for by its name; ``rows`` measures, and takes a while."""

    name: str
    summary: str
    rows: Callable[[Scale], Iterator[Row]]


@functools.cache
def _downloaded(setup: Setup) -> Cost:
    """A download is measured once, however many rows look at it."""
    return measure_download(setup)


def _air(name: str, baud: int, aim: float, scale: Scale) -> Iterator[Row]:
    cost = _downloaded(Setup(size=scale.image, baud=baud))
    reference = Exchange(baud=baud).seconds(scale.image)
    row = Row(
        name=name,
        value=cost.virtual,
        unit="virtual s",
        reference=PHYSICS if baud == 0 else f"{PHYSICS} and the serial line",
        reference_value=reference,
        ratio=reference / cost.virtual,
    )
    yield at_least(aim, row)


def _real_time_factor(scale: Scale) -> Iterator[Row]:
    cost = _downloaded(Setup(size=scale.image))
    for name, seconds, unit in (
        ("real-time factor", cost.wall, "wall s"),
        ("real-time factor by processor time", cost.cpu, "processor s"),
    ):
        yield at_least(
            20,
            Row(
                name=name,
                value=seconds,
                unit=unit,
                reference="virtual s",
                reference_value=cost.virtual,
                ratio=cost.virtual / seconds,
            ),
        )


MEASURES = (
    Measure(
        "air",
        "block mode, APS acknowledgements, no serial line",
        functools.partial(_air, "air efficiency, block mode", 0, 0.97),
    ),
    Measure(
        "air-115200",
        "the same at 115200 baud",
        functools.partial(_air, "air efficiency, block mode, 115200 baud", 115_200, 0.95),
    ),
    Measure(
        "air-460800",
        "the same at 460800 baud",
        functools.partial(_air, "air efficiency, block mode, 460800 baud", 460_800, 0.95),
    ),
    Measure("real-time", "virtual seconds per second of this machine", _real_time_factor),
)
