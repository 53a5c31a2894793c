"""``gbhan devices``: list the devices of a running hub."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hub.cli.asking import ask, asking_mailbox
from hub.cli.options import Eui64Type
from hub.cli.program import exit_statuses, print_json, run
from hub.cli.transfer_view import shown
from hub.messages import DevicesRequest, Response
from hub.mqtt import BrokerAddress
from ota.eui64 import Eui64


@click.command()
@click.option("--mqtt", default="mqtt://127.0.0.1", show_default=True, help="The hub's broker.")
@click.option("--hub", type=Eui64Type(), help="Which hub, if there are several.")
@click.option("--insecure", default="", metavar="WORDS", help="See SECURITY.md.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def devices(*, mqtt: str, hub: Eui64 | None, insecure: str, as_json: bool) -> None:
    """List the devices that a running hub has admitted, and how each stands with the image meant for it.

    Example: gbhan devices --mqtt mqtt://127.0.0.1 --json
    """
    with exit_statuses():
        mailbox = asking_mailbox(BrokerAddress.parse(mqtt, insecure))
        answer = run(ask(mailbox, hub, lambda pen: DevicesRequest(**pen.stamp()), within=15.0))
    if as_json:
        print_json(msgspec.to_builtins(answer.devices))
    else:
        _show(answer)


def _show(answer: Response) -> None:
    table = Table("Device", "Type", "State", "Link key", "Version", "Image", "Trouble", box=None)
    for each in answer.devices:
        key = "established" if each.secured else "none"
        version = each.file_version or "not told yet"
        image = shown(each.transfer)
        table.add_row(each.device, each.device_type, each.state, key, version, image, each.trouble)
    if answer.devices:
        Console().print(table)
    else:
        click.echo("No device has been admitted yet: see gbhan join --help.")
