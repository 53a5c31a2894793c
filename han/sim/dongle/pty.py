"""The PTY door: the dongle's serial port as a terminal device that any program can open by its path."""

from __future__ import annotations

import asyncio
import os
import tty
from pathlib import Path

from han.facts import Facts
from han.sim.air.pump import Pump
from han.sim.dongle.houses import Port
from han.sim.dongle.serial import HostEnd


class PtyDoor:
    """Serves one port as a pseudo-terminal.

    The far side of the terminal is held open here too, so that hosts may come and go. What a host leaves
    unread stays in the kernel's buffer for the next one, as on a real port; once that is full, octets are
    lost and nothing blocks.
    """

    def __init__(self, port: Port, pump: Pump, facts: Facts) -> None:
        self._pump = pump
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self._lost = 0
        self.path = Path(os.ttyname(self._theirs))
        """What a host opens."""
        pump.wake()
        self._end: HostEnd = port.open_port(self._to_host, self._taken)
        pump.wake()
        self._loop.add_reader(self._ours, self._read)

    def close(self) -> None:
        """Take the terminal away; a host that has it open sees it hang up."""
        if self._ours < 0:
            return
        self._loop.remove_reader(self._ours)
        self._end.close()
        os.close(self._ours)
        os.close(self._theirs)
        self._ours = self._theirs = -1

    def _read(self) -> None:
        try:
            octets = os.read(self._ours, 4096)
        except BlockingIOError:
            return
        except OSError as error:
            self._facts.say("door", "door.failed", why=str(error))
            self.close()
            return
        self._pump.wake()
        self._end.write(octets)
        self._pump.wake()

    def _to_host(self, octets: bytes) -> None:
        try:
            written = os.write(self._ours, octets)
        except BlockingIOError:
            written = 0
        if written < len(octets):
            if not self._lost:
                self._facts.say("door", "door.dropped", why="nobody reads the terminal: octets are lost")
            self._lost += len(octets) - written
        else:
            self._lost = 0

    def _taken(self) -> None:
        self._facts.say("door", "door.closed", why="another door opened the port")
        self.close()
