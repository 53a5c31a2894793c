"""The bench as separate programs, and a hub that is killed (SIGKILL) again and again in mid-update.

Real processes, sockets and time: Mosquitto and the programs ``gbhan dongle``, ``hub``, ``dsp``, ``request``.
The test waits for facts that the programs write, never for time to pass, and gives up at a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.oracle, pytest.mark.bench]

PPMID = "00-DB-12-34-56-78-91-A4"
INSTALL_CODE = "75288bc88fde9392165f3d8ccca3a7d7a6c0"
HOME = f"""
name = "bench"
seed = 1
channel = 15
[dongle]
eui64 = "00-DB-12-34-56-78-91-A2"
[[devices]]
kind = "PPMID"
name = "ppmid"
eui64 = "{PPMID}"
install_code = "{INSTALL_CODE}"
image_type = 0x0084
file_version = 1
hardware_version = 0x1111
first_query_within = 1.0
join_retry = 2.0
query_period = 15.0
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class FactsFile:
    """What a program has said so far, across its lives."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict]:
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        # A killed program may leave half a line, and the next one goes on behind it.
        facts = []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):
                facts.append(json.loads(line))
        return facts

    def count(self, what: str) -> int:
        return sum(fact["what"] == what for fact in self.read())

    async def until(self, what: str, count: int, within: float = 60.0) -> None:
        async with asyncio.timeout(within):
            while self.count(what) < count:  # noqa: ASYNC110 - another process writes the file
                await asyncio.sleep(0.02)


class Bench:
    """The programs, in a folder of their own."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.mqtt, self.dongle, self.dsp = (free_port() for _ in range(3))
        self.hub_facts = FactsFile(folder / "hub.facts")
        self.dsp_facts = FactsFile(folder / "dsp.facts")
        self.broker = f"mqtt://127.0.0.1:{self.mqtt}"
        self.hub: asyncio.subprocess.Process | None = None

    async def run(self, *arguments: str) -> asyncio.subprocess.Process:
        log = (self.folder / f"{arguments[0]}.log").open("ab")
        self.stack.callback(log.close)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub.cli", *arguments),
            stdout=asyncio.subprocess.PIPE if arguments[0] == "request" else log,
            stderr=log,
        )

    async def kept(self, *arguments: str) -> asyncio.subprocess.Process:
        process = await self.run(*arguments)
        await self.keep(process)
        return process

    async def keep(self, process: asyncio.subprocess.Process) -> None:
        async def end() -> None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()

        self.stack.push_async_callback(end)

    async def open(self, mosquitto: str) -> None:
        (self.folder / "bench.toml").write_text(HOME)
        (self.folder / "hub.toml").write_text("[network]\nchannel = 15\n")
        process = await asyncio.create_subprocess_exec(
            *(mosquitto, "-p", str(self.mqtt)), stderr=asyncio.subprocess.DEVNULL
        )
        await self.keep(process)
        await self.answers(self.mqtt)
        listen = f"tcp://127.0.0.1:{self.dongle}"
        await self.keep(
            await self.run("dongle", "--listen", listen, "--home", str(self.folder / "bench.toml"))
        )
        await self.answers(self.dongle)
        await self.keep(
            await self.run(
                *("dsp", "--mqtt", self.broker, "--db", f"sqlite:///{self.folder}/dsp.db"),
                *("--listen", f"127.0.0.1:{self.dsp}", "--facts", str(self.dsp_facts.path)),
                *("--wan-rate", "50000", "--wan-latency", "0", "--chunk-size", "2048"),
                *("--answer-wait", "3s", "--retry-period", "5s"),
            )
        )
        await self.answers(self.dsp)

    async def answers(self, port: int) -> None:
        async with asyncio.timeout(30.0):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def start_hub(self) -> None:
        lives = self.hub_facts.count("mqtt.connected")
        self.hub = await self.kept(
            *("hub", "--radio", f"tcp://127.0.0.1:{self.dongle}", "--mqtt", self.broker),
            *("--state", str(self.folder / "state"), "--config", str(self.folder / "hub.toml")),
            *("--facts", str(self.hub_facts.path)),
        )
        await self.hub_facts.until("mqtt.connected", lives + 1)

    async def kill_hub(self) -> None:
        assert self.hub is not None
        if self.hub.returncode is None:
            self.hub.send_signal(signal.SIGKILL)
        assert await self.hub.wait() == -signal.SIGKILL

    async def stop_hub(self) -> None:
        assert self.hub is not None
        self.hub.send_signal(signal.SIGTERM)
        assert await self.hub.wait() == 0, "told to stop, it stops cleanly"

    async def ended(self, request_id: str) -> dict:
        """How the request stands when it has ended; the DSP's facts say when to look."""
        seen = -1
        async with asyncio.timeout(180.0):
            while True:
                facts = len(self.dsp_facts.read())
                if facts != seen:
                    seen = facts
                    standing = (await self.asked("status", "--id", request_id))["standing"]
                    if standing["finished"]:
                        return standing
                await asyncio.sleep(0.1)

    async def asked(self, *arguments: str) -> dict:
        process = await self.run("request", *arguments, "--dsp", f"http://127.0.0.1:{self.dsp}", "--json")
        out, _ = await process.communicate()
        return json.loads(out)


@contextlib.asynccontextmanager
async def bench(folder: Path):
    mosquitto = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if mosquitto is None:
        if os.environ.get("GBHAN_ORACLES") == "required":
            pytest.fail("mosquitto is not installed, and GBHAN_ORACLES says it must be")
        pytest.skip("mosquitto is not installed")
    async with contextlib.AsyncExitStack() as stack:
        opened = Bench(folder, stack)
        await opened.open(mosquitto)
        yield opened


async def update_under_fire(folder: Path, kills: int, seed: int) -> None:
    """An 11.4 with so many kills of the hub on the way; ends well, each alert once in the DSP's story."""
    dice = random.Random(seed)
    async with bench(folder) as on:
        await on.start_hub()
        joining = await on.run("join", PPMID, INSTALL_CODE, "--type", "PPMID", "--mqtt", on.broker)
        assert await joining.wait() == 0
        await on.hub_facts.until("device.joined", 1)
        image = str(folder / "image.ota")
        size = str(600 * kills + 2000)
        building = await on.run(
            "image", "build", "--for", "PPMID", "--file-version", "2", "--size", size, "-o", image
        )
        assert await building.wait() == 0
        answer = await on.asked("11.4", "--image", image, "--device", PPMID)
        for number in range(kills):
            # The first while the image still arrives; then in mid-download, sometimes at its very start.
            if number > 0:
                await on.hub_facts.until("slot.stored", 1)
                await on.hub_facts.until("ota.block", on.hub_facts.count("ota.block") + dice.randrange(8))
            await on.kill_hub()
            await on.start_hub()
        standing = await on.ended(answer["response"]["request_id"])
        assert standing["ok"], standing
        codes = [line["code"] for line in standing["story"] if line["code"].startswith("0x")]
        assert sorted(codes) == ["0x8F8A", "0x8F8B"]
        offsets = [fact["offset"] for fact in on.hub_facts.read() if fact["what"] == "ota.block"]
        assert offsets == sorted(offsets), "it goes on where it stood"
        await on.stop_hub()


async def test_a_hub_that_is_killed_twice_in_mid_update_ends_it_well(tmp_path):
    await update_under_fire(tmp_path, kills=2, seed=1)


@pytest.mark.soak
async def test_a_hub_that_is_killed_twenty_times_in_mid_update_ends_it_well(tmp_path):
    await update_under_fire(tmp_path, kills=20, seed=2)
