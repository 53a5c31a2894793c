"""The command line: one short file per command. Each parses, calls one function and prints.

Commands are imported when they are asked for, so that ``gbhan demo`` says its first line at once.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

_COMMANDS = {
    "demo": ("hub.cli.demo", "demo", "The main job in the simulation, start to end."),
    "hub": ("hub.cli.hub", "hub", "Run the Communications Hub."),
    "dsp": ("hub.cli.dsp", "dsp", "Run the DSP stub and the CSP model."),
    "join": ("hub.cli.join", "join", "Admit a device to a running hub."),
    "remove": ("hub.cli.remove", "remove", "Strike a device off a running hub."),
    "switch-key": ("hub.cli.switch_key", "switch_key", "Give the network of a running hub a new key."),
    "devices": ("hub.cli.devices", "devices", "List the devices of a running hub."),
    "transfer": ("hub.cli.transfer", "transfer", "Look at the downloads of a running hub, and direct them."),
    "image": ("hub.cli.image", "image", "Make, explain and check upgrade files."),
    "request": ("hub.cli.request", "request", "Send a Service Request to a running DSP stub."),
    "dongle": ("hub.cli.dongle", "dongle", "Serve the virtual dongle and the house behind it."),
    "gbcs": ("hub.cli.gbcs", "gbcs", "Explain GBCS messages."),
    "keys": ("hub.cli.keys", "keys", "Make, keep and explain keys and certificates."),
    "bench": ("hub.cli.bench", "bench", "The benchmark table, beside physics and beside peers."),
    "retention": ("hub.cli.retention", "retention", "What the slot's policies cost, in images lost."),
    "radio": ("hub.cli.radio", "radio", "Say what is at the other end of a port."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are used, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order in which a newcomer meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import the command's file and give its command."""
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _COMMANDS.items()])


@click.command(cls=_Lazy)
@click.version_option(package_name="gbhan")
def main() -> None:
    """An open bench for the over-the-air firmware update of GB smart meters' in-home devices.

    Start with: gbhan demo
    """


def entry() -> None:
    """The ``gbhan`` program.

    The demo and the benchmark start themselves again with fixed string hashes: libraries order some of their
    calls by them, and a run must repeat to the byte.
    """
    if sys.argv[1:2] in (["demo"], ["bench"]) and os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very program again
    main()
