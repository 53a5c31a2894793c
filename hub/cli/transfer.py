"""``gbhan transfer``: look at the downloads of a running hub, and say what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import click
import msgspec
from rich.console import Console

from hub.cli.asking import ask, asking_mailbox, conversation
from hub.cli.options import BlockPeriod, Duration, Eui64Type
from hub.cli.program import FAILED, exit_statuses, print_json, run
from hub.cli.transfer_view import FINAL, TransferView
from hub.messages import (
    ConfigureRequest,
    DevicesRequest,
    Envelopes,
    Message,
    Progress,
    Response,
    TransferEntry,
    TransferRequest,
)
from hub.mqtt import BrokerAddress, MailboxSettings
from hub.terms import PeriodUnit, Terms
from ota.eui64 import Eui64

LOOK_AGAIN = 60.0
"""Seconds after which the list is asked for anew: the broker may have been away when the end was told."""

Entry = Progress | TransferEntry
Show = Callable[[str, Entry], None]


@click.group()
def transfer() -> None:
    """The downloads of a running hub: look at them, pause, resume or abort one, set the terms of a device.

    Example: gbhan transfer show --follow
    """


def _reach(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every one of these commands has."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="JSON on stdout."),
        click.option("--insecure", default="", metavar="WORDS", help="See SECURITY.md."),
        click.option("--hub", type=Eui64Type(), help="Which hub, if there are several."),
        click.option("--mqtt", default="mqtt://127.0.0.1", show_default=True, help="The hub's broker."),
    ):
        command = option(command)
    return command


@transfer.command()
@click.option("--follow", is_flag=True, help="Go on until every transfer has ended.")
@_reach
def show(*, follow: bool, mqtt: str, hub: Eui64 | None, insecure: str, as_json: bool) -> None:
    """Show how each device stands with the image that is meant for it; with --follow --json a line a change.

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
        click.echo(
            "No download: SR 11.1 or 11.4 brings an image, see gbhan request --help; it may be on its way."
        )
    if any(entry.state in ("failed", "discarded") for entry in ended.values()):
        raise SystemExit(FAILED)


@transfer.command()
@click.argument("eui64", type=Eui64Type())
@_reach
def pause(*, eui64: Eui64, mqtt: str, hub: Eui64 | None, insecure: str, as_json: bool) -> None:
    """Let the download of EUI64 rest until it is resumed; it stays paused when the hub restarts.

    Example: gbhan transfer pause 00-DB-12-34-56-78-90-A4
    """
    answer = _order(Place(mqtt, hub, insecure), eui64, "pause")
    _print(answer, eui64, "is paused: gbhan transfer resume lets it go on.", as_json=as_json)


@transfer.command()
@click.argument("eui64", type=Eui64Type())
@_reach
def resume(*, eui64: Eui64, mqtt: str, hub: Eui64 | None, insecure: str, as_json: bool) -> None:
    """Let the paused download of EUI64 go on where it stood, which takes up to a minute.

    Example: gbhan transfer resume 00-DB-12-34-56-78-90-A4
    """
    answer = _order(Place(mqtt, hub, insecure), eui64, "resume")
    _print(answer, eui64, "goes on.", as_json=as_json)


@transfer.command()
@click.argument("eui64", type=Eui64Type())
@_reach
def abort(*, eui64: Eui64, mqtt: str, hub: Eui64 | None, insecure: str, as_json: bool) -> None:
    """End the download of EUI64: it has failed, and whoever asked for it hears so.

    Example: gbhan transfer abort 00-DB-12-34-56-78-90-A4
    """
    answer = _order(Place(mqtt, hub, insecure), eui64, "abort")
    _print(answer, eui64, "gets this image no more.", as_json=as_json)


@transfer.command()
@click.argument("eui64", type=Eui64Type())
@click.option("--block-ceiling", type=click.IntRange(1, 65), help="Octets of image in a block, at most.")
@click.option("--block-period", type=BlockPeriod(), help="Between two of its requests: 250ms, 2s; 0: none.")
@click.option("--period-unit", type=click.Choice(get_args(PeriodUnit)), help="What it counts the period in.")
@click.option("--acks/--no-acks", default=None, help="Whether blocks want an APS acknowledgement.")
@click.option("--pages/--no-pages", default=None, help="Whether its page requests are served.")
@click.option("--stall-after", type=Duration(), help="Silence after which its download counts as stalled.")
@click.option("--reset", is_flag=True, help="Take back whatever was said before, but for what is said now.")
@_reach
def configure(
    *,
    eui64: Eui64,
    block_ceiling: int | None,
    block_period: float | None,
    period_unit: PeriodUnit | None,
    acks: bool | None,
    pages: bool | None,
    stall_after: float | None,
    reset: bool,
    mqtt: str,
    hub: Eui64 | None,
    insecure: str,
    as_json: bool,
) -> None:
    """Serve EUI64 on these terms from now on, in mid-download too; without options say on which it is served.

    What is said here wins over the hub's configuration file and is kept when the hub restarts.

    Example: gbhan transfer configure 00-DB-12-34-56-78-90-A4 --block-period 250ms --block-ceiling 40
    """
    said = {
        "block_ceiling": block_ceiling,
        "minimum_block_period": block_period,
        "block_period_unit": period_unit,
        "acknowledged_blocks": acks,
        "stall_after": stall_after,
        "serves_pages": pages,
    }
    try:
        terms = msgspec.convert(
            {name: value for name, value in said.items() if reset or value is not None}, Terms
        )
    except msgspec.ValidationError as error:
        raise click.UsageError(f"such terms cannot be: {error}") from None

    def make(pen: Envelopes) -> ConfigureRequest:
        return ConfigureRequest(device=str(eui64), terms=terms, **pen.stamp())

    answer = Place(mqtt, hub, insecure).ask(make)
    in_force = msgspec.to_builtins(answer.terms or Terms())
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in in_force.items())
    more = {"terms": in_force} if answer.ok else {}
    _print(answer, eui64, f"is served so: {words or 'as all others'}.", as_json=as_json, more=more)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hub is."""

    mqtt: str
    hub: Eui64 | None
    insecure: str

    def ask(self, make: Callable[[Envelopes], Message]) -> Response:
        """Ask the hub; leaves with an exit status where that is not there."""
        with exit_statuses():
            mailbox = asking_mailbox(BrokerAddress.parse(self.mqtt, self.insecure))
            return run(ask(mailbox, self.hub, make, within=15.0))


def _order(place: Place, device: Eui64, action: Literal["pause", "resume", "abort"]) -> Response:
    def make(pen: Envelopes) -> TransferRequest:
        return TransferRequest(device=str(device), action=action, **pen.stamp())

    return place.ask(make)


def _print(
    answer: Response,
    device: Eui64,
    done: str,
    *,
    as_json: bool,
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Print what came of it; leaves with 1 if the hub refuses."""
    if as_json:
        print_json(
            {"device": str(device), "ok": answer.ok, "code": answer.code, "reason": answer.reason, **more}
        )
    elif answer.ok:
        click.echo(f"{device} {done}")
    else:
        click.echo(f"Error: the hub refuses ({answer.code}): {answer.reason}", err=True)
    if not answer.ok:
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
