"""The DSP stub as a process of its own, on Mosquitto, killed without warning."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from bench_world import free_port

from han.facts import Facts
from hub.dcc.client import DspAddress, DspClient
from hub.dcc.contract import Standing
from hub.dcc.requests import UpdatePpmidFirmware
from hub.errors import SurroundingsError
from hub.messages import DeviceEntry
from hub.mqtt import BrokerAddress, Mailbox, MailboxSettings

sys.path.append(str(Path(__file__).parents[1] / "hub"))  # the world of the head end's own tests
from dcc_world import HUB, PPMID, Hub, upgrade_file

pytestmark = [pytest.mark.bench, pytest.mark.oracle]

DEADLINE = 60.0
IMAGE = upgrade_file(6000)


class Post:
    """The broker as the simulated hub sees it: Mosquitto, through a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._outgoing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.subscriptions: list[tuple[str, Callable[[str, bytes], Awaitable[None]]]] = []

    def subscribe(
        self, _name: str, topic_filter: str, handler: Callable[[str, bytes], Awaitable[None]]
    ) -> None:
        self.subscriptions.append((topic_filter, handler))

    def take(self, topic: str, payload: bytes) -> None:
        self._outgoing.put_nowait((topic, payload))

    async def run(self) -> None:
        while True:
            await self._mailbox.publish(*await self._outgoing.get())


@contextlib.asynccontextmanager
async def mosquitto(program: Path, folder: Path) -> AsyncIterator[BrokerAddress]:
    port = free_port()
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = await asyncio.create_subprocess_exec(
        *(str(program), "-v", "-c", str(folder / "mosquitto.conf")), stderr=asyncio.subprocess.PIPE
    )
    assert broker.stderr is not None
    async with asyncio.timeout(DEADLINE):
        while b"running" not in await broker.stderr.readline():
            pass
    reading = asyncio.create_task(broker.stderr.read())
    try:
        yield BrokerAddress.parse(f"mqtt://127.0.0.1:{port}")
    finally:
        broker.terminate()
        await broker.wait()
        await reading


@contextlib.asynccontextmanager
async def simulated_hub(address: BrokerAddress) -> AsyncIterator[Hub]:
    mailbox = Mailbox(
        MailboxSettings(address, "hub"),
        who="hub",
        facts=Facts(asyncio.get_running_loop().time),
        dice=random.Random(1),
    )
    post = Post(mailbox)
    hub = Hub(post)
    hub.entries = (DeviceEntry(device=str(PPMID), device_type="PPMID", state="joined"),)
    for topic_filter, handler in post.subscriptions:
        await mailbox.on(topic_filter, handler)
    async with mailbox:
        posting = asyncio.create_task(post.run())
        yield hub
        posting.cancel()


class Process:
    """``gbhan dsp`` on one database, started again and again."""

    def __init__(self, folder: Path, address: BrokerAddress) -> None:
        self.port = free_port()
        self._arguments = [
            *("--mqtt", str(address), "--db", f"sqlite:///{folder}/dsp.db", "--hub", str(HUB), "--json"),
            *("--listen", f"127.0.0.1:{self.port}", "--chunk-size", "400", "--answer-wait", "2s"),
            *("--wan-rate", "4000", "--wan-latency", "0.02"),
        ]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when it listens."""
        command = "import sys; from hub.cli import main; main(sys.argv[1:])"
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", command, "dsp", *self._arguments), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while True:
                line = await self._process.stdout.readline()
                assert line, f"gbhan dsp ended with {await self._process.wait()}"
                if json.loads(line)["what"] == "dsp.listening":
                    break
        self._reading = asyncio.create_task(self._process.stdout.read())

    async def end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        status = await self._process.wait()
        await self._reading
        return status


async def finished(address: DspAddress, request_id: str) -> Standing:
    async with asyncio.timeout(DEADLINE), DspClient(address) as client:
        return await client.finished(request_id)


async def until(hub: Hub, true: Callable[[], bool]) -> None:
    """Wait for something that the hub comes to see."""
    async with asyncio.timeout(DEADLINE):
        while not true():
            await hub.heard.wait()
            hub.heard.clear()


async def test_a_dsp_killed_at_any_moment_keeps_its_requests_and_counts_each_alert_once(program, tmp_path):
    dice = random.Random(7)
    async with (
        mosquitto(program("mosquitto"), tmp_path) as broker,
        simulated_hub(broker) as hub,
    ):
        process = Process(tmp_path, broker)
        address = DspAddress(url=f"http://127.0.0.1:{process.port}")
        await process.start()
        async with DspClient(address) as client:
            answer = await client.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,), request_id="R"))
        assert answer.ok
        for share in sorted(dice.random() for _ in range(4)):
            await until(hub, lambda share=share: hub.stored or arrived(hub) >= share * len(IMAGE))
            await process.end(signal.SIGKILL)
            await process.start()
        # Once more when the alerts are on their way: the broker keeps what nobody has acknowledged.
        await until(hub, lambda: bool(hub.stored))
        await process.end(signal.SIGKILL)
        await process.start()
        standing = await finished(address, "R")
        assert await process.end(signal.SIGTERM) == 0

    events = [line.event for line in standing.story]
    assert standing.devices[0].outcome == "activated"
    assert list(hub.stored.values()) == [IMAGE]
    assert events.count("Firmware Transfer Alert") == 1
    assert events.count("PPMID Activation Alert") == 1
    assert events.count("ended") == 1


def arrived(hub: Hub) -> int:
    return sum(len(octets) for octets in hub.arriving.values())


async def test_a_client_hears_that_the_dsp_is_gone(program, tmp_path):
    async with mosquitto(program("mosquitto"), tmp_path) as broker:
        process = Process(tmp_path, broker)
        await process.start()
        await process.end(signal.SIGKILL)

        with pytest.raises(SurroundingsError, match="gbhan dsp"):
            await finished(DspAddress(url=f"http://127.0.0.1:{process.port}"), "R")
