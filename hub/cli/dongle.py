"""``gbhan dongle``: serve the virtual dongle, with its house of simulated devices, to any EZSP host."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from socket import gaierror
from typing import IO, BinaryIO
from urllib.parse import urlsplit

import click

from han.errors import OurError, SurroundingsError
from han.facts import Facts, write_facts
from han.sim.address import HouseSettings, read_address
from han.sim.air.capture import KeyFile
from han.sim.dongle.pty import PtyDoor
from han.sim.dongle.tcp import TcpDoor
from han.sim.fault import Fault, FaultError, read_fault
from han.sim.home import DeviceDescription, HomeError, home_names, read_home
from han.sim.house import House, build_house
from han.sim.house_memory import MemoryFile
from hub.cli.live import Live
from hub.cli.options import pcap_option, zep_insecure_option, zep_option
from hub.cli.program import exit_statuses, run, show_facts
from hub.disk import held_alone

MEMORY = "house.json"
"""The file in a state directory."""
KEPT_EVERY = 1.0
"""Seconds."""

_path = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class TcpPlace:
    """Listen on this host and port; port 0 lets the system choose one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PtyPlace:
    """Be a pseudo-terminal."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What is written while the house runs."""

    pcap: Path | None
    keys: Path | None
    facts: Path | None
    live: Live


class Listen(click.ParamType[TcpPlace | PtyPlace]):
    """tcp://HOST:PORT or pty."""

    name = "tcp://HOST:PORT|pty"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> TcpPlace | PtyPlace:
        """Where to listen."""
        text = str(value)
        if text == "pty":
            return PtyPlace()
        place = _tcp_place(text)
        if place is None:
            self.fail(f"{text!r} is no place to listen: write tcp://127.0.0.1:6638 or pty", param, ctx)
        return place


class FaultText(click.ParamType[Fault]):
    """A fault, as `han.sim.fault.read_fault` reads it."""

    name = "fault"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Fault:
        """What goes wrong, and when."""
        try:
            return read_fault(str(value))
        except FaultError as error:
            self.fail(str(error), param, ctx)


def _tcp_place(text: str) -> TcpPlace | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port beyond 65535, or no number
        return None
    if parts.scheme != "tcp" or not parts.hostname or port is None or parts.path:
        return None
    return TcpPlace(parts.hostname, port)


