"""``gbhan bench``: the benchmark table, in one run."""

from __future__ import annotations

import cProfile
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from hub.bench.machine import describe_machine
from hub.bench.measures import MEASURES
from hub.bench.rows import Row
from hub.bench.scale import FULL_SIZE, KB, Scale
from hub.cli.program import exit_statuses

_NAMES = [measure.name for measure in MEASURES]


@click.command()
@click.option(
    "--only",
    type=click.Choice(_NAMES),
    multiple=True,
    help="Measure this alone; may be given several times.",
)
@click.option(
    "--kilobytes",
    type=click.IntRange(1, FULL_SIZE // KB),
    default=FULL_SIZE // KB,
    show_default=True,
    help="Size of the image, of 1024 octets each; aims are meant for the default.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write where the processor time went, for python -m pstats; everything then takes longer.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON list of rows on stdout.")
def bench(*, only: tuple[str, ...], kilobytes: int, profile: Path | None, as_json: bool) -> None:
    """Measure downloads: on the virtual air beside physics, on this machine beside peers.

    Exit status 0 whether or not an aim is met: the table says.

    Example: gbhan bench --only air
    """
    scale = Scale.up_to(kilobytes * KB)
    rows: list[Row] = []
    with exit_statuses(), _profiled(profile):
        for measure in MEASURES:
            if only and measure.name not in only:
                continue
            click.echo(f"{measure.name}: {measure.summary} ...", err=True)
            rows += measure.rows(scale)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(rows), indent=1))
    else:
        _print(rows)


@contextmanager
def _profiled(file: Path | None) -> Iterator[None]:
    """Write a profile of what happens inside, if one is wanted."""
    if file is None:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    profile.dump_stats(file)


def _print(rows: list[Row]) -> None:
    table = Table(title=f"Measured on {describe_machine()}", title_justify="left", pad_edge=False)
    for heading in ("measure", "value", "compared with", "ratio", "aim", "met"):
        table.add_column(heading, justify="left" if heading in ("measure", "met") else "right")
    for row in rows:
        table.add_row(*_cells(row))
    # A pipe has no width: a table for a page is as wide as it has to be.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cells(row: Row) -> tuple[str, ...]:
    value = row.unit if row.value is None else f"{_number(row.value)} {row.unit}"
    compared = "" if row.reference_value is None else f"{_number(row.reference_value)} {row.reference}"
    ratio = "" if row.ratio is None else _number(row.ratio)
    aim = "" if row.aim is None else f"{row.aim:g}"
    return row.name, value, compared, ratio, aim, {True: "yes", False: "NO", None: ""}[row.met]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
