"""``gbhan retention``: what the policies of the slot cost, in images lost."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from hub.cli.options import Duration
from hub.retention_study import POLICIES, Circumstances, Share, study
from hub.slot import DAY

_DEFAULTS = Circumstances()
_DELAYS = (5 * DAY, 8 * DAY, 10 * DAY, 14 * DAY, 21 * DAY)


@click.command()
@click.option(
    "--collected-after",
    "delays",
    type=Duration(),
    multiple=True,
    help="How long a device leaves its image in the slot; may be given several times. [default: 5d to 21d]",
)
@click.option(
    "--reboots-per-week",
    type=click.FloatRange(0, 1000),
    default=_DEFAULTS.reboots_per_week,
    show_default=True,
    help="Mean number of restarts of a hub.",
)
@click.option(
    "--others-per-week",
    type=click.FloatRange(0, 1000),
    default=_DEFAULTS.others_per_week,
    show_default=True,
    help="Mean number of other images, not a GSME's, that ask for the slot.",
)
@click.option("--homes", type=click.IntRange(1, 1_000_000), default=_DEFAULTS.homes, show_default=True)
@click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def retention(
    *,
    delays: tuple[float, ...],
    reboots_per_week: float,
    others_per_week: float,
    homes: int,
    seed: int,
    as_json: bool,
) -> None:
    """Show how often an image is lost before its device collects it.

    Compares the policy that SECMP0007 adopted (two weeks in flash, then until the space is wanted) with the
    one that it withdrew in 2020 (one week in flash, then in memory until a restart or until it is
    overwritten), by living through homes with the hub's own slot. To run a hub on the latter, see [slot] in
    gbhan hub --print-config.

    Example: gbhan retention --reboots-per-week 1 --collected-after 14d
    """
    circumstances = Circumstances(
        reboots_per_week=reboots_per_week, others_per_week=others_per_week, homes=homes, seed=seed
    )
    shares = study(delays or _DELAYS, circumstances)
    if as_json:
        click.echo(
            json.dumps(
                {"circumstances": asdict(circumstances), "shares": [asdict(each) for each in shares]},
                indent=1,
            )
        )
    else:
        _print(shares, circumstances)


def _print(shares: list[Share], circumstances: Circumstances) -> None:
    click.echo(
        f"Images lost, of {circumstances.homes}: {circumstances.reboots_per_week:g} restarts and"
        f" {circumstances.others_per_week:g} other images a week"
    )
    table = Table(pad_edge=False)
    table.add_column("collected after", justify="right")
    for policy in POLICIES:
        table.add_column(policy, justify="right")
    for delay in dict.fromkeys(each.collected_after for each in shares):
        lost = [f"{each.lost:.1%}" for each in shares if each.collected_after == delay]
        table.add_row(f"{delay / DAY:g} days", *lost)
    Console(width=None if sys.stdout.isatty() else 100).print(table)