@click.command()
@click.option("--listen", "place", type=Listen(), help="Where the host finds the dongle.")
@click.option(
    "--home",
    "home",
    default="demo",
    show_default=True,
    help=f"The house behind it: {', '.join(home_names())}, a .toml file, or a sim:// URL with settings.",
)
@pcap_option
@zep_option
@zep_insecure_option
@click.option(
    "--keys", type=_path, help="Write the keys that open the capture here; Wireshark wants zigbee_pc_keys."
)
@click.option("--facts", type=_path, help="Write every fact to this file.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep what the radios remember in this directory, keys too: the next run goes on from there.",
)
@click.option(
    "--fault",
    "faults",
    type=FaultText(),
    multiple=True,
    metavar="KIND[:NAME=VALUE,...]",
    help="Let the dongle go wrong; may be given more than once. See below.",
)
@click.option(
    "--labels", is_flag=True, help="Print the devices' labels, install codes included, and serve nothing."
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout: facts, or labels.")
@click.option("-v", "--verbose", is_flag=True, help="Tell everything.")
def dongle(
    *,
    place: TcpPlace | PtyPlace | None,
    home: str,
    state: Path | None,
    faults: tuple[Fault, ...],
    labels: bool,
    pcap: Path | None,
    zep: tuple[str, int] | None,
    insecure: str,
    keys: Path | None,
    facts: Path | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Serve the virtual EZSP dongle and the house of devices behind it, until Ctrl-C.

    Example: gbhan dongle --listen tcp://127.0.0.1:6638 --home "sim://demo?seed=7"

    Without --state every run is a house fresh from the shop; with it, one whose power was off in between.

    A fault is a kind and when it strikes, as in --fault reboot:after=60,seconds=5 or
    --fault dropped-octets:share=0.01. A home file says the same as [[dongle.faults]].

    \b
    Kinds on the serial line:  dropped-octets, changed-octets, repeated-octets (octets=N in a row), deaf
    Of commands:               busy, table-full, no-buffers, refused-command, lost-answer
    Of callbacks:              failed-delivery, lost-callback, repeated-callback, wrong-link-quality
    Of the processor:          reboot, assert, stall (seconds=S), second-rstack, error-before-rstack

    \b
    share=0..1      of the opportunities (writes, commands, callbacks); 1 by default
    skip=N          let the first N opportunities pass
    times=N         strike at most N times
    after=S         not before S seconds have passed
    lasts=S         and for S seconds only
    every=S         reboot, assert and stall: again every S seconds
    command=NAME    only this EZSP command or callback, as in command=sendUnicast
    """  # noqa: D301 - a backspace is what makes click keep the lines
    try:
        settings = read_address(home) if home.startswith("sim:") else HouseSettings(home)
        settings = dataclasses.replace(settings, faults=settings.faults + faults)
        described = read_home(settings.home)
    except HomeError as error:
        raise click.BadParameter(str(error), param_hint="--home") from error
    if labels:
        for device in described.devices:
            click.echo(_label(device, as_json=as_json))
        return
    if place is None:
        raise click.UsageError("where shall the dongle be? --listen tcp://127.0.0.1:6638 or --listen pty")
    live = Live.read(pcap, zep, insecure, as_json=as_json)
    evidence = _Evidence(None if live.on_standard_output else pcap, keys, facts, live)
    with exit_statuses(), held_alone(state) if state else nullcontext():
        run(_serve(place, settings, state, evidence, as_json=as_json, verbose=verbose))


async def _serve(
    place: TcpPlace | PtyPlace,
    settings: HouseSettings,
    state: Path | None,
    evidence: _Evidence,
    *,
    as_json: bool,
    verbose: bool,
) -> None:
    """Run the house in real time and let hosts in, for ever."""
    loop = asyncio.get_running_loop()
    facts = Facts(loop.time)
    show_facts(facts, as_json=as_json, verbose=verbose)
    with ExitStack() as files:
        if evidence.facts is not None:
            files.callback(write_facts(facts, files.enter_context(_opened(evidence.facts))))
        memory = None if state is None else MemoryFile(state / MEMORY, read_home(settings.home))
        house = build_house(settings, loop, facts, memory.read() if memory else None)
        files.callback(house.stop)
        if memory is not None:
            files.enter_context(_kept(house, memory))
        if evidence.pcap is not None:
            house.capture(files.enter_context(_opened_binary(evidence.pcap)))
        files.enter_context(evidence.live.follow(house))
        if evidence.keys is not None:
            house.write_keys(files.enter_context(_key_file(evidence.keys)))
        async with AsyncExitStack() as doors:
            # Whoever hears of the door may knock at once: by then the dongle is up, as one plugged in before.
            await asyncio.sleep(house.dongle.personality.boot_time)
            where = await doors.enter_async_context(_door(place, house))
            facts.say("dongle", "door.open", url=where, home=house.home.name)
            _introduce(house, where)
            house.power_on()
            await asyncio.Event().wait()


@contextmanager
def _kept(house: House, memory: MemoryFile) -> Iterator[None]:
    """Write down what the radios remember: at once what must survive, the rest every second and last."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def keep() -> None:
        try:
            memory.keep(house.remember())
        except SurroundingsError as error:  # a disk that refuses is no reason for a house to end
            house.facts.say("house", "memory.not-kept", why=str(error))

    def keep_on() -> None:
        nonlocal timer
        keep()
        timer = loop.call_later(KEPT_EVERY, keep_on)

    house.on_memory = keep
    keep_on()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        keep()


@asynccontextmanager
async def _door(place: TcpPlace | PtyPlace, house: House) -> AsyncIterator[str]:
    """Let hosts in; gives what they open."""
    if isinstance(place, PtyPlace):
        terminal = PtyDoor(house.dongle, house.pump, house.facts)
        try:
            yield str(terminal.path)
        finally:
            terminal.close()
        return
    try:
        socket = await TcpDoor.open(house.dongle, house.pump, house.facts, host=place.host, number=place.port)
    except OSError as error:
        raise SurroundingsError(
            f"cannot listen on tcp://{place.host}:{place.port}: {_reason(error)};"
            " end the program that holds the port, or choose another (0 lets the system choose)"
        ) from error
    try:
        host, port = socket.address
        yield f"tcp://{host}:{port}"
    finally:
        await socket.close()


def _reason(error: OSError) -> str:
    """In a word. asyncio's own text repeats the address; the numbers of the name service are its own."""
    if isinstance(error, gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _label(device: DeviceDescription, *, as_json: bool) -> str:
    """What stands on a device: whoever holds it may read its install code."""
    code = bytes(device.install_code).hex().upper()
    if not as_json:
        return f"{device.eui64}  {code}  {device.kind.value:<7} {device.name}"
    label = {"device": str(device.eui64), "install_code": code, "device_type": device.kind.value}
    return json.dumps({**label, "name": device.name})


def _introduce(house: House, where: str) -> None:
    """Tell a person what is served and who lives there. Install codes are shown on request only."""
    click.echo(f"virtual dongle {house.home.dongle.eui64} on {where}", err=True)
    for device in house.home.devices:
        click.echo(f"  {device.kind.value:<7} {device.eui64}  {device.name}", err=True)


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        file = path.open("w", buffering=1, encoding="utf-8")
    except OSError as error:
        raise _not_writable(path, error) from error
    with file:
        yield file


@contextmanager
def _opened_binary(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("wb")
    except OSError as error:
        raise _not_writable(path, error) from error
    with file:
        yield file


def _key_file(path: Path) -> KeyFile:
    try:
        return KeyFile(path)
    except OSError as error:
        raise _not_writable(path, error) from error


def _not_writable(path: Path, error: OSError) -> OurError:
    return OurError(f"{path} cannot be written: {error.strerror}")
