"""A cursor over octets for the frames that are rare enough to be read field by field."""

from __future__ import annotations

from typing import Final

from han.sim.wire.errors import WireError
from ota.eui64 import Eui64


class Reader:
    """Takes little-endian fields off the front of ``data``; running out of octets raises ``WireError``."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data: Final = data
        self._at = 0

    def octets(self, count: int) -> bytes:
        """The next ``count`` octets."""
        end = self._at + count
        if end > len(self._data):
            raise WireError(f"cut short: {end} octets wanted, {len(self._data)} there")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def u8(self) -> int:
        """An unsigned octet."""
        return self.octets(1)[0]

    def u16(self) -> int:
        """An unsigned 16-bit number."""
        return int.from_bytes(self.octets(2), "little")

    def u32(self) -> int:
        """An unsigned 32-bit number."""
        return int.from_bytes(self.octets(4), "little")

    def eui64(self) -> Eui64:
        """A 64-bit address."""
        return Eui64.from_wire(self.octets(8))

    def u8s(self, count: int) -> tuple[int, ...]:
        """A list of ``count`` octets."""
        return tuple(self.octets(count))

    def u16s(self, count: int) -> tuple[int, ...]:
        """A list of ``count`` 16-bit numbers."""
        return tuple(self.u16() for _ in range(count))

    def rest(self) -> bytes:
        """Everything that is left, possibly nothing."""
        return self.octets(len(self._data) - self._at)

    @property
    def left(self) -> int:
        """How many octets are left."""
        return len(self._data) - self._at


def u16s_to_bytes(numbers: tuple[int, ...]) -> bytes:
    """A list of 16-bit numbers, little-endian, without a count."""
    return b"".join(number.to_bytes(2, "little") for number in numbers)
