"""What the radios of a house remember while nothing moves the house: one private file.

A dongle keeps its network when it is unplugged, and a device keeps its keys, counters and downloads. A house
that goes on in another process has to find all of that again, as after a power cut. The file holds keys: only
its owner may read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from han.errors import OurError
from han.private_file import read_private, write_private
from han.sim.devices.memory import Memory
from han.sim.dongle.flash import Flash
from han.sim.home import Home
from han.sim.node.store import NodeStore

FORMAT = 1
"""Of the file; one with another number is refused."""


@dataclass(slots=True)
class DongleMemory:
    """What the dongle keeps while it is unplugged: the memory of its stack, and that of its firmware."""

    store: NodeStore = field(default_factory=NodeStore)
    flash: Flash = field(default_factory=Flash)


@dataclass(slots=True)
class HouseMemory:
    """The memory of the dongle, and that of each device that was ever switched on, by name."""

    dongle: DongleMemory = field(default_factory=DongleMemory)
    devices: dict[str, Memory] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values. Holds keys: keep it from other people's eyes."""
        return {
            "dongle": {"store": self.dongle.store.to_dict(), "flash": self.dongle.flash.to_dict()},
            "devices": {name: memory.to_dict() for name, memory in self.devices.items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What ``to_dict`` gave, read back as after a power cut.

        Raises:
            KeyError, ValueError, TypeError, AttributeError: if it is not what ``to_dict`` gives.
        """
        dongle = data["dongle"]
        return cls(
            DongleMemory(NodeStore.from_dict(dongle["store"]), Flash.from_dict(dongle["flash"])),
            {name: Memory.from_dict(memory) for name, memory in data["devices"].items()},
        )


class MemoryFile:
    """The file in which the memory of one home's radios is kept. It is there once something was kept."""

    def __init__(self, path: Path, home: Home) -> None:
        self._path = path
        self._radios = {
            "dongle": str(home.dongle.eui64),
            **{device.name: str(device.eui64) for device in home.devices},
        }
        self._kept = ""

    def read(self) -> HouseMemory:
        """What was kept last; an empty memory if nothing was.

        Raises:
            SurroundingsError: if the file cannot be read, or others could.
            OurError: if it is no such file, or that of other radios.
        """
        try:
            kept = read_private(self._path)
        except FileNotFoundError:
            return HouseMemory()
        try:
            data = json.loads(kept)
            number, radios = data["format"], data["radios"]
            memory = HouseMemory.from_dict(data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise OurError(
                f"{self._path} holds no memory of a house: move it away to begin anew"
            ) from None  # its words may be keys
        if number != FORMAT:
            raise OurError(f"{self._path} is of format {number}, not {FORMAT}: move it away to begin anew")
        if radios != self._radios:
            raise OurError(
                f"{self._path} is the memory of other radios than this home has: give another directory, or"
                " move it away to begin anew"
            )
        self._kept = kept
        return memory

    def keep(self, memory: HouseMemory) -> None:
        """Write it down, whole or not at all; nothing happens if it is as it was.

        Raises:
            SurroundingsError: if that cannot be.
        """
        text = json.dumps({"format": FORMAT, "radios": self._radios, **memory.to_dict()})
        if text != self._kept:
            write_private(self._path, text)
            self._kept = text
