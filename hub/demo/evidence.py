"""What remains of a run: the capture, its keys, the facts, the report, the files that were served.

Besides it leaves a Wireshark configuration with the keys, so that one command opens the capture decrypted.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from han.private_file import write_private
from han.sim.air.capture import read_keys, read_pcap
from han.sim.air.rebuild import Download, rebuild_images
from hub.demo.images import UpgradeFile
from hub.demo.report import MessageRow, RebuiltRow
from hub.errors import SurroundingsError
from ota.eui64 import Eui64
from ota.image import Header

COORDINATOR = 0x0000
_KEY_TABLE = "zigbee_pc_keys"
"""What Wireshark calls the file in its configuration."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the evidence goes. ``capture`` and ``keys`` are always written: the closing check reads them."""

    capture: Path
    keys: Path
    facts: Path | None = None
    report: Path | None = None
    images: Path | None = None
    gbcs: Path | None = None
    parties: Path | None = None
    wireshark: Path | None = None

    @classmethod
    def in_folder(
        cls, folder: Path, *, capture: Path | None, keys: Path | None, facts: Path | None
    ) -> Places:
        """Everything in one folder, but for what was given a place of its own."""
        return cls(
            capture=capture or folder / "demo.pcap",
            keys=keys or folder / "demo.keys",
            facts=facts or folder / "facts.jsonl",
            report=folder / "report.json",
            images=folder / "images",
            gbcs=folder / "gbcs",
            parties=folder / "parties",
            wireshark=folder / "wireshark",
        )

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            SurroundingsError: if one cannot be made or written, or another demo is writing there.
        """
        _refuse_if_in_use(self.capture)
        files = [path for path in (self.capture, self.keys, self.facts, self.report) if path is not None]
        folders = [
            path for path in (self.images, self.gbcs, self.parties, self.wireshark) if path is not None
        ]
        try:
            for folder in [*(file.parent for file in files), *folders]:
                folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                file.unlink(missing_ok=True)
                file.touch(mode=0o600)
        except OSError as error:
            raise SurroundingsError(
                f"cannot write evidence to {error.filename}: {error.strerror}; name another place"
            ) from None


@contextmanager
def open_alone(capture: Path) -> Iterator[BinaryIO]:
    """Open the capture for writing; while it is open no other demo writes there."""
    with capture.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _refuse_if_in_use(capture: Path) -> None:
    try:
        with capture.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except BlockingIOError:
        raise SurroundingsError(
            f"another demo is writing {capture}: wait for it, or name another place"
        ) from None
    except OSError as error:
        raise SurroundingsError(
            f"cannot write evidence to {capture}: {error.strerror}; name another place"
        ) from None


def rebuild(places: Places, served: Iterable[UpgradeFile], addresses: dict[int, Eui64]) -> list[RebuiltRow]:
    """Read the capture as a stranger with the keys would, and compare with what was served.

    Args:
        places: where capture and keys are.
        served: the upgrade files that devices finished.
        addresses: who had which network address.

    Returns:
        A row for each of these files that was served to the device it is for.
    """
    keys = [key for key, _ in read_keys(places.keys)]
    with places.capture.open("rb") as capture:
        rebuilt = rebuild_images(read_pcap(capture), keys, source=COORDINATOR)
    rows = []
    for file in served:
        header = Header.parse(file.data)
        for nwk, eui64 in addresses.items():
            download = Download(nwk, header.manufacturer, header.image_type, header.file_version)
            if eui64 == file.device.eui64 and download in rebuilt:
                rows.append(_row(rebuilt[download], file))
    return rows


def _row(data: bytes, file: UpgradeFile) -> RebuiltRow:
    digest = hashlib.sha256(data).hexdigest()
    return RebuiltRow(
        image=file.image_id,
        file=file.name,
        device=str(file.device.eui64),
        bytes=len(data),
        sha256=digest,
        matches=digest == file.image_id,
    )


def write_images(folder: Path, files: Iterable[UpgradeFile]) -> None:
    """The upgrade files as they were given to the DSP stub."""
    for file in files:
        (folder / file.name).write_bytes(file.data)


def write_messages(folder: Path, messages: Iterable[MessageRow]) -> None:
    """Every GBCS message in hex, numbered as the head end sent and received them."""
    for number, message in enumerate(messages, 1):
        name = f"{number:02d}-{message.kind}-{message.device}.hex"
        (folder / name).write_text(message.gbcs + "\n", encoding="ascii")


def write_wireshark_settings(folder: Path, keys: Path) -> None:
    """A configuration folder for Wireshark and tshark that holds the capture's keys."""
    write_private(folder / _KEY_TABLE, keys.read_text(encoding="utf-8"))


def wireshark_command(places: Places) -> str:
    """What to type to see the capture decrypted."""
    if places.wireshark is None:
        return f"wireshark {places.capture}   # keys: {places.keys}"
    return f"WIRESHARK_CONFIG_DIR={places.wireshark} wireshark {places.capture}"


def live_keys(places: Places) -> str:
    """Where Wireshark finds the keys of a capture that it is to decrypt while it grows."""
    if places.wireshark is None or not (places.wireshark / _KEY_TABLE).exists():
        return "No keys yet: this run leaves them, and with the same seed they open the next capture."
    return f"Keys of the last run, right for the same seed: WIRESHARK_CONFIG_DIR={places.wireshark}"


def write_report(places: Places, text: str) -> None:
    """Write the report's JSON where the evidence goes, if it goes anywhere."""
    if places.report is not None:
        places.report.write_text(text + "\n", encoding="utf-8")
