"""The 64-bit address that names a device for life."""

from __future__ import annotations

import re
from typing import Self

_FORM = re.compile(r"[0-9a-fA-F]{2}([-:]?[0-9a-fA-F]{2}){7}")


class Eui64(int):
    """An EUI-64: a number that prints as GB documents write it, ``00-DB-12-34-56-78-90-A4``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read sixteen hex digits, plain or in pairs separated by ``-`` or ``:``, most significant first.

        Raises:
            ValueError: if the text is anything else.
        """
        if not _FORM.fullmatch(text.strip()):
            raise ValueError(
                f"{text!r} is no EUI-64: give eight octets in hex, such as 00-DB-12-34-56-78-90-A4"
            )
        return cls(re.sub(r"[-:]", "", text.strip()), 16)

    @classmethod
    def from_wire(cls, octets: bytes) -> Self:
        """Read eight octets as Zigbee sends them, least significant first."""
        if len(octets) != 8:
            raise ValueError(f"an EUI-64 has 8 octets, not {len(octets)}")
        return cls.from_bytes(octets, "little")

    @property
    def wire(self) -> bytes:
        """The eight octets as Zigbee sends them, least significant first."""
        return self.to_bytes(8, "little")

    @property
    def hex(self) -> str:
        """Sixteen lower-case hex digits without separators, as in MQTT topics and file names."""
        return f"{self:016x}"

    def __str__(self) -> str:
        """The address as GB documents write it."""
        return self.to_bytes(8, "big").hex("-").upper()

    def __repr__(self) -> str:
        return f"Eui64({self})"

    def __format__(self, spec: str) -> str:
        """An empty format gives the GB form; anything else formats the number."""
        return str(self) if not spec else super().__format__(spec)
