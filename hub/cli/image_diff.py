"""``gbhan image diff``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hub.cli.program import FAILED, exit_statuses, print_json
from hub.cli.upgrade_files import blamed_on, json_option, path, read_octets
from ota.anatomy import Part, anatomy, likely_form
from ota.differences import differences, octet_ranges

_MOST_RANGES = 20
"""So many ranges of octets are shown to people; programs get all of them."""


@click.command()
@click.argument("first", type=path)
@click.argument("second", type=path)
@json_option
def diff(*, first: Path, second: Path, as_json: bool) -> None:
    """Say where two upgrade files differ: exit status 0 if nowhere, 1 if they do.

    Example: gbhan image diff old.ota new.ota
    """
    with exit_statuses():
        one, other = read_octets(first), read_octets(second)
        parts = differences(_parts(first, one), _parts(second, other))
    ranges = list(octet_ranges(one, other))
    if as_json:
        print_json(
            {
                "same": not ranges,
                "fields": [asdict(each) for each in parts],
                "octets": [asdict(each) for each in ranges],
            }
        )
    else:
        for part in parts:
            click.echo(f"{part.name}: {_shown(part.first)} -> {_shown(part.second)}")
        for found in ranges[:_MOST_RANGES]:
            click.echo(f"octets {found.start} to {found.stop - 1} differ ({found.stop - found.start})")
        if len(ranges) > _MOST_RANGES:
            click.echo(f"and {len(ranges) - _MOST_RANGES} more ranges of octets")
        if not ranges:
            click.echo("the same, octet by octet")
    if ranges:
        raise SystemExit(FAILED)


def _parts(file: Path, octets: bytes) -> list[Part]:
    with blamed_on(file):
        return anatomy(octets, likely_form(octets))


def _shown(value: str | None) -> str:
    return "absent" if value is None else value or "empty"
