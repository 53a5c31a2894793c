"""``gbhan switch-key``: give the network of a running hub a new network key."""

from __future__ import annotations

import click

from hub.cli.asking import ask, asking_mailbox
from hub.cli.options import Eui64Type
from hub.cli.program import FAILED, exit_statuses, print_json, run
from hub.messages import SwitchKeyRequest
from hub.mqtt import BrokerAddress
from ota.eui64 import Eui64

WITHIN = 90.0
"""Seconds. The new key needs twenty to spread before it is used."""


@click.command("switch-key")
@click.option("--mqtt", default="mqtt://127.0.0.1", show_default=True, help="The hub's broker.")
@click.option("--hub", type=Eui64Type(), help="Which hub, if there are several.")
@click.option(
    "--broadcast", is_flag=True, help="To everybody, under the old key: where nobody has a link key."
)
@click.option("--insecure", default="", metavar="WORDS", help="See SECURITY.md.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def switch_key(*, mqtt: str, hub: Eui64 | None, broadcast: bool, insecure: str, as_json: bool) -> None:
    """Give the network a new key, device by device: one that was removed does not get it.

    Devices that sleep through it come back by themselves. Takes about half a minute.

    Example: gbhan switch-key
    """
    with exit_statuses():
        mailbox = asking_mailbox(BrokerAddress.parse(mqtt, insecure))
        answer = run(
            ask(
                mailbox,
                hub,
                lambda pen: SwitchKeyRequest(broadcast=broadcast, **pen.stamp()),
                within=WITHIN,
            )
        )
    if as_json:
        print_json({"ok": answer.ok, "code": answer.code, "reason": answer.reason})
    elif answer.ok:
        click.echo("The network has a new key.")
    else:
        click.echo(f"Error: the hub refuses ({answer.code}): {answer.reason}", err=True)
    if not answer.ok:
        raise SystemExit(FAILED)
