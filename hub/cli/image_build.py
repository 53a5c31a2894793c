"""``gbhan image build``."""

from __future__ import annotations

import random
from pathlib import Path

import click

from han.security.ota_integrity import with_integrity_code
from hub.cli.image_inspect import described, show
from hub.cli.options import Eui64Type
from hub.cli.pem import private_key
from hub.cli.program import exit_statuses
from hub.cli.upgrade_files import (
    device_type_option,
    hex_of,
    json_option,
    output_option,
    path,
    read_octets,
    sub_elements_option,
    write_octets,
)
from ota.elements import Element, Tag, build_elements
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.gbcs_image import GbcsImage, Layout, authorise, layout_for
from ota.image import HardwareRange, Header, Image


def _element(text: str) -> tuple[int, Path]:
    tag, equals, name = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not TAG=FILE")
    if not (file := Path(name)).is_file():
        raise click.BadParameter(f"there is no file {name}")
    return hex_of(2)(tag), file


_element.__name__ = "TAG=FILE"


@click.command()
@device_type_option
@sub_elements_option
@click.option(
    "--manufacturer", type=hex_of(2), default="121D", show_default=True, help="Manufacturer code, hex."
)
@click.option("--image-type", type=hex_of(2), default="0084", show_default=True, help="Image type, hex.")
@click.option("--file-version", type=hex_of(4), required=True, help="The version, up to 8 hex digits.")
@click.option("--stack-version", type=hex_of(2), default="0002", show_default=True, help="2: Zigbee PRO.")
@click.option("--credential-version", type=hex_of(1), help="Security credential version, hex.")
@click.option("--hardware", type=(hex_of(2), hex_of(2)), help="Least and greatest hardware version, hex.")
@click.option(
    "--destination", type=Eui64Type(), metavar="EUI64", help="The only device that the file is for."
)
@click.option("--name", default="", help="The header string: up to 32 ASCII characters.")
@click.option("--manufacturer-image", type=path, help="The Manufacturer Image. Without it, one is made up.")
@click.option("--size", type=click.IntRange(1), default=2048, show_default=True, help="Octets to make up.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed makes up the same octets."
)
@click.option(
    "--element",
    "elements",
    type=_element,
    multiple=True,
    help="A further sub-element: its tag in hex, and a file with its octets. With --sub-elements.",
)
@click.option("--integrity-code", is_flag=True, help="Add an image integrity code. With --sub-elements.")
@click.option("--sign", type=path, help="The Supplier's key (P-256, PEM). For HCALCS, GSME and ESME.")
@click.option("--force-replace", is_flag=True, help="Set the force-replace octet.")
@output_option
@json_option
def build(
    *,
    device_type: str | None,
    sub_elements: bool,
    manufacturer: int,
    image_type: int,
    file_version: int,
    stack_version: int,
    credential_version: int | None,
    hardware: tuple[int, int] | None,
    destination: Eui64 | None,
    name: str,
    manufacturer_image: Path | None,
    size: int,
    seed: int,
    elements: tuple[tuple[int, Path], ...],
    integrity_code: bool,
    sign: Path | None,
    force_replace: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Make an upgrade file.

    Without --sub-elements it has the form of GB files for the device type: a PPMID unless --for names one.
    A file with sub-elements is signed by gbhan image sign.

    Example: gbhan image build --for PPMID --file-version 2 --size 350000 -o ppmid.ota
    """
    layout = None if sub_elements else layout_for(device_type or "PPMID")
    if sub_elements and device_type is not None:
        raise click.UsageError(f"a file for a {device_type} has no sub-elements: leave out one of the two")
    if not sub_elements and (elements or integrity_code):
        raise click.UsageError("--element and --integrity-code need --sub-elements: GB files have none")
    if layout is not Layout.AUTHORISED and (sign or force_replace):
        what = "a file with sub-elements" if sub_elements else f"a file for a {device_type or 'PPMID'}"
        raise click.UsageError(f"{what} carries no authorisation to sign or flag")
    with exit_statuses():
        if manufacturer_image is None:
            body = random.Random(seed).randbytes(size)
        else:
            body = read_octets(manufacturer_image)
        key = None if sign is None else private_key(sign)
        further = [Element(Tag(tag), read_octets(file)) for tag, file in elements]
    header = Header(
        manufacturer=manufacturer,
        image_type=image_type,
        file_version=file_version,
        total_size=0,
        stack_version=stack_version,
        header_string=name.encode("ascii", "replace"),
        security_credential_version=credential_version,
        destination=destination,
        hardware_versions=None if hardware is None else HardwareRange(*hardware),
    )
    try:
        if layout is None:
            whole = build_elements([Element(Tag.UPGRADE_IMAGE, body), *further])
            data = Image.build(header, whole).to_bytes()
            data = with_integrity_code(data) if integrity_code else data
        else:
            is_authorised = layout is Layout.AUTHORISED
            word = authorise(body, key, force_replace=int(force_replace)) if is_authorised else None
            data = GbcsImage.build(header, body, word).to_bytes()
    except OurError as error:
        raise click.UsageError(str(error)) from error
    made = described(data, layout)
    if made.findings:
        raise click.UsageError(str(made.findings[0]))
    with exit_statuses():
        write_octets(output, data)
    show(made, as_json=as_json)
