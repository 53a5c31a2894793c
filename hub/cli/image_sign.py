"""``gbhan image sign``."""

from __future__ import annotations

from pathlib import Path

import click

from han.errors import OurError as HanOurError
from han.key_folder import KeyFolder
from han.security.certificate import Credentials
from han.security.lab_authority import lab_credentials
from han.security.ota_signature import sign as signed
from han.security.suite import Suite
from hub.cli.image_inspect import described, show
from hub.cli.options import Eui64Type
from hub.cli.program import exit_statuses
from hub.cli.upgrade_files import (
    blamed_on,
    file_argument,
    json_option,
    output_option,
    read_octets,
    write_octets,
)
from hub.errors import OurError
from ota.eui64 import Eui64


@click.command()
@file_argument
@click.option("--signer", type=Eui64Type(), metavar="EUI64", required=True, help="Whose certificate signs.")
@click.option(
    "--keys",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of gbhan keys that holds it.",
)
@click.option("--lab", is_flag=True, help="One by the public lab authority, made for the signer.")
@click.option(
    "--suite", type=click.Choice(["1", "2"]), default="2", show_default=True, help="Cryptographic suite."
)
@output_option
@json_option
def sign(
    *, file: Path, signer: Eui64, folder: Path | None, lab: bool, suite: str, output: Path, as_json: bool
) -> None:
    """Sign an upgrade file with sub-elements: certificate and signature (ECDSA) go behind them.

    The same file and key give the same octets. GB files are signed as they are built: see gbhan image build.

    Example: gbhan image sign plain.ota --lab --signer 00-DB-12-34-56-78-90-A2 -o signed.ota
    """
    with exit_statuses():
        credentials = _credentials(signer, Suite(int(suite)), folder, lab=lab)
        with blamed_on(file):
            data = signed(read_octets(file), credentials)
        write_octets(output, data)
    show(described(data, None), as_json=as_json, file=output)


def _credentials(signer: Eui64, suite: Suite, folder: Path | None, *, lab: bool) -> Credentials:
    if lab == (folder is not None):
        raise HanOurError("say either --keys DIR or --lab: where is the signer's certificate?")
    if folder is None:
        return lab_credentials(signer, suite)
    for held in KeyFolder.open(folder).credentials_of(signer):
        if held.suite is suite:
            return held
    raise OurError(f"{folder} holds no certificate of {signer} in {suite}: gbhan keys list {folder}")
