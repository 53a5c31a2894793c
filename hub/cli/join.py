"""``gbhan join``: admit a device to a running hub."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from hub.cli.asking import ask, asking_mailbox
from hub.cli.options import Eui64Type, read_secret
from hub.cli.program import FAILED, exit_statuses, print_json, run
from hub.errors import OurError
from hub.messages import DeviceType, Envelopes, JoinRequest
from hub.mqtt import BrokerAddress
from ota.eui64 import Eui64


@click.command()
@click.argument("eui64", type=Eui64Type())
@click.argument("install_code", metavar="[INSTALL-CODE]", required=False)
@click.option(
    "--code-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the code from here.",
)
@click.option("--type", "device_type", type=click.Choice(get_args(DeviceType)), required=True)
@click.option(
    "--seconds", type=click.IntRange(1, 254), default=254, show_default=True, help="How long it may join."
)
@click.option(
    "--key-establishment/--no-key-establishment",
    default=None,
    help="Whether it has to prove itself by certificate; the hub's configuration says so by default.",
)
@click.option("--mqtt", default="mqtt://127.0.0.1", show_default=True, help="The hub's broker.")
@click.option("--hub", type=Eui64Type(), help="Which hub, if there are several.")
@click.option("--insecure", default="", metavar="WORDS", help="See SECURITY.md.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def join(
    *,
    eui64: Eui64,
    install_code: str | None,
    code_file: Path | None,
    device_type: DeviceType,
    seconds: int,
    key_establishment: bool | None,
    mqtt: str,
    hub: Eui64 | None,
    insecure: str,
    as_json: bool,
) -> None:
    """Admit the device EUI64 with its INSTALL-CODE (hex, CRC included) to a running hub.

    The code on the command line can be seen by other users of this machine; --code-file keeps it from them.

    Example: gbhan join 00-DB-12-34-56-78-90-A4 83FED3407A939723A5C639B26916D505C3B5 --type PPMID
    """
    with exit_statuses():
        code = _checked_code(read_secret(code_file) or install_code)
        address = BrokerAddress.parse(mqtt, insecure)

        def request(envelopes: Envelopes) -> JoinRequest:
            return JoinRequest(
                device=str(eui64),
                install_code=code,
                device_type=device_type,
                seconds=seconds,
                key_establishment=key_establishment,
                **envelopes.stamp(),
            )

        answer = run(ask(asking_mailbox(address), hub, request, within=15.0))
    if as_json:
        print_json({"device": str(eui64), "ok": answer.ok, "code": answer.code, "reason": answer.reason})
    elif answer.ok:
        click.echo(f"{eui64} may join within {seconds} s: switch it on now.")
    else:
        click.echo(f"Error: the hub refuses ({answer.code}): {answer.reason}", err=True)
    if not answer.ok:
        raise SystemExit(FAILED)


def _checked_code(code: str | None) -> str:
    if not code:
        raise OurError("the install code is missing: give it behind the EUI-64, or in --code-file")
    plain = code.replace("-", "").replace(" ", "").lower()
    if len(plain) not in {16, 20, 28, 36} or set(plain) - set("0123456789abcdef"):
        raise OurError("an install code has 6, 8, 12 or 16 octets and 2 of CRC, all in hex")
    return plain
