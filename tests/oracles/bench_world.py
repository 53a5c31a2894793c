"""The bench: Mosquitto, ``gbhan dongle``, ``gbhan hub`` and ``gbhan dsp`` as processes of their own.

Nobody waits for a time to pass: each program is followed by the facts that it writes on its standard output,
over all its lives, and what a test does next it does after a fact. Every wait has a deadline, and whoever
waits for a program that has died in the meantime hears at once what it said last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shlex
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from han.facts import Fact
from han.key_folder import KeyFolder
from han.security.lab_authority import lab_credentials
from han.sim.home import DeviceDescription, Home, parse_home
from hub.cli.asking import ask, asking_mailbox
from hub.dcc.client import DspAddress, DspClient
from hub.dcc.contract import Standing
from hub.dcc.requests import UpdatePpmidFirmware
from hub.messages import Envelopes, JoinRequest
from hub.mqtt import BrokerAddress
from ota.image import Header, Image

DEADLINE = 120.0
"""Seconds for any one thing to happen: many times what it takes on a busy machine."""

GBHAN = [sys.executable, "-m", "hub.cli"]
"""The program ``gbhan``, of the environment that runs the tests."""

HOME = """
name = "bench"
channel = 15
seed = 4

[dongle]
eui64 = "00-DB-12-34-56-78-92-A2"
baud = 460800
behaves = "plain"
"""

PPMID = """
[[devices]]
kind = "PPMID"
name = "ppmid-{number}"
eui64 = "00-DB-12-34-56-78-92-B{number}"
install_code = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
image_type = 0x0084
file_version = 0x00010000
hardware_version = 0x1111
query_period = 30
first_query_within = 1
join_retry = 1
"""

HUB_CONFIG = """
progress_every = 0.5

[mqtt]
waits = true

[network]
channel = 15

[ota]
notify_every = 2
notify_every_at_most = 5
"""


def upgrade_file(version: int, size: int) -> bytes:
    """An upgrade file for the PPMIDs of the bench."""
    header = Header(manufacturer=0x121D, image_type=0x0084, file_version=version, total_size=size)
    return Image(header, random.Random(version).randbytes(size - header.length)).to_bytes()


def free_port() -> int:
    """A TCP port of the loopback that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A process that can be started again and again, and the lines that it writes in all its lives.

    Args:
        name: what messages call it.
        command: what starts it.
        log: where its standard error goes.
        ready: whether a line says that it is up.
        is_loud: it speaks on its standard error; then that is what is read.
    """

    def __init__(
        self, name: str, command: list[str], log: Path, ready: Callable[[str], bool], *, is_loud: bool = False
    ) -> None:
        self.name = name
        self.kills = 0
        self._command = command
        self._log = log
        self._ready = ready
        self._is_loud = is_loud
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=30)
        self._ready_in_this_life = False
        self._news = asyncio.Event()
        self._kept = log.with_suffix(".out").open("w", buffering=1)

    async def start(self) -> None:
        """Begin a life; returns when the program says that it is up."""
        await self.begin()
        await self.until(lambda: self._ready_in_this_life, "is up")

    async def begin(self) -> None:
        """Begin a life, without waiting for anything."""
        self._ready_in_this_life = False
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT if self._is_loud else log,
            )
        self._reading = asyncio.create_task(self._read(self._process), name=f"reads {self.name}")

    async def kill(self) -> None:
        """End this life with SIGKILL."""
        self.kills += 1
        self.send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """End it as Ctrl-C does; gives its exit status."""
        self.send(signal.SIGINT)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end; gives its exit status."""
        assert self._process is not None
        async with asyncio.timeout(DEADLINE):
            status = await self._process.wait()
            # What it said before it died is in the pipe still.
            assert self._reading is not None
            await self._reading
        return status

    def send(self, what: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(what)

    async def clear_away(self) -> None:
        """See to it that nothing of it is left, in whatever state it is."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading
        self._kept.close()

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait until its lines have made this true."""
        try:
            async with asyncio.timeout(DEADLINE):
                while not true():
                    assert not self._is_over(), f"{self.name} ended before it {what}: {self.last_words()}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.name}: not within {DEADLINE:g} s that it {what}: {self.last_words()}"
            ) from None

    def last_words(self) -> str:
        """What it wrote last."""
        said = "\n  ".join(self._lines)
        return f"\n  {said}\nand on standard error:\n{self._log.read_text()[-3000:]}"

    def heard(self, line: str) -> None:
        """A line of its standard output."""

    def _is_over(self) -> bool:
        return self._reading is None or self._reading.done()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for octets in process.stdout:
            if not octets.endswith(b"\n"):
                break  # it was killed in the middle of a line
            line = octets.decode().rstrip("\n")
            self._kept.write(line + "\n")
            self._lines.append(line)
            self.heard(line)
            self._ready_in_this_life = self._ready_in_this_life or self._ready(line)
            self._news.set()
        self._news.set()


