"""zigbee-herdsman on the virtual dongle: the script that a person can type, and what came of it.

The dongle is ``gbhan dongle`` with a house of ``fixtures/homes``, in real time; the host is
``herdsman/ota.mjs`` under Node.js. Both tell what happens in JSON lines.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_world import Follower, Program

from han.sim.home import read_home
from han.sim.house_memory import HouseMemory

HERDSMAN = Path(__file__).parent / "herdsman"
HOMES = Path(__file__).parents[2] / "fixtures" / "homes"
HOME = HOMES / "herdsman.toml"


@dataclass(frozen=True, slots=True)
class Node:
    """Node.js with herdsman installed beside the script."""

    program: Path


class Script(Program):
    """One or more runs of ``ota.mjs``.

    Args:
        command: Node.js, the script and its arguments.
        log: see Program.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        super().__init__("ota.mjs", command, log, lambda _: True)
        self.told: list[dict[str, Any]] = []

    def heard(self, line: str) -> None:
        """A line of its standard output is an object."""
        self.told.append(json.loads(line))

    def of(self, what: str) -> list[dict[str, Any]]:
        """What it told of this kind, over all its runs."""
        return [said for said in self.told if said["what"] == what]

    async def run(self) -> int:
        """Start it and wait for its end; gives its exit status."""
        await self.start()
        return await self.ended()


class Desk:
    """A dongle that is being served, and whatever herdsman does with it."""

    def __init__(self, node: Node, folder: Path, home: Path, settings: str, door: str) -> None:
        self.folder = folder
        self.capture, self.keys = folder / "air.pcap", folder / "air.keys"
        self.devices = {device.name: device for device in read_home(str(home)).devices}
        self._node = node
        self.dongle = Follower(
            "gbhan dongle",
            [
                *("dongle", "--listen", door, "--home", f"sim://{home}?{settings}"),
                *("--state", str(folder / "house")),
                *("--pcap", str(self.capture), "--keys", str(self.keys)),
            ],
            folder / "dongle.log",
            "door.open",
        )
        self._scripts: list[Script] = []

    def script(
        self, image: Path | None = None, *, name: str = "display", code: str | None = None, **options: float
    ) -> Script:
        """The script for the device of this name, ready to start: without an image it updates nothing."""
        device = self.devices[name]
        code = bytes(device.install_code).hex() if code is None else code
        door = next(fact for fact in reversed(self.dongle.facts) if fact.what == "door.open")
        arguments = [door.url, str(self.folder / "herdsman"), str(device.eui64), code]
        if image is not None:
            arguments.append(str(image))
        for option, value in options.items():
            arguments += [f"--{option}", str(value)]
        number = len(self._scripts)
        command = [str(self._node.program), str(HERDSMAN / "ota.mjs"), *arguments]
        self._scripts.append(Script(command, self.folder / f"herdsman-{number}.log"))
        return self._scripts[-1]

    def exchange_dongle(self) -> None:
        """Put a blank dongle in the place of the one that was; only while none is being served."""
        file = self.folder / "house" / "house.json"
        kept = json.loads(file.read_text())
        file.write_text(json.dumps(kept | {"dongle": HouseMemory().to_dict()["dongle"]}))

    async def clear_away(self) -> None:
        """Leave no process behind."""
        for program in (*self._scripts, self.dongle):
            await program.clear_away()


@contextlib.asynccontextmanager
async def desk(
    node: Node, folder: Path, settings: str = "", *, home: Path = HOME, door: str = "tcp://127.0.0.1:0"
) -> AsyncIterator[Desk]:
    """A desk that is gone afterwards, whatever happens.

    ``settings`` as behind a ``sim://`` URL, ``door`` as behind ``--listen``.
    """
    laid = Desk(node, folder, home, settings, door)
    try:
        await laid.dongle.start()
        yield laid
    finally:
        await laid.clear_away()
