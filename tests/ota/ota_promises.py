"""What must hold whatever happens: bytes, ends, ranks, and no image that is made of two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ota_schedule import IMAGE_TYPES, File

from hub.slot import Fate, Held, Priority, Stage
from ota.client import Activated, BlockReceived, DownloadComplete
from ota.commands import ImageBlockResponse
from ota.eui64 import Eui64
from ota.image import ImageKey


class BrokenPromiseError(AssertionError):
    """Something happened that must not; the message says what."""


@dataclass(slots=True)
class _Rank:
    """An image that was accepted, and who still needs it."""

    priority: Priority
    needed_by: set[Eui64]


@dataclass(slots=True)
class Promises:
    """Watches a world. It believes neither slot nor machines, only what was accepted and what crossed."""

    files: dict[str, File]
    """All that there are, by their SHA-256."""
    good: dict[Eui64, set[str]] = field(default_factory=dict)
    """The files that a device has found whole and good."""
    _ranks: dict[str, _Rank] = field(default_factory=dict)

    def accepted(self, held: Held) -> None:
        """The slot has taken an image, or more targets for it."""
        self._ranks[held.image_id] = _Rank(held.priority, {each.device for each in held.unfinished})

    def preempted(self, victim: Held, by: Priority) -> None:
        """The head end is told that an image had to go."""
        if victim.unfinished and victim.priority > by:
            raise BrokenPromiseError(f"an image of {victim.priority.name} makes room for one of {by.name}")
        self._ranks.pop(victim.image_id, None)

    def concluded(self, device: Eui64, image_id: str, fate: Fate) -> None:
        """The head end is told what became of an image at a device."""
        if fate is Fate.FINISHED and image_id not in self.good.get(device, ()):
            raise BrokenPromiseError(f"{device} is said to have {image_id[:8]}, and never had it whole")
        rank = self._ranks.get(image_id)
        if rank is not None:
            rank.needed_by.discard(device)

    def served(self, peer: Eui64, block: ImageBlockResponse, held: Held | None) -> None:
        """A block goes out."""
        key, at = ImageKey(block.manufacturer, block.image_type, block.file_version), block.file_offset
        is_gas = block.image_type == IMAGE_TYPES["GSME"]
        priority = Priority.GAS if is_gas else Priority.ORDINARY
        if any(rank.needed_by and rank.priority > priority for rank in self._ranks.values()):
            raise BrokenPromiseError(
                f"{key} is served while an image of higher priority is accepted and needed"
            )
        if held is None or held.stage is not Stage.STORED or held.assignment(peer) is None:
            raise BrokenPromiseError(f"a block of {key} goes out to {peer}, for which nothing is stored")
        file = self.files[held.image_id]
        if key != file.header.key:
            raise BrokenPromiseError(f"a block of {key} goes out while {file.header.key} is in the slot")
        if not block.data or block.data != file.data[at : at + len(block.data)]:
            raise BrokenPromiseError(f"the block for offset {at} does not hold the image's octets there")

    def stored(self, event: BlockReceived, key: ImageKey, data: bytes) -> None:
        """A device has stored octets: some file with these three numbers has them there."""
        end = event.offset + event.size
        if not any(
            file.data[event.offset : end] == data[event.offset : end]
            for file in self.files.values()
            if file.header.key == key
        ):
            raise BrokenPromiseError(f"what was stored at offset {event.offset} stands in no file there")

    def complete(self, device: Eui64, event: DownloadComplete) -> None:
        """A device has found an image whole and good."""
        match = next((each for each in self.files.values() if each.data == event.data), None)
        if match is None:
            raise BrokenPromiseError(f"{device} reports {event.key} as good, and it is mixed or spoilt")
        if match.header.key != event.key:
            raise BrokenPromiseError(f"{device} reports {match.header.key} as {event.key}")
        self.good.setdefault(device, set()).add(match.image_id)

    def activated(self, device: Eui64, event: Activated) -> None:
        """A device runs something new."""
        versions = {self.files[each].header.file_version for each in self.good.get(device, ())}
        if event.file_version not in versions:
            raise BrokenPromiseError(f"{device} runs version {event.file_version}, and never had it whole")

    def ended(self, held: Held | None, open_devices: Iterable[str]) -> None:
        """All is quiet: nothing may be under way."""
        waiting = [] if held is None else [str(each.device) for each in held.unfinished]
        still = list(open_devices)
        if waiting or still:
            raise BrokenPromiseError(f"sessions never end: the hub waits for {waiting}, under way {still}")