class Follower(Program):
    """A program of ours, followed by its facts.

    Args:
        name, log: see Program.
        arguments: the command line behind ``gbhan``.
        ready: the fact that says that it is up.
    """

    def __init__(self, name: str, arguments: list[str], log: Path, ready: str) -> None:
        super().__init__(name, [*GBHAN, *arguments, "--json"], log, lambda line: _fact(line).what == ready)
        self.facts: list[Fact] = []

    def heard(self, line: str) -> None:
        """A line of its standard output is a fact."""
        self.facts.append(_fact(line))

    def count(self, what: str, since: int = 0) -> int:
        """How often this has happened, from the fact with the number ``since`` on."""
        return sum(fact.what == what for fact in self.facts[since:])

    async def says(self, what: str, times: int = 1, since: int = 0) -> None:
        """Wait until this has happened so many times."""
        await self.until(lambda: self.count(what, since) >= times, f"says {what} ({times} times)")


def _fact(line: str) -> Fact:
    fields: dict[str, Any] = json.loads(line)
    return Fact(fields.pop("at"), fields.pop("who"), fields.pop("what"), fields)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    def document(self) -> Any:
        """Its standard output, read as one JSON document."""
        return json.loads(self.out)


async def typed(line: str) -> Said:
    """What a person gets who types this command (``gbhan ...``) in a shell."""
    program, *arguments = shlex.split(line)
    assert program == "gbhan", line
    process = await asyncio.create_subprocess_exec(
        *GBHAN, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Said(process.returncode or 0, out.decode(), err.decode())


class Wire:
    """A network cable between the hub and the dongle: it can be cut, and is whole for the next connection."""

    def __init__(self, dongle: int) -> None:
        self.dongle = dongle
        self._server: asyncio.Server | None = None
        self._ends: list[asyncio.StreamWriter] = []
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0

    async def lay(self) -> None:
        """Listen for the hub."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End every connection with a reset."""
        ends, self._ends = self._ends, []
        for end in ends:
            end.transport.abort()

    async def clear_away(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.dongle)
        except ConnectionError:
            writer.close()
            return
        self._ends += [writer, to_writer]
        for source, sink in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.create_task(_carry(source, sink))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while octets := await source.read(4096):
            sink.write(octets)
            await sink.drain()
    sink.close()


class Bench:
    """A broker, a dongle with its house, a hub and a DSP stub, all running, no device admitted yet."""

    def __init__(self, folder: Path, mosquitto: Path, ppmids: int) -> None:
        self.folder = folder
        text = HOME + "".join(PPMID.format(number=number) for number in range(1, ppmids + 1))
        self.home: Home = parse_home(text.encode())
        (folder / "home.toml").write_text(text)
        (folder / "hub.toml").write_text(HUB_CONFIG)
        KeyFolder.make(folder / "keys").add_credentials(lab_credentials(self.home.dongle.eui64))
        self.broker_port = free_port()
        self.broker = _broker(folder, mosquitto, self.broker_port)
        self.dongle = Follower(
            "gbhan dongle",
            [
                *("dongle", "--listen", "tcp://127.0.0.1:0", "--home", str(folder / "home.toml")),
                *("--state", str(folder / "house")),
            ],
            folder / "dongle.log",
            "door.open",
        )
        self.dsp_url = f"http://127.0.0.1:{free_port()}"
        self.dsp = Follower(
            "gbhan dsp",
            [
                *("dsp", "--mqtt", self.mqtt, "--db", f"sqlite:///{folder}/dsp.db"),
                *("--listen", self.dsp_url.removeprefix("http://"), "--chunk-size", "512"),
                *("--wan-rate", "8000", "--wan-latency", "0.02", "--answer-wait", "2s"),
                *("--retry-period", "2s"),
            ],
            folder / "dsp.log",
            "dsp.listening",
        )
        self._hub: Follower | None = None
        self._wire: Wire | None = None

    @property
    def mqtt(self) -> str:
        """The broker's URL."""
        return f"mqtt://127.0.0.1:{self.broker_port}"

    @property
    def hub(self) -> Follower:
        """The hub; it is known once the dongle is up."""
        assert self._hub is not None
        return self._hub

    @property
    def wire(self) -> Wire:
        """What connects hub and dongle."""
        assert self._wire is not None
        return self._wire

    @property
    def ppmids(self) -> tuple[DeviceDescription, ...]:
        """The devices of the house."""
        return self.home.devices

    async def set_up(self) -> None:
        """Start everything, in the order in which a person would."""
        await self.broker.start()
        await asyncio.gather(self.dongle.start(), self.dsp.start())
        self._wire = Wire(self._door())
        await self._wire.lay()
        self._hub = Follower(
            "gbhan hub",
            [
                *("hub", "--radio", f"tcp://127.0.0.1:{self._wire.port}", "--mqtt", self.mqtt),
                *("--state", str(self.folder / "hub"), "--config", str(self.folder / "hub.toml")),
                *("--keys", str(self.folder / "keys")),
            ],
            self.folder / "hub.log",
            "mqtt.connected",
        )
        await self._hub.start()

    async def power_cut(self) -> None:
        """The house loses its power, dongle and devices, and gets it back."""
        await self.dongle.kill()
        self.wire.cut()
        await self.dongle.start()
        self.wire.dongle = self._door()

    def _door(self) -> int:
        """The port on which the dongle lets hosts in, in its present life."""
        door = next(fact for fact in reversed(self.dongle.facts) if fact.what == "door.open")
        return int(door.url.rpartition(":")[2])

    async def clear_away(self) -> None:
        """Leave no process and no connection behind."""
        if self._wire is not None:
            await self._wire.clear_away()
        programs = [self.broker, self.dongle, self.dsp, *([self._hub] if self._hub else [])]
        await asyncio.gather(*(program.clear_away() for program in programs))

    async def join_all(self) -> None:
        """Admit every device of the house with what its label says, and wait until each is there."""
        for device in self.ppmids:
            answer = await ask(
                asking_mailbox(BrokerAddress.parse(self.mqtt)),
                self.home.dongle.eui64,
                partial(_join_request, device),
                within=DEADLINE,
            )
            assert answer.ok, answer
        await self.dongle.says("device.attached", times=len(self.ppmids))
        await self.hub.says("device.joined", times=len(self.ppmids))

    async def submit(self, request_id: str, image: bytes) -> None:
        """Have every PPMID updated: an 11.4."""
        devices = tuple(device.eui64 for device in self.ppmids)
        async with DspClient(DspAddress(url=self.dsp_url)) as client:
            answer = await client.submit(
                UpdatePpmidFirmware(image=image, devices=devices, request_id=request_id)
            )
        assert answer.ok, answer

    async def standing(self, request_id: str) -> Standing:
        """How a request stands now."""
        async with DspClient(DspAddress(url=self.dsp_url)) as client:
            return await client.standing(request_id)

    async def finished(self, request_id: str) -> Standing:
        """How a request ended."""
        async with asyncio.timeout(DEADLINE), DspClient(DspAddress(url=self.dsp_url)) as client:
            return await client.finished(request_id)


def _join_request(device: DeviceDescription, envelopes: Envelopes) -> JoinRequest:
    return JoinRequest(
        device=str(device.eui64),
        install_code=bytes(device.install_code).hex(),
        device_type=device.kind.value,
        seconds=254,
        **envelopes.stamp(),
    )


def _broker(folder: Path, mosquitto: Path, port: int) -> Program:
    """Mosquitto, which writes what it keeps to its disk after every change."""
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\n"
        f"persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n"
        "log_dest stderr\nlog_type all\nuser root\n"
    )
    command = [str(mosquitto), "-c", str(config)]
    log = folder / "mosquitto.log"
    return Program("mosquitto", command, log, lambda line: "running" in line, is_loud=True)


@contextlib.asynccontextmanager
async def bench(folder: Path, mosquitto: Path, ppmids: int) -> AsyncIterator[Bench]:
    """A bench that is gone afterwards, whatever happens."""
    built = Bench(folder, mosquitto, ppmids)
    try:
        await built.set_up()
        yield built
    finally:
        await built.clear_away()
