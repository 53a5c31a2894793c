"""What ``gbhan demo`` does and prints."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from han.clock import monotonic_seconds, run
from han.facts import Fact
from han.sim.home import Home, HomeError, read_home
from hub.cli.live import Live
from hub.cli.program import exit_statuses
from hub.demo.evidence import Places, live_keys, wireshark_command, write_report
from hub.demo.narrator import Line, Names, Narrator, virtual_time
from hub.demo.performance import Performance, scratch_places
from hub.demo.report import Report, as_json
from hub.demo.stage import Chance
from hub.demo.story import CAST
from ota.gbcs_image import Layout, check

INTERRUPTED = 130
"""The exit status after Ctrl-C: what shells use for a program that an interrupt ended."""
_REAL_DONGLE = (
    "gbhan hub --radio /dev/serial/by-id/YOUR-DONGLE --keys hub-keys"
    " --mqtt mqtt://127.0.0.1:1883 --state hub-state"
)


class View:
    """The story on the terminal: lines, over the progress of the download that is going on."""

    def __init__(self, console: Console, home: Home, *, full: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            console=console, transient=True, auto_refresh=False,
        )  # fmt: skip
        self._names = Names({str(device.eui64): device.name for device in home.devices})
        self._narrator = Narrator(self._names, self._tell, full=full)
        self._sizes: dict[str, int] = {}
        self._bar: TaskID | None = None
        self._percent = -1

    @classmethod
    @contextmanager
    def on(cls, console: Console, home: Home, *, full: bool) -> Iterator[View]:
        """A view whose progress bar is there for the length of the block."""
        view = cls(console, home, full=full)
        with view._progress:
            yield view

    def hear(self, fact: Fact) -> None:
        """Take a fact: a line, a step of the bar, or nothing."""
        match fact.what:
            case "image.made":
                self._names.images[fact.image] = f"image {fact.version} for {fact.device}"
                self._sizes[fact.image] = fact.size
            case "ota.block" if fact.who == "hub":
                self._step(fact)
        self._narrator.hear(fact)

    def _tell(self, line: Line) -> None:
        self._progress.console.print(str(line), markup=False, highlight=False, soft_wrap=True)

    def _step(self, fact: Fact) -> None:
        size = self._sizes.get(fact.image)
        if size is None:
            return
        percent = 100 * (fact.offset + fact.size) // size
        if percent == self._percent:
            return
        self._percent = percent
        if self._bar is None:
            self._bar = self._progress.add_task("", total=100)
        name = self._names.device(fact.device)
        self._progress.update(
            self._bar, completed=percent, description=f"{virtual_time(fact.at)}  {name:<13}", refresh=True
        )


def perform(
    *,
    seed: int,
    loss: float,
    serial_loss: float,
    home: str,
    image: Path | None,
    story: str,
    as_json: bool,
    evidence: Path | None,
    pcap: Path | None,
    zep: tuple[str, int] | None,
    insecure: str,
    keys: Path | None,
    facts: Path | None,
) -> None:
    """Perform the demo and print it; leaves with exit status 1 if a promise of the story was not kept."""
    began = monotonic_seconds()
    live = Live.read(pcap, zep, insecure, as_json=as_json)
    if live.on_standard_output:
        pcap = None  # the closing check reads a file all the same
    chance = Chance(seed, loss, serial_loss)
    data = None if image is None else _checked(image)
    with ExitStack() as stack, exit_statuses():
        try:
            described = _described(home, data)
            if as_json and evidence is None:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gbhan-")))
                places = scratch_places(scratch, capture=pcap, keys=keys, facts=facts)
            else:
                folder = evidence or Path("evidence")
                places = Places.in_folder(folder, capture=pcap, keys=keys, facts=facts)
            if live.on_standard_output:
                click.echo(live_keys(places), err=True)
            with ExitStack() as curtain:
                listeners: tuple[Callable[[Fact], None], ...] = ()
                if not as_json:
                    view = curtain.enter_context(
                        View.on(Console(stderr=live.on_standard_output), described, full=story == "full")
                    )
                    listeners = (view.hear,)
                performance = Performance(chance, places, described, data, listeners, live.follow)
                report = run(performance.run(), virtual=True, seed=seed)
        except HomeError as error:
            raise click.UsageError(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted: there is no report; the capture ends where the story did.", err=True)
            raise SystemExit(INTERRUPTED) from None
        except asyncio.CancelledError:
            raise SystemExit(0) from None  # nobody reads the capture any more
        report.wall_seconds = round(monotonic_seconds() - began, 3)
        _print(report, places, to_json=as_json, to_stderr=live.on_standard_output)
    if not report.ok:
        raise SystemExit(1)


def _described(home: str, image: bytes | None) -> Home:
    described = read_home(home)
    missing = sorted(CAST - {device.name for device in described.devices})
    if missing and image is not None:
        raise HomeError(
            f"home {home!r} lacks devices of the story in which an --image is given: {', '.join(missing)}"
        )
    return described


def _checked(image: Path) -> bytes:
    data = image.read_bytes()
    findings = check(data, Layout.MANUFACTURER_IMAGE)
    if findings:
        raise click.UsageError(f"{image} is no upgrade file for a PPMID: {findings[0]}")
    return data


def _print(report: Report, places: Places, *, to_json: bool, to_stderr: bool) -> None:
    text = json.dumps(as_json(report), indent=1)
    write_report(places, text)
    click.echo(text if to_json else "\n".join(_summary(report, places)), err=to_stderr)


def _devices(report: Report) -> Iterator[str]:
    widest = max(len(row.name) for row in report.devices)
    for row in report.devices:
        versions = f"{row.version_before} -> {row.version_after or '?'}"
        yield f"{row.name:<{widest}}  {row.outcome:<11}  {versions:<20}  {row.reason}".rstrip()


def _summary(report: Report, places: Places) -> Iterator[str]:
    good = sum(row.ok for row in report.requests)
    yield ""
    yield (
        f"{virtual_time(report.virtual_seconds).strip()} of virtual time in {report.wall_seconds:.1f} s:"
        f" {len(report.requests)} requests, {good} of them well ended,"
        f" {len(report.alerts)} alerts, {len(report.preemptions)} images gone, {report.frames} frames."
    )
    for row in report.rebuilt:
        verdict = "is the file served" if row.matches else "IS NOT THE FILE SERVED"
        digest = f"SHA-256 {row.sha256[:16]}..."
        yield f"From the capture: {row.file:<30} {row.bytes:>7} octets, {digest} {verdict}"
    if report.devices:
        yield from _devices(report)
    for promise in report.unmet:
        yield f"NOT KEPT: {promise}"
    yield f"Evidence:      {places.capture.parent}/ (capture, keys, facts, report, images, GBCS)"
    yield f"In Wireshark:  {wireshark_command(places)}"
    yield f"Real dongle:   {_REAL_DONGLE}"
    yield "This program has never run on hardware."
