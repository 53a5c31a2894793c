"""The pump around a device's OTA machine: commands in, commands out, one timer on the timeline.

Every decision is the machine's (`ota.client`); this file only carries. It is on the path of each block of an
image, so the timer is re-armed only when the machine wants to be woken earlier than it already will be.
"""

from __future__ import annotations

from collections.abc import Callable

from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.personalities import Peculiar
from han.zcl import encode_ota
from ota.client import OtaClient, Send
from ota.client_events import Event
from ota.commands import Command
from ota.errors import TheirError


class Upgrade:
    """Drives the OTA machine of a device, honest or peculiar, in a simulated house.

    Args:
        send: puts a ZCL frame of the OTA cluster on its way to the server, to be acknowledged by its APS or
            not.
        on_event: told what the machine tells, in order, after what it sends.
    """

    def __init__(
        self,
        *,
        machine: OtaClient | Peculiar,
        timeline: Timeline,
        send: Callable[[bytes, bool], None],
        on_event: Callable[[Event], None],
    ) -> None:
        self.machine = machine
        self._timeline = timeline
        self._send = send
        self._on_event = on_event
        self._is_running = False
        self._handle: Handle | None = None
        self._wake_at = 0.0

    def start(self) -> None:
        """The server can be reached: begin to ask it."""
        self._is_running = True
        self.machine.start(self._timeline.now)
        self._settle()

    def receive(self, command: Command, sequence: int, *, broadcast: bool, confirm: bool) -> None:
        """Take a command from the server. Before `start` nobody listens."""
        if self._is_running:
            self.machine.receive(command, sequence, self._timeline.now, broadcast=broadcast, confirm=confirm)
            self._settle()

    def receive_malformed(
        self, command_id: int, sequence: int, error: TheirError, *, broadcast: bool
    ) -> None:
        """Take note of a command that could not be read."""
        if self._is_running:
            self.machine.receive_malformed(
                command_id, sequence, error, self._timeline.now, broadcast=broadcast
            )
            self._settle()

    def ask_now(self) -> None:
        """Query the server at once, unless an image is under way."""
        if self._is_running:
            self.machine.ask_now(self._timeline.now)
            self._settle()

    def activate(self) -> None:
        """Run the held image: something else than the OTA cluster said so, whether or not there is a server.

        Raises:
            ota.errors.OurError: if none is held.
        """
        self.machine.activate(self._timeline.now)
        self._settle()

    def stop(self) -> None:
        """The server or the power is gone: nothing is due, and nothing is sent, until `start`."""
        self._is_running = False
        self._disarm()

    def _settle(self) -> None:
        for item in self.machine.drain():
            if not isinstance(item, Send):
                self._on_event(item)
            elif self._is_running:
                self._send(encode_ota(item.command, item.sequence), item.acknowledged)
        if self._is_running:
            self._arm()

    def _arm(self) -> None:
        wanted = self.machine.timer()
        if wanted is None:
            self._disarm()
        elif self._handle is None or wanted < self._wake_at:
            self._disarm()
            self._wake_at = wanted
            self._handle = self._timeline.at(wanted, self._woken)

    def _woken(self) -> None:
        self._handle = None
        self.machine.tick(self._timeline.now)
        self._settle()

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
