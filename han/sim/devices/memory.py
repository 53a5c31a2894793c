"""What a simulated device still knows after its power was off: its flash memory.

Everything else in a device is forgotten at a reboot. The image a two-stage device holds and the download that
is under way survive, as they do on real devices: a meter whose power fails does not start its download again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from han.sim.node.store import NodeStore
from ota.client import StoredDownload
from ota.image import ImageKey


@dataclass(slots=True)
class Memory:
    """The non-volatile memory of one device."""

    node: NodeStore
    """Network, keys, counters: what the radio's stack keeps."""
    file_version: int
    """The OTA file version of the firmware that runs."""
    established_key: bytes | None = field(default=None, repr=False)
    """The link key that key establishment gave last; the node holds it while it is in that network."""
    download: StoredDownload | None = None
    """An upgrade file that is arriving or has arrived."""
    aside: tuple[StoredDownload, ...] = ()
    """Whole upgrade files that wait for others."""
    part_versions: dict[int, int] = field(default_factory=dict)
    """What the device's parts run, by image type, where that is not what they were delivered with."""
    stack_version: int = 0x0002
    """The Zigbee stack version in the header of the firmware that runs."""
    image_stamp: int = 0xFFFFFFFF
    """What tells the firmware that runs from another one of the same version; all ones as delivered."""
    command: bytes | None = None
    """The Activate Firmware command that was accepted last, whole."""
    answer: bytes | None = None
    """What was answered to it; None while that is not known."""
    is_pending: bool = False
    """Whether it is still to be carried out."""
    originator_counter: int = 0
    """Of the GBCS alert that was sent last: the next has a greater."""
    unsent: tuple[bytes, ...] = ()
    """GBCS messages that have not reached the Communications Hub yet, oldest first."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values. Holds keys: keep it from other people's eyes."""
        return {
            "node": self.node.to_dict(),
            "file_version": self.file_version,
            "established_key": None if self.established_key is None else self.established_key.hex(),
            "download": None if self.download is None else _plain_file(self.download),
            "aside": [_plain_file(file) for file in self.aside],
            "part_versions": [[part, version] for part, version in self.part_versions.items()],
            "stack_version": self.stack_version,
            "image_stamp": self.image_stamp,
            "command": None if self.command is None else self.command.hex(),
            "answer": None if self.answer is None else self.answer.hex(),
            "is_pending": self.is_pending,
            "originator_counter": self.originator_counter,
            "unsent": [message.hex() for message in self.unsent],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What ``to_dict`` gave, read back as after a power cut.

        Raises:
            KeyError, ValueError, TypeError, AttributeError: if it is not what ``to_dict`` gives.
        """
        download = data["download"]
        return cls(
            node=NodeStore.from_dict(data["node"]),
            file_version=data["file_version"],
            established_key=_octets(data["established_key"]),
            download=None if download is None else _file(download),
            aside=tuple(_file(file) for file in data["aside"]),
            part_versions=dict(data["part_versions"]),
            stack_version=data["stack_version"],
            image_stamp=data["image_stamp"],
            command=_octets(data["command"]),
            answer=_octets(data["answer"]),
            is_pending=data["is_pending"],
            originator_counter=data["originator_counter"],
            unsent=tuple(bytes.fromhex(message) for message in data["unsent"]),
        )


def _plain_file(file: StoredDownload) -> dict[str, Any]:
    return {"key": asdict(file.key), "size": file.size, "data": file.data.hex()}


def _file(plain: dict[str, Any]) -> StoredDownload:
    return StoredDownload(ImageKey(**plain["key"]), plain["size"], bytes.fromhex(plain["data"]))


def _octets(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
