"""Names for numbers, where unknown numbers survive."""

from __future__ import annotations

import enum
from typing import Self


class OpenEnum(enum.IntEnum):
    """An enumeration of octets that is open: a value that nobody defined keeps its number and shows it.

    A test bench meets values no one defined; it should show them, not die of them. Numbers that do not fit
    ``octets`` are refused as always.
    """

    @classmethod
    def octets(cls) -> int:
        """How many octets a value has on the wire."""
        return 1

    @classmethod
    def name_of_unknown(cls, value: int) -> str:
        """What to call a value that nobody defined."""
        return f"UNKNOWN_{value:#0{2 + 2 * cls.octets()}x}"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int) or not 0 <= value < 1 << 8 * cls.octets():
            return None
        unknown = int.__new__(cls, value)
        unknown._name_ = cls.name_of_unknown(value)
        unknown._value_ = value
        return unknown
