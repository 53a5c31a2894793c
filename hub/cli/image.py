"""``gbhan image``: make, explain and check upgrade files."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from ota.elements import parse_elements
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.gbcs_image import LAYOUTS, GbcsImage, Layout, authorise, check, layout_for, likely_layout
from ota.image import Finding, HardwareRange, Header, ImageFormatError
from ota.image import check as check_file

_FAILED, _BAD_INPUT = 1, 2

_device_type = click.option(
    "--for",
    "device_type",
    type=click.Choice(list(LAYOUTS)),
    help="The type of device the file is for: settles what follows the OTA header.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


def _hex(octets: int) -> Callable[[str], int]:
    """A number in hex, with or without 0x, of at most so many octets."""

    def read(text: str) -> int:
        try:
            number = int(text, 16)
        except ValueError:
            raise click.BadParameter(f"{text!r} is no number in hex") from None
        if not 0 <= number < 1 << 8 * octets:
            raise click.BadParameter(f"{text!r} does not fit {octets} octets")
        return number

    read.__name__ = f"{2 * octets} hex digits"  # what click shows in the help
    return read


def _eui64(text: str) -> Eui64:
    try:
        return Eui64.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group()
def image() -> None:
    """Make, explain and check upgrade files.

    Example: gbhan image inspect ppmid.ota
    """


@image.command()
@_device_type
@click.option(
    "--manufacturer", type=_hex(2), default="121D", show_default=True, help="Manufacturer code, hex."
)
@click.option("--image-type", type=_hex(2), default="0084", show_default=True, help="Image type, hex.")
@click.option("--file-version", type=_hex(4), required=True, help="The version, up to 8 hex digits.")
@click.option("--hardware", type=(_hex(2), _hex(2)), help="Least and greatest hardware version, hex.")
@click.option("--destination", type=_eui64, metavar="EUI64", help="The only device that the file is for.")
@click.option("--name", default="", help="The header string: up to 32 ASCII characters.")
@click.option(
    "--manufacturer-image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The Manufacturer Image. Without it, one is made up.",
)
@click.option("--size", type=click.IntRange(1), default=2048, show_default=True, help="Octets to make up.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed makes up the same octets."
)
@click.option("--sign", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="P-256 key, PEM.")
@click.option("--force-replace", is_flag=True, help="Set the force-replace octet.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True)
@_as_json
def build(
    *,
    device_type: str | None,
    manufacturer: int,
    image_type: int,
    file_version: int,
    hardware: tuple[int, int] | None,
    destination: Eui64 | None,
    name: str,
    manufacturer_image: Path | None,
    size: int,
    seed: int,
    sign: Path | None,
    force_replace: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Make an upgrade file.

    Example: gbhan image build --for PPMID --file-version 2 --size 350000 -o ppmid.ota
    """
    layout = layout_for(device_type or "PPMID")
    if layout is Layout.MANUFACTURER_IMAGE and (sign or force_replace):
        raise click.UsageError(
            f"a file for a {device_type or 'PPMID'} carries no authorisation to sign or flag"
        )
    body = random.Random(seed).randbytes(size) if manufacturer_image is None else _octets(manufacturer_image)
    key = None if sign is None else _private_key(sign)
    try:
        made = GbcsImage.build(
            Header(
                manufacturer=manufacturer,
                image_type=image_type,
                file_version=file_version,
                total_size=0,
                header_string=name.encode("ascii", "replace"),
                destination=destination,
                hardware_versions=None if hardware is None else HardwareRange(*hardware),
            ),
            body,
            authorise(body, key, force_replace=int(force_replace)) if layout is Layout.AUTHORISED else None,
        )
        data = made.to_bytes()
    except OurError as error:
        raise click.UsageError(str(error)) from error
    findings = check(data, layout)
    if findings:
        raise click.UsageError(str(findings[0]))
    try:
        output.write_bytes(data)
    except OSError as error:
        _refuse(f"cannot write {output}: {error.strerror}")
    _tell(_describe(data, layout), as_json=as_json)


