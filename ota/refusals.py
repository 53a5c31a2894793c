"""Why one device would refuse a good file: asked of its header, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from ota.eui64 import Eui64
from ota.image import Finding, Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """What is known of the device; None where nothing is."""

    eui64: Eui64 | None = None
    manufacturer: int | None = None
    image_type: int | None = None
    hardware_version: int | None = None
    file_version: int | None = None
    """The version that it runs."""
    storage: int | None = None
    """Octets that it has room for."""


def refusals(header: Header, taker: Taker) -> list[Finding]:
    """Why this device would refuse the file, as far as that is known; nothing if it would take it."""
    hardware, destination = header.hardware_versions, header.destination
    found = []
    if taker.manufacturer not in {None, header.manufacturer}:
        found.append(Finding("manufacturer code", f"the device is of {taker.manufacturer:04X}"))
    if taker.image_type not in {None, header.image_type}:
        found.append(Finding("image type", f"the device takes {taker.image_type:04X}"))
    if taker.eui64 is not None and destination not in {None, taker.eui64}:
        found.append(Finding("upgrade file destination", f"the file is for {destination} alone"))
    if hardware is not None and taker.hardware_version is not None and taker.hardware_version not in hardware:
        found.append(Finding("hardware versions", f"the device has {taker.hardware_version:04X}"))
    if taker.file_version == header.file_version:
        found.append(Finding("file version", "the device runs it already"))
    elif taker.file_version is not None and taker.file_version > header.file_version:
        older = f"older than {taker.file_version:08X}, which the device runs: some refuse that"
        found.append(Finding("file version", older))
    if taker.storage is not None and header.total_size > taker.storage:
        found.append(Finding("total image size", f"the device has room for {taker.storage} octets"))
    return found
