"""``gbhan demo``: the main job in the simulation, start to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.options import STANDARD_OUTPUT, pcap_option, zep_insecure_option, zep_option

_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--seed", type=click.IntRange(0), default=7, show_default=True, help="All chance comes from it."
)
@click.option(
    "--loss", type=click.FloatRange(0, 0.5), default=0.0, help="Share of frames that the air loses."
)
@click.option(
    "--serial-loss",
    type=click.FloatRange(0, 0.5),
    default=0.0,
    help="Share of serial writes that are damaged.",
)
@click.option(
    "--home",
    default="demo",
    show_default=True,
    help="A home, by name or file. In one without the demo's own devices, each is updated once.",
)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An upgrade file for the PPMID, instead of a made one; the PPMID is made to fit it.",
)
@click.option("--story", type=click.Choice(["short", "full"]), default="short", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and no story.")
@click.option(
    "--evidence",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for capture, keys, facts, report and images.  [default: evidence; with --json: none]",
)
@pcap_option
@zep_option
@zep_insecure_option
@click.option(
    "--keys", type=_file, help="Where the capture's keys go; Wireshark wants the name zigbee_pc_keys."
)
@click.option("--facts", type=_file, help="Where the facts go, as JSON lines.")
def demo(**options: Any) -> None:  # noqa: ANN401 - click's options, named in `hub.cli.demo_run.perform`
    """Run a firmware update of a PPMID and an HCALCS, start to end, without hardware.

    The hub runs on unmodified bellows and zigpy; the dongle, the air and the devices are simulated. Time is
    virtual: three weeks pass in seconds. The same seed gives the same capture, to the byte.

    Example: gbhan demo --seed 7 --evidence evidence
    """
    if not options["as_json"]:
        click.echo(
            f"gbhan demo, seed {options['seed']}: a hub, its head end and a house, in one process.",
            err=options["pcap"] == STANDARD_OUTPUT,
        )
    # Only now: it brings in zigpy, bellows and the rest, which takes more than a second.
    from hub.cli.demo_run import perform  # noqa: PLC0415 - see the line above

    perform(**options)
