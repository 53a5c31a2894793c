"""``gbhan hub`` as a process of its own, told to stop: in order at a first signal, at once at a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from han.facts import Facts
from hub.demo.broker import EmbeddedBroker
from hub.disk import held_alone
from hub.messages import HubState, decode
from hub.mqtt import Mailbox, MailboxSettings

pytestmark = pytest.mark.bench

DEADLINE = 60.0


HUB = (sys.executable, "-m", "hub.cli", "hub", "--json", "--lab-keys")
NOBODY = "mqtt://127.0.0.1:1"


@pytest.fixture(scope="module")
def dongle() -> Iterator[str]:
    """The URL of a virtual dongle that keeps its network while hubs come and go."""
    with subprocess.Popen(
        [sys.executable, "-m", "hub.cli", "dongle", "--json", "--listen", "tcp://127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        facts = (json.loads(line) for line in process.stdout)
        yield next(fact["url"] for fact in facts if fact["what"] == "door.open")
        process.kill()


@pytest.fixture(scope="module")
def formed(dongle: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a hub that has formed the network, which takes a dongle 10 s, and found no broker."""
    state = tmp_path_factory.mktemp("formed") / "state"
    ended = subprocess.run(
        [*HUB, "--radio", dongle, "--mqtt", NOBODY, "--state", str(state), "--config", _settings(state)],
        check=False,
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE,
    )
    assert ended.returncode == 3
    return state


@pytest.fixture
def state(formed: Path, tmp_path: Path) -> Path:
    """That state, for one test."""
    return Path(shutil.copytree(formed, tmp_path / "state"))


def _settings(state: Path) -> str:
    file = state.with_suffix(".toml")
    file.write_text("[network]\nchannel = 15\n")  # to look for a quiet one takes another 10 s
    return str(file)


class Cable:
    """What lies between the hub and another program: it can be stopped up, and then carries nothing."""

    def __init__(self, to: Path | None) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self.used = asyncio.Event()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop_up(self) -> None:
        self._is_open.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.used.set()
        if self._to is None:
            self._run(_swallow(reader))
            return
        to_reader, to_writer = await asyncio.open_unix_connection(self._to)
        self._run(self._carry(reader, to_writer))
        self._run(self._carry(to_reader, writer))

    def _run(self, work) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await source.read(4096):
                await self._is_open.wait()
                sink.write(octets)
                await sink.drain()
        sink.close()


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


class RunningHub:
    """The process, the facts that it writes, and the end that it comes to."""

    def __init__(self, process: asyncio.subprocess.Process, state: Path) -> None:
        self._process, self.state = process, state
        self.facts: list[str] = []

    async def says(self, what: str) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.facts.append(json.loads(line)["what"])
            if self.facts[-1] == what:
                return
        raise AssertionError(f"the hub ended before it said {what}: {(await self.ended())[1]}")

    async def is_stopping(self) -> None:
        """Returns when it has taken the first signal."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if b"Stopping" in line:
                return
        raise AssertionError("the hub ended before it said that it stops")

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    async def ended(self) -> tuple[int, str]:
        """Its exit status and the rest of its standard error."""
        out, err = await self._process.communicate()
        self.facts += [json.loads(line)["what"] for line in out.splitlines()]
        assert self._process.returncode is not None
        return self._process.returncode, err.decode()


@contextlib.asynccontextmanager
async def hub_on(state: Path, radio: str, broker: str) -> AsyncIterator[RunningHub]:
    process = await asyncio.create_subprocess_exec(
        *(*HUB, "--radio", radio, "--mqtt", broker, "--state", str(state), "--config", _settings(state)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            yield RunningHub(process, state)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def broker_with(heard: Callable[[HubState], None]) -> AsyncIterator[Path]:
    """A broker on a socket, and somebody who listens to what hubs say of themselves."""
    facts = Facts(asyncio.get_running_loop().time)

    async def hear(_topic: str, payload: bytes) -> None:
        heard(decode(payload, HubState))

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "broker"
        async with EmbeddedBroker.on_socket(place) as broker:
            settings = MailboxSettings.in_simulation(broker.address, "listener")
            listener = Mailbox(settings, who="listener", facts=facts, dice=random.Random(1))
            await listener.on("gbhan/v1/hub/+/state", hear)
            async with listener:
                yield place


def is_free(state: Path) -> bool:
    with held_alone(state):
        return True


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_a_hub_that_is_told_to_stop_says_goodbye_and_leaves_its_state_to_the_next(dongle, state, told):
    states: asyncio.Queue[bool] = asyncio.Queue()
    async with (
        broker_with(lambda state: states.put_nowait(state.online)) as broker,
        hub_on(state, dongle, f"mqtt+unix://{broker}") as hub,
    ):
        await hub.says("mqtt.connected")
        hub.send(told)
        status, said = await hub.ended()
        assert (status, hub.facts[-1]) == (0, "hub.down")
        assert "Traceback" not in said
        assert is_free(hub.state)
        while await states.get():
            pass
    # Offline once: the will of a client that says goodbye is never published.
    assert states.empty()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_it_stops_while_a_dongle_does_not_answer_yet(tmp_path, told):
    async with (
        Cable(None) as cable,
        hub_on(tmp_path / "state", f"tcp://127.0.0.1:{cable.port}", NOBODY) as hub,
    ):
        async with asyncio.timeout(DEADLINE):
            await cable.used.wait()
        hub.send(told)
        status, said = await hub.ended()
        assert status == 0
        assert "Traceback" not in said
        assert is_free(hub.state)


async def test_it_stops_in_time_when_the_broker_has_fallen_silent(dongle, state):
    async with (
        broker_with(lambda _: None) as broker,
        Cable(broker) as cable,
        hub_on(state, dongle, f"mqtt://127.0.0.1:{cable.port}") as hub,
    ):
        await hub.says("mqtt.connected")
        cable.stop_up()
        hub.send(signal.SIGTERM)
        status, said = await hub.ended()
        assert (status, hub.facts[-1]) == (0, "hub.down")
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)]
)
async def test_a_second_signal_ends_it_at_once(dongle, state, first, second):
    async with (
        broker_with(lambda _: None) as broker,
        Cable(broker) as cable,
        hub_on(state, dongle, f"mqtt://127.0.0.1:{cable.port}") as hub,
    ):
        await hub.says("mqtt.connected")
        cable.stop_up()  # so that its goodbye takes the second that it may
        hub.send(first)
        await hub.is_stopping()
        hub.send(second)
        status, said = await hub.ended()
        assert status == -second
        assert "hub.down" not in hub.facts
        assert "Traceback" not in said
        assert is_free(hub.state)
