"""``gbhan image verify``."""

from __future__ import annotations

from pathlib import Path

import click

from han.errors import HanError
from han.key_folder import KeyFolder
from han.security.certificate import Authority, Credentials, Root
from han.security.lab_authority import lab_authority
from han.security.suite import Suite
from hub.cli.options import Eui64Type
from hub.cli.pem import public_key
from hub.cli.program import FAILED, exit_statuses, print_json
from hub.cli.upgrade_files import (
    as_dict,
    device_type_option,
    file_argument,
    json_option,
    path,
    read_octets,
    sub_elements_option,
)
from hub.errors import OurError
from hub.upgrade_check import Trust, check_any
from ota.anatomy import likely_form
from ota.eui64 import Eui64
from ota.gbcs_image import layout_for
from ota.image import Finding, ImageFormatError


@click.command()
@file_argument
@device_type_option
@sub_elements_option
@click.option("--key", type=path, help="The Supplier's public key or certificate (PEM), for GB files.")
@click.option(
    "--authority",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The authorities in this folder of gbhan keys must have certified the signer: for sub-elements.",
)
@click.option("--lab", is_flag=True, help="The same for the public lab authority.")
@click.option("--signer", "signers", type=Eui64Type(), multiple=True, metavar="EUI64", help="Who may sign.")
@json_option
def verify(
    *,
    file: Path,
    device_type: str | None,
    sub_elements: bool,
    key: Path | None,
    folder: Path | None,
    lab: bool,
    signers: tuple[Eui64, ...],
    as_json: bool,
) -> None:
    """Check an upgrade file: exit status 0 if it is good, 1 if not.

    A GB file is signed by its Supplier (--key), a plain Zigbee one by whom an authority certified
    (--authority or --lab, either suite). Without any of them signatures are not looked at.

    Example: gbhan image verify --for HCALCS --key supplier.pem hcalcs.ota
    """
    with exit_statuses():
        data = read_octets(file)
        roots = _roots(folder, lab=lab)
        if signers and not roots:
            raise OurError("--signer needs --authority or --lab: who certified them?")
        trust = Trust(supplier=None if key is None else public_key(key), roots=roots, signers=signers or None)
    findings = _findings(data, device_type, trust, sub_elements=sub_elements or bool(roots))
    if as_json:
        print_json({"file": str(file), "ok": not findings, "findings": [as_dict(each) for each in findings]})
    else:
        for each in findings:
            click.echo(f"{file}: {each}")
        if not findings:
            click.echo(f"{file}: good")
    if findings:
        raise SystemExit(FAILED)


def _findings(data: bytes, device_type: str | None, trust: Trust, *, sub_elements: bool) -> list[Finding]:
    if sub_elements:
        return check_any(data, None, trust)
    try:
        layout = layout_for(device_type) if device_type else likely_form(data)
    except ImageFormatError as error:
        return [Finding(error.field, error.problem)]
    return check_any(data, layout, trust)


def _roots(folder: Path | None, *, lab: bool) -> dict[Suite, Root]:
    roots: dict[Suite, Root] = {}
    if lab:
        roots |= {suite: lab_authority(suite).root for suite in Suite}
    if folder is not None:
        for held_in, held in KeyFolder.open(folder).holdings():
            match held:
                case HanError():
                    raise OurError(f"{held_in}: {held}")
                case Authority(root=root) | Credentials(root=root):
                    roots.setdefault(root.suite, root)
        if not roots:
            raise OurError(f"{folder} holds no authority: gbhan keys list {folder} says what it holds")
    return roots
