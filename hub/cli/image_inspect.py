"""``gbhan image inspect``."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from hub.cli.options import Eui64Type
from hub.cli.program import BAD_INPUT, exit_statuses, print_json
from hub.cli.upgrade_files import (
    as_dict,
    device_type_option,
    file_argument,
    hex_of,
    json_option,
    read_octets,
    sub_elements_option,
)
from hub.upgrade_check import check_any
from ota.anatomy import Part, anatomy, likely_form
from ota.elements import parse_elements
from ota.eui64 import Eui64
from ota.gbcs_image import GbcsImage, Layout, layout_for
from ota.image import Finding, Header, ImageFormatError
from ota.refusals import Taker, refusals


@dataclass(frozen=True, slots=True)
class Description:
    """A file: its facts for programs, its parts for people, what is wrong with it, who would refuse it."""

    facts: dict[str, Any]
    parts: list[Part]
    findings: list[Finding]
    refused: list[Finding]


@click.command()
@file_argument
@device_type_option
@sub_elements_option
@click.option("--device", type=Eui64Type(), metavar="EUI64", help="Say whether this device would refuse it.")
@click.option("--hardware-version", type=hex_of(2), help="The same for a device with this hardware, hex.")
@click.option("--running", type=hex_of(4), help="The same for a device that runs this version, hex.")
@click.option("--storage", type=click.IntRange(1), help="The same for a device with room for so many octets.")
@json_option
def inspect(
    *,
    file: Path,
    device_type: str | None,
    sub_elements: bool,
    device: Eui64 | None,
    hardware_version: int | None,
    running: int | None,
    storage: int | None,
    as_json: bool,
) -> None:
    """Explain an upgrade file, also a spoilt one as far as it can be read, and say why it would be refused.

    Example: gbhan image inspect --json ppmid.ota
    """
    with exit_statuses():
        data = read_octets(file)
    taker = Taker(eui64=device, hardware_version=hardware_version, file_version=running, storage=storage)
    try:
        layout = None if sub_elements else _form(data, device_type)
        found = described(data, layout, taker)
    except ImageFormatError as error:
        if as_json:
            print_json({"file": str(file), "size": len(data), "findings": [str(error)]})
        _refuse(f"{file}: {error}")
    show(found, as_json=as_json, file=file)


def _form(data: bytes, device_type: str | None) -> Layout | None:
    return layout_for(device_type) if device_type else likely_form(data)


def described(data: bytes, layout: Layout | None, taker: Taker | None = None) -> Description:
    """Everything that there is to say of a file.

    Raises:
        ImageFormatError: if it does not begin with an OTA header.
    """
    header = Header.parse(data)
    hardware, destination = header.hardware_versions, header.destination
    facts = {
        "image_id": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "manufacturer": f"{header.manufacturer:04X}",
        "image_type": f"{header.image_type:04X}",
        "file_version": f"{header.file_version:08X}",
        "stack_version": f"{header.stack_version:04X}",
        "name": header.name,
        "header_length": header.length,
        "total_size": header.total_size,
        "hardware_versions": None
        if hardware is None
        else [f"{hardware.minimum:04X}", f"{hardware.maximum:04X}"],
        "destination": None if destination is None else str(destination),
        "layout": "sub-elements" if layout is None else layout.value,
        **_body(data, header, layout),
    }
    refused = [] if taker is None else refusals(header, taker)
    return Description(facts, anatomy(data, layout), check_any(data, layout), refused)


def show(found: Description, *, as_json: bool, file: Path | None = None) -> None:
    """Tell it on stdout: one JSON document, or a line for each part."""
    if as_json:
        named = {} if file is None else {"file": str(file)}
        print_json(
            named
            | found.facts
            | {
                "parts": [asdict(part) for part in found.parts],
                "findings": [as_dict(each) for each in found.findings],
                "refused": [as_dict(each) for each in found.refused],
            }
        )
        return
    click.echo(f"{found.facts['size']} octets, {found.facts['layout']}, SHA-256 {found.facts['image_id']}")
    for part in found.parts:
        meaning = f"  ({part.meaning})" if part.meaning else ""
        click.echo(f"{part.at:8} {part.size:7}  {part.name:<26} {part.value}{meaning}")
    for each in found.findings:
        click.echo(f"wrong: {each}")
    for each in found.refused:
        click.echo(f"refused: {each}")


def _body(data: bytes, header: Header, layout: Layout | None) -> dict[str, Any]:
    try:
        if layout is None:
            elements = parse_elements(data[header.length :])
            return {"sub_elements": [f"{each.tag.name}: {len(each.data)} octets" for each in elements]}
        read = GbcsImage.read(data, layout)
    except ImageFormatError:
        return {}  # the findings say why
    facts: dict[str, Any] = {
        "manufacturer_image_size": len(read.manufacturer_image),
        "manufacturer_image_hash": read.manufacturer_image_hash.hex(),
    }
    if read.authorisation is not None:
        facts["force_replace"] = read.authorisation.force_replace
        facts["signed"] = read.authorisation.is_signed
    return facts


def _refuse(message: str) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    raise SystemExit(BAD_INPUT)
