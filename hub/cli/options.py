"""Options that several commands share: times, addresses, secrets in files."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ota.eui64 import Eui64

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


class Duration(click.ParamType[float]):
    """Seconds, or a number with a unit: 90s, 15m, 24h, 14d."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: write 90s, 15m, 24h or 14d", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


class BlockPeriod(click.ParamType[float]):
    """A short time: 250ms, 0.25s, 2; 0 is none."""

    name = "period"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|)", str(value))
        seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else -1.0
        if not 0 <= seconds <= 3600:
            self.fail(
                f"{value!r} is no block period: write 250ms or 2s, at most an hour; 0: none", param, ctx
            )
        return seconds


class Eui64Type(click.ParamType[Eui64]):
    """An EUI-64 in hex."""

    name = "EUI64"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Eui64:
        """The address."""
        if isinstance(value, Eui64):
            return value
        try:
            return Eui64.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HostPort(click.ParamType[tuple[str, int]]):
    """HOST:PORT, an IPv6 address in brackets."""

    name = "HOST:PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Host and port."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65_535:
            self.fail(f"{value!r} is no HOST:PORT: write 127.0.0.1:8417", param, ctx)
        return host.strip("[]"), int(port)


STANDARD_OUTPUT = Path("-")

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Everything else that may be set, and these options too (TOML).",
)
print_config_option = click.option(
    "--print-config",
    is_flag=True,
    help="Print a whole --config file, with reasons, and end; what is given here or in --config is in it.",
)
pcap_option = click.option(
    "--pcap",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Where the capture goes; - is standard output, for | wireshark -k -i -",
)
zep_option = click.option(
    "--zep", type=HostPort(), help="Send every frame as ZEP over UDP; Wireshark knows 127.0.0.1:17754."
)
zep_insecure_option = click.option(
    "--insecure", default="", metavar="WORDS", help="See SECURITY.md; needed for --zep to another machine."
)


def read_secret(file: Path | None) -> str | None:
    """The secret in a file, without the end of its line.

    Raises:
        click.BadParameter: if the file cannot be read or is empty.
    """
    if file is None:
        return None
    try:
        secret = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file} cannot be read: {error}") from None
    if not secret:
        raise click.BadParameter(f"{file} is empty")
    return secret