@image.command()
@_file
@_device_type
@_as_json
def inspect(*, file: Path, device_type: str | None, as_json: bool) -> None:
    """Explain an upgrade file, also a spoilt one as far as it can be read.

    Example: gbhan image inspect --json ppmid.ota
    """
    data = _octets(file)
    try:
        described = _describe(data, layout_for(device_type) if device_type else likely_layout(data))
    except ImageFormatError as error:
        if as_json:
            _tell({"file": str(file), "size": len(data), "findings": [str(error)]}, as_json=True)
        _refuse(f"{file}: {error}")
    _tell({"file": str(file), **described}, as_json=as_json)


@image.command()
@_file
@_device_type
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The Supplier's public key or certificate (PEM): check the authorisation too.",
)
@_as_json
def verify(*, file: Path, device_type: str | None, key: Path | None, as_json: bool) -> None:
    """Check an upgrade file: exit status 0 if it is good, 1 if not.

    Example: gbhan image verify --for HCALCS --key supplier.pem hcalcs.ota
    """
    data = _octets(file)
    public = None if key is None else _public_key(key)
    findings = check_file(data)
    if not findings:
        layout = layout_for(device_type) if device_type else likely_layout(data)
        findings = check(data, layout, public)
    if as_json:
        _tell(
            {"file": str(file), "ok": not findings, "findings": [_finding(found) for found in findings]},
            as_json=True,
        )
    elif findings:
        for found in findings:
            click.echo(f"{file}: {found}")
    else:
        click.echo(f"{file}: good")
    if findings:
        raise SystemExit(_FAILED)


def _refuse(message: str) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    raise SystemExit(_BAD_INPUT)


def _octets(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        _refuse(f"cannot read {file}: {error.strerror}")


def _private_key(file: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(_octets(file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not the library's own words: they might quote the key.
        _refuse(f"{file} is no private key in PEM without a password")
    if not isinstance(key, EllipticCurvePrivateKey):
        _refuse(f"{file} is not an elliptic curve key: an authorisation is signed on P-256")
    return key


def _public_key(file: Path) -> EllipticCurvePublicKey:
    octets = _octets(file)
    try:
        if b"BEGIN CERTIFICATE" in octets:
            key = load_pem_x509_certificate(octets).public_key()
        else:
            key = load_pem_public_key(octets)  # type: ignore[assignment]  # both unions name the curve keys
    except (ValueError, UnsupportedAlgorithm):
        _refuse(f"{file} is no public key or certificate in PEM")
    if not isinstance(key, EllipticCurvePublicKey):
        _refuse(f"{file} is not an elliptic curve key: an authorisation is signed on P-256")
    return key


@dataclass(frozen=True)
class _Body:
    """What follows a header, as far as it can be read."""

    facts: dict[str, Any]
    findings: list[Finding]


def _describe(data: bytes, layout: Layout) -> dict[str, Any]:
    header = Header.parse(data)
    hardware, destination = header.hardware_versions, header.destination
    body = _body(data, header, layout)
    return {
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
        **body.facts,
        "findings": [_finding(found) for found in body.findings],
    }


def _body(data: bytes, header: Header, layout: Layout) -> _Body:
    facts: dict[str, Any] = {"layout": layout.value}
    findings = check(data, layout)
    try:
        read = GbcsImage.read(data, layout)
    except ImageFormatError:
        return _Body(facts, findings)
    facts["manufacturer_image_size"] = len(read.manufacturer_image)
    facts["manufacturer_image_hash"] = read.manufacturer_image_hash.hex()
    if read.authorisation is not None:
        facts["force_replace"] = read.authorisation.force_replace
        facts["signed"] = read.authorisation.is_signed
    try:
        elements = parse_elements(data[header.length :])
    except ImageFormatError:
        return _Body(facts, findings)  # as it should be: a GB file has none
    facts["sub_elements"] = [f"{element.tag.name}: {len(element.data)} octets" for element in elements]
    return _Body(facts, findings)


def _finding(found: Finding) -> dict[str, str]:
    return {"field": found.field, "problem": found.problem}


def _tell(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    findings = facts.pop("findings", [])
    for what, value in facts.items():
        if value not in (None, ""):
            shown = " to ".join(value) if what == "hardware_versions" else value
            click.echo(f"{what.replace('_', ' ')}: {shown}")
    for found in findings:
        click.echo(f"wrong: {found['field']}: {found['problem']}")
