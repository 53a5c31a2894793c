"""``gbhan image``: make, explain and check upgrade files."""

from __future__ import annotations

import click

from hub.cli.image_build import build
from hub.cli.image_diff import diff
from hub.cli.image_inspect import inspect
from hub.cli.image_sign import sign
from hub.cli.image_verify import verify


@click.group()
def image() -> None:
    """Make, explain and check upgrade files.

    Example: gbhan image inspect ppmid.ota
    """


for command in (build, inspect, verify, sign, diff):
    image.add_command(command)
