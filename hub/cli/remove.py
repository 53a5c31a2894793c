"""``gbhan remove``: strike a device off a running hub."""

from __future__ import annotations

import click

from hub.cli.asking import ask, asking_mailbox
from hub.cli.options import Eui64Type
from hub.cli.program import FAILED, exit_statuses, print_json, run
from hub.messages import RemoveRequest
from hub.mqtt import BrokerAddress
from ota.eui64 import Eui64


@click.command()
@click.argument("eui64", type=Eui64Type())
@click.option("--mqtt", default="mqtt://127.0.0.1", show_default=True, help="The hub's broker.")
@click.option("--hub", type=Eui64Type(), help="Which hub, if there are several.")
@click.option("--insecure", default="", metavar="WORDS", help="See SECURITY.md.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def remove(*, eui64: Eui64, mqtt: str, hub: Eui64 | None, insecure: str, as_json: bool) -> None:
    """Remove the device EUI64 from a running hub: it has to leave, and stays out until it is admitted anew.

    Example: gbhan remove 00-DB-12-34-56-78-90-A4
    """
    with exit_statuses():
        mailbox = asking_mailbox(BrokerAddress.parse(mqtt, insecure))
        answer = run(
            ask(mailbox, hub, lambda pen: RemoveRequest(device=str(eui64), **pen.stamp()), within=30.0)
        )
    if as_json:
        print_json({"device": str(eui64), "ok": answer.ok, "code": answer.code, "reason": answer.reason})
    elif answer.ok:
        click.echo(f"{eui64} is removed: its keys are erased.")
    else:
        click.echo(f"Error: the hub refuses ({answer.code}): {answer.reason}", err=True)
    if not answer.ok:
        raise SystemExit(FAILED)
