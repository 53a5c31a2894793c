"""``gbhan transfer``: look at the downloads of a running hub."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import click
import msgspec
from rich.console import Console

from hub.cli.asking import asking_mailbox, conversation
from hub.cli.options import Eui64Type
from hub.cli.program import FAILED, exit_statuses, print_json, run
from hub.cli.transfer_view import FINAL, TransferView
from hub.messages import DevicesRequest, Progress, TransferEntry
from hub.mqtt import BrokerAddress, MailboxSettings
from ota.eui64 import Eui64

LOOK_AGAIN = 60.0
"""Seconds after which the list is asked for anew: the broker may have been away when the end was told."""

Entry = Progress | TransferEntry
Show = Callable[[str, Entry], None]


@click.group()
def transfer() -> None:
    """The downloads of a running hub: look at them.

    Example: gbhan transfer show --follow
    """


@transfer.command()
@click.option("--follow", is_flag=True, help="Go on until every transfer has ended.")
@click.option("--mqtt", default="mqtt://127.0.0.1", show_default=True, help="The hub's broker.")
@click.option("--hub", type=Eui64Type(), help="Which hub, if there are several.")
@click.option("--insecure", default="", metavar="WORDS", help="See SECURITY.md.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, with --follow a line for each change.")
def show(*, follow: bool, mqtt: str, hub: Eui64 | None, insecure: str, as_json: bool) -> None:
    """Show how each device stands with the image that is meant for it.

    Exit status: 1 if a transfer that was shown has failed, or its image was discarded.

    Example: gbhan transfer show --follow --json
    """
    with exit_statuses():
        mailbox = asking_mailbox(BrokerAddress.parse(mqtt, insecure))
        if as_json:
            ended = run(look_on(mailbox, hub, _json_line if follow else _nothing, follow=follow))
        else:
            with TransferView.on(Console()) as view:
                ended = run(look_on(mailbox, hub, view.show, follow=follow))
    if as_json and not follow:
        print_json([_document(device, entry) for device, entry in ended.items()])
    elif not as_json and not ended:
        click.echo("No device waits for an image: SR 11.1 or 11.4 brings one, see gbhan request --help.")
    if any(entry.state in ("failed", "discarded") for entry in ended.values()):
        raise SystemExit(FAILED)


async def look_on(
    mailbox: MailboxSettings, hub: Eui64 | None, tell: Show, *, follow: bool
) -> dict[str, Entry]:
    """Tell how each transfer stands, with ``follow`` until all have ended; gives how each stood last.

    Raises:
        BrokerError: if the broker is not there.
        SurroundingsError: if the hub does not answer.
        OurError: if there are several hubs and none is named.
    """
    news: asyncio.Queue[Progress] = asyncio.Queue()

    latest: dict[str, Entry] = {}
    async with conversation(mailbox, hub, news.put_nowait) as talk:
        while True:
            listed = await talk.ask(lambda pen: DevicesRequest(**pen.stamp()), within=15.0)
            for each in listed.devices:
                if each.transfer is not None:
                    latest[each.device] = each.transfer
                    tell(each.device, each.transfer)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    while follow and any(entry.state not in FINAL for entry in latest.values()):
                        progress = await news.get()
                        latest[progress.device] = progress
                        tell(progress.device, progress)
                    return latest


def _document(device: str, entry: Entry) -> dict[str, object]:
    if isinstance(entry, Progress):
        return dict(msgspec.to_builtins(entry))
    return {"device": device, **msgspec.to_builtins(entry)}


def _json_line(device: str, entry: Entry) -> None:
    print_json(_document(device, entry))


def _nothing(device: str, entry: Entry) -> None:
    """Somebody else tells."""
