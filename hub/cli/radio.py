"""``gbhan radio``: say what is at the other end of a port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from han import clock
from han.key_folder import KeyFolder
from han.radio import LOWEST_EZSP, ProbeResult, probe
from han.security.certificate import Credentials
from hub.cli.certificates import described, missing, usable
from hub.cli.program import FAILED, exit_statuses, print_json, run


@click.group()
def radio() -> None:
    """Say what is at the other end of a port.

    Example: gbhan radio probe /dev/serial/by-id/usb-ITEAD_SONOFF_Zigbee_3.0_USB_Dongle_Plus_V2-if00
    """


@radio.command(name="probe")
@click.argument("url")
@click.option(
    "--keys",
    "keys",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Say also whether a certificate in this folder names the dongle (see gbhan keys).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def probe_command(url: str, *, keys: Path | None, as_json: bool) -> None:
    """Say what answers at URL, and whether a hub can run on it. Nothing on the dongle is changed.

    URL is a serial port (?baud=460800&flow=hardware), tcp://HOST:PORT, socket://HOST:PORT or sim://HOME.
    Without baud= the usual rates are tried. Exit status 1: an EZSP dongle, but too old, or one that no
    certificate in --keys names.

    Example: gbhan radio probe tcp://127.0.0.1:6638
    """
    with exit_statuses():
        place = None if keys is None else KeyFolder.open(keys)
        found = probed(url)
        held = None if place is None else usable(place, found.eui64)
        why = missing(place, found.eui64, url) if place is not None and not held else ""
    if as_json:
        certificates = {} if held is None else {"certificates": [described(each) for each in held]}
        print_json(_document(found) | certificates)
    else:
        for label, text in [*_lines(found), *_proofs(held or (), why)]:
            click.echo(f"{label:<11} {text}")
    if why or not found.is_usable:
        raise SystemExit(FAILED)


def probed(url: str) -> ProbeResult:
    """What answers at a radio's URL. Raises as `han.radio.probe` does."""
    if not url.startswith("sim:"):
        return run(probe(url))
    # Makes the serial library know sim:// URLs. In the simulation nobody needs to wait.
    import han.sim  # noqa: F401, PLC0415 - for its effect, and only where it is wanted

    return clock.run(probe(url), virtual=True)


def _proofs(held: Sequence[Credentials], why_none: str) -> list[tuple[str, str]]:
    """What the certificates in a folder are to the dongle."""
    if why_none:
        return [("certificate", why_none)]
    return [("certificate", f"{each.suite}, by {each.root.issuer}: names this dongle") for each in held]


def _document(found: ProbeResult) -> dict[str, Any]:
    document = asdict(found) | {"eui64": str(found.eui64), "usable": found.is_usable}
    if found.network is not None:
        document["network"] = asdict(found.network) | {
            "eui64": str(found.network.eui64),
            "extended_pan_id": str(found.network.extended_pan_id),
        }
    return document


def _lines(found: ProbeResult) -> list[tuple[str, str]]:
    network = found.network
    holds = "none: a hub would form one"
    if network is not None:
        holds = (
            f"extended PAN id {network.extended_pan_id}, PAN id {network.pan_id:#06x},"
            f" channel {network.channel}"
        )
    verdict = (
        "a hub can run on it"
        if found.is_usable
        else f"too old: a hub needs EZSP {LOWEST_EZSP}; update its firmware"
    )
    board = " ".join(part for part in (found.manufacturer, found.board) if part)
    speed = [] if found.baudrate is None else [("baud rate", str(found.baudrate))]
    return [
        ("dongle", board or "does not say what it is"),
        ("EUI-64", str(found.eui64)),
        ("EZSP", str(found.ezsp_version)),
        ("firmware", found.firmware or "does not say"),
        *speed,
        ("network", holds),
        ("verdict", verdict),
    ]
