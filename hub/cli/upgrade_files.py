"""What the commands about upgrade files share: options, reading and writing, whom to blame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from han.security.errors import SecurityError
from hub.errors import OurError, SurroundingsError
from ota.errors import TheirError
from ota.gbcs_image import LAYOUTS
from ota.image import Finding

LARGEST_FILE = 10_240_000
"""Octets: what a Service Request can carry (DUIS). A greater file is not even read."""

device_type_option = click.option(
    "--for",
    "device_type",
    type=click.Choice(list(LAYOUTS)),
    help="The type of device the file is for: settles what follows the OTA header.",
)
sub_elements_option = click.option(
    "--sub-elements", is_flag=True, help="A plain Zigbee file: sub-elements follow the OTA header."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
path = click.Path(exists=True, dir_okay=False, path_type=Path)
file_argument = click.argument("file", type=path)
output_option = click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True)


def hex_of(octets: int) -> Callable[[str], int]:
    """Reads a number in hex, with or without 0x, of at most so many octets."""

    def read(text: str) -> int:
        try:
            number = int(text, 16)
        except ValueError:
            raise click.BadParameter(f"{text!r} is no number in hex") from None
        if not 0 <= number < 1 << 8 * octets:
            raise click.BadParameter(f"{text!r} does not fit {octets} octets")
        return number

    read.__name__ = f"{2 * octets} hex digits"  # what click shows in the help
    return read


def read_octets(file: Path) -> bytes:
    """The octets of a file.

    Raises:
        OurError: if it cannot be read, or is too large for an upgrade file.
    """
    try:
        with file.open("rb") as opened:
            octets = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise OurError(f"cannot read {file}: {error.strerror}") from None
    if len(octets) > LARGEST_FILE:
        raise OurError(
            f"{file} is larger than any upgrade file: a Service Request carries {LARGEST_FILE} octets"
        )
    return octets


def write_octets(file: Path, octets: bytes) -> None:
    """Write a file.

    Raises:
        OurError: if its folder is not there or it is a folder itself.
        SurroundingsError: if the disk refuses.
    """
    try:
        file.write_bytes(octets)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise OurError(f"cannot write {file}: {error.strerror}") from None
    except OSError as error:
        raise SurroundingsError(f"cannot write {file}: {error.strerror}") from error


@contextlib.contextmanager
def blamed_on(file: Path) -> Iterator[None]:
    """Whatever is wrong with this file's octets was wrong input: an OurError that names it."""
    try:
        yield
    except (TheirError, SecurityError) as error:
        raise OurError(f"{file}: {error}") from None


def as_dict(found: Finding) -> dict[str, str]:
    """A finding for programs."""
    return {"field": found.field, "problem": found.problem}
