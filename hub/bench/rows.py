"""One line of the benchmark table."""

from __future__ import annotations

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, what it is compared with, and whether that is good enough.

    Where something could not be measured, ``value`` is None and ``unit`` says why. A row without an aim is
    there to be read.
    """

    name: str
    value: float | None = None
    unit: str
    reference: str = ""
    reference_value: float | None = None
    ratio: float | None = None
    aim: float | None = None
    met: bool | None = None


def at_least(aim: float, row: Row) -> Row:
    """The row with an aim that its ratio must not be below."""
    return msgspec.structs.replace(row, aim=aim, met=row.ratio is not None and row.ratio >= aim)


def at_most(aim: float, row: Row) -> Row:
    """The row with an aim that its ratio must not be above."""
    return msgspec.structs.replace(row, aim=aim, met=row.ratio is not None and row.ratio <= aim)
