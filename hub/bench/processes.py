"""Real processes around one virtual dongle: ``gbhan dongle`` serves it, others are the host. In real time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from han.facts import Facts
from hub.bench.head_end import PATIENCE
from hub.bench.setup import Setup
from hub.errors import SurroundingsError


class ServedHouse:
    """A house in a process of its own: its facts are said again here, at the times of its own clock."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._now = 0.0
        self._door: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.facts = Facts(lambda: self._now)

    async def url(self) -> str:
        """Where the dongle is; returns when it is there."""
        async with asyncio.timeout(PATIENCE):
            return await self._door

    async def listen(self) -> None:
        """Say its facts again, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            fields = json.loads(line)
            self._now, who, what = fields.pop("at"), fields.pop("who"), fields.pop("what")
            if what == "door.open":
                self._door.set_result(fields["url"])
            self.facts.say(who, what, **fields)
        if not self._door.done():
            self._door.set_exception(SurroundingsError("gbhan dongle ended before it had begun"))


@asynccontextmanager
async def serve_house(setup: Setup, folder: Path, *evidence: str) -> AsyncIterator[ServedHouse]:
    """Let ``gbhan dongle`` serve the house of ``setup``; ``evidence`` are further options of that command."""
    home = folder / "home.toml"
    home.write_text(setup.toml())
    arguments = ("dongle", "--listen", "tcp://127.0.0.1:0", "--home", str(home), "--json", *evidence)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub.cli", *arguments, stdout=PIPE, stderr=DEVNULL
    )
    house = ServedHouse(process)
    listening = asyncio.create_task(house.listen(), name="reads gbhan dongle")
    try:
        await house.url()
        yield house
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await listening


async def run_program(*command: str) -> bytes:
    """What a program writes to its standard output.

    Raises:
        SurroundingsError: if it fails, with its last words, or takes for ever.
    """
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    except TimeoutError:
        raise SurroundingsError(f"{command[0]}: not done after {PATIENCE:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SurroundingsError(f"{' '.join(command[:3])} failed: {err.decode(errors='replace')[-500:]}")
    return out
