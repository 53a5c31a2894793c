"""``gbhan request``: send a Service Request to a running DSP stub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from hub.cli.options import Eui64Type, read_secret
from hub.cli.program import BAD_INPUT, FAILED, exit_statuses, run
from hub.cli.transfer_view import TransferView
from hub.dcc.client import DspAddress, DspClient
from hub.dcc.contract import Answered, Standing
from hub.dcc.errors import TheirError
from hub.dcc.requests import (
    ActivateFirmware,
    ReadFirmwareVersion,
    ServiceRequest,
    UpdateFirmware,
    UpdatePpmidFirmware,
)
from ota.errors import OtaError
from ota.eui64 import Eui64
from ota.gbcs_image import GbcsImage, likely_layout

_LOOK_EVERY = 5.0
"""Seconds between two looks at the downloads; a hub tells no more often by itself."""


@click.command(epilog="Example: gbhan request 11.4 --image ppmid.ota --device 00-DB-12-34-56-78-90-A4 --wait")
@click.argument("service", type=click.Choice(["11.1", "11.2", "11.3", "11.4", "status"]))
@click.option("--device", "devices", type=Eui64Type(), multiple=True, help="A device; repeat it for a list.")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="11.1, 11.4: the upgrade file. 11.3: the file whose Manufacturer Image Hash is meant.",
)
@click.option("--version", "firmware_version", help="11.1, 11.4: FirmwareVersion, checked against the file.")
@click.option("--hash", "image_hash", help="11.3: the Manufacturer Image Hash in hex, instead of --image.")
@click.option("--at", "execution_time", help="11.3: when to activate, in UTC: 2026-01-05T12:00:00Z.")
@click.option(
    "--cancel", "cancels", is_flag=True, help="11.3: let the device forget the activation it has pending."
)
@click.option("--id", "request_id", help="The RequestID; the same id again is the same request.")
@click.option("--wait", is_flag=True, help="Wait until the request has ended, and show the downloads.")
@click.option("--dsp", "url", default=DspAddress().url, show_default=True, help="Where the DSP stub listens.")
@click.option("--token-file", type=click.Path(path_type=Path), help="What the DSP stub wants to hear.")
@click.option("--ca", "authority", type=click.Path(path_type=Path), help="Who vouches for its certificate.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def request(
    service: str,
    devices: tuple[Eui64, ...],
    url: str,
    token_file: Path | None,
    authority: Path | None,
    *,
    wait: bool,
    as_json: bool,
    **details: Any,  # noqa: ANN401 - the options that only some services have
) -> None:
    """Send a Service Request: 11.1, 11.2, 11.3 or 11.4; or ask for the status of one (with --id).

    A device has one activation pending: an 11.3 that it accepts, for now or --at a later time, takes the
    place of the one before, which then ends as cancelled. With --cancel nothing is put in its place. DUIS
    has no element for that; what the device gets is the CS06 command that GBCS has for it.

    Exit status: 0 accepted (with --wait: and ended well), 1 refused or ended badly, 2 bad input, 3 no DSP
    stub.
    """
    with exit_statuses(), _bad_input():
        address = DspAddress(url=url, token=read_secret(token_file), authority=authority)
        if service != "status":
            asked = _service_request(service, devices, **details)
        elif details["request_id"]:
            asked = None
        else:
            raise click.UsageError("status needs --id, the RequestID")
        with TransferView.on(Console(stderr=True, quiet=as_json)) as view:
            talk = _converse(address, asked, details["request_id"] or "", view if wait else None)
            answer, standing = run(talk)
    if as_json:
        click.echo(msgspec.json.encode({"response": answer, "standing": standing}))
    else:
        _print_answer(answer)
        _print_standing(standing)
    went_well = (answer is None or answer.ok) and (standing is None or not standing.finished or standing.ok)
    raise SystemExit(0 if went_well else FAILED)


@contextlib.contextmanager
def _bad_input() -> Iterator[None]:
    """A file or a field that is wrong was given on the command line: that is bad input, no failed job."""
    try:
        yield
    except (TheirError, OtaError) as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(BAD_INPUT) from None


async def _converse(
    address: DspAddress, asked: ServiceRequest | None, request_id: str, view: TransferView | None
) -> tuple[Answered | None, Standing | None]:
    """Ask; with a view, wait for the end and show there how the downloads go meanwhile."""

    def watch(standing: Standing) -> None:
        for each in standing.devices:
            if each.transfer is not None and view is not None:
                view.show(each.device, each.transfer)

    async with DspClient(address) as dsp:
        answer = None if asked is None else await dsp.submit(asked)
        if answer is not None:
            request_id = answer.request_id
            if not answer.ok:
                return answer, None
        if view is not None:
            return answer, await dsp.finished(request_id, watch=watch, look_every=_LOOK_EVERY)
        return answer, await dsp.standing(request_id) if answer is None else None


def _service_request(
    service: str,
    devices: tuple[Eui64, ...],
    *,
    image: Path | None,
    firmware_version: str | None,
    image_hash: str | None,
    execution_time: str | None,
    cancels: bool,
    request_id: str | None,
) -> ServiceRequest:
    given = {
        "--image": image,
        "--version": firmware_version,
        "--hash": image_hash,
        "--at": execution_time,
        "--cancel": cancels or None,
    }
    allowed = {"11.2": (), "11.3": ("--image", "--hash", "--at", "--cancel")}.get(
        service, ("--image", "--version")
    )
    for name, value in given.items():
        if value is not None and name not in allowed:
            raise click.UsageError(f"{service} has no {name}")
    if service in {"11.1", "11.4"}:
        if image is None:
            raise click.UsageError(f"{service} needs --image, the upgrade file")
        kind = UpdateFirmware if service == "11.1" else UpdatePpmidFirmware
        return kind(
            image=image.read_bytes(),
            devices=devices,
            firmware_version=firmware_version,
            request_id=request_id,
        )
    if len(devices) != 1:
        raise click.UsageError(f"{service} is for one device: give one --device")
    if service == "11.2":
        return ReadFirmwareVersion(device=devices[0], request_id=request_id)
    return ActivateFirmware(
        device=devices[0],
        manufacturer_image_hash=_hash(image, image_hash),
        execution_time=_moment(execution_time),
        cancels=cancels,
        request_id=request_id,
    )


def _hash(image: Path | None, text: str | None) -> bytes:
    if (image is None) == (text is None):
        raise click.UsageError("11.3 needs --hash or --image, one of them")
    if image is not None:
        data = image.read_bytes()
        return GbcsImage.read(data, likely_layout(data)).manufacturer_image_hash
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        raise click.BadParameter("--hash is not written in hex") from None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"--at {text!r} is no time: write 2026-01-05T12:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _print_answer(answer: Answered | None) -> None:
    if answer is None:
        return
    verdict = "accepted" if answer.ok else "refused"
    click.echo(f"{answer.service_request} {answer.request_id}: {verdict}, {answer.code} ({answer.reason})")
    for name, devices in answer.lists.items():
        for device in devices:
            click.echo(f"  left out {device}: {answer.reasons.get(device, '')} ({name})")
    for advice in answer.advice:
        click.echo(f"  note: {advice}")


def _print_standing(standing: Standing | None) -> None:
    if standing is None:
        return
    for line in standing.story:
        when = datetime.fromtimestamp(line.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        words = " ".join(word for word in (line.device or "", line.event, line.code) if word)
        click.echo(f"  {when}  {words}{': ' + line.text if line.text else ''}")
    for device in standing.devices:
        ended = device.outcome or f"open ({device.stage})"
        version = f", version {device.version_after}" if device.version_after else ""
        click.echo(f"{device.device} {device.device_type}: {ended}{version}")
