"""``gbhan radio``: say what is at the other end of a port."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from han import clock
from han.radio import LOWEST_EZSP, ProbeResult, probe
from hub.cli.program import FAILED, exit_statuses, print_json, run


@click.group()
def radio() -> None:
    """Say what is at the other end of a port.

    Example: gbhan radio probe /dev/serial/by-id/usb-ITEAD_SONOFF_Zigbee_3.0_USB_Dongle_Plus_V2-if00
    """


@radio.command(name="probe")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def probe_command(url: str, *, as_json: bool) -> None:
    """Say what answers at URL, and whether a hub can run on it. Nothing on the dongle is changed.

    URL is a serial port (?baud=460800&flow=hardware), tcp://HOST:PORT, socket://HOST:PORT or sim://HOME.
    Without baud= the usual rates are tried. Exit status 1: an EZSP dongle, but too old.

    Example: gbhan radio probe tcp://127.0.0.1:6638
    """
    with exit_statuses():
        if url.startswith("sim:"):
            # Makes the serial library know sim:// URLs. In the simulation nobody needs to wait.
            import han.sim  # noqa: F401, PLC0415 - for its effect, and only where it is wanted

            found = clock.run(probe(url), virtual=True)
        else:
            found = run(probe(url))
    if as_json:
        print_json(_document(found))
    else:
        for label, text in _lines(found):
            click.echo(f"{label:<10} {text}")
    if not found.is_usable:
        raise SystemExit(FAILED)


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
