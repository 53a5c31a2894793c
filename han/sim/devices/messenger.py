"""The pump around a device's tunnel: GBCS messages out of it, and into it until the hub has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.memory import Memory
from han.sim.devices.port import Port
from han.sim.devices.tunnel import Arrived, Delivered, Opened, Send, Tunnel
from han.zcl import TUNNELLING_CLUSTER, TransferData, TunnelCommand, encode_tunnel


class Messenger:
    """Carries whole GBCS messages between a device and the hub. What is not delivered survives a reboot.

    Args:
        on_message: called with each message from the hub.
    """

    def __init__(
        self,
        *,
        port: Port,
        timeline: Timeline,
        facts: Facts,
        name: str,
        memory: Memory,
        on_message: Callable[[bytes], None],
    ) -> None:
        self._port = port
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._memory = memory
        self._on_message = on_message
        self._handle: Handle | None = None
        self._tunnel = Tunnel(memory.unsent)

    def attached(self) -> None:
        """The hub can be reached: open the tunnel."""
        self._tunnel.open(self._timeline.now)
        self._settle()

    def detached(self) -> None:
        """The network is gone, or the power: the tunnel too. What was not delivered waits."""
        self._tunnel.lose()
        self._settle()

    def send(self, message: bytes) -> None:
        """Deliver this message to the hub, now or whenever that is possible."""
        self._tunnel.offer(message)
        self._settle()

    def receive(self, command: TunnelCommand, sequence: int) -> None:
        """Take a command of the Tunnelling cluster from the hub."""
        self._tunnel.receive(command, sequence, self._timeline.now)
        self._settle()

    def _settle(self) -> None:
        while items := self._tunnel.drain():
            for item in items:
                match item:
                    case Send(command=command, sequence=sequence):
                        self._send(command, sequence)
                    case Opened(tunnel=tunnel):
                        self._facts.say(self._name, "tunnel.open", tunnel=tunnel)
                    case Delivered(message=message):
                        self._facts.say(self._name, "tunnel.delivered", size=len(message))
                    case Arrived(message=message):
                        self._on_message(message)
        self._memory.unsent = self._tunnel.waiting
        self._arm()

    def _send(self, command: TunnelCommand, sequence: int | None) -> None:
        frame = encode_tunnel(command, self._port.next_sequence() if sequence is None else sequence)
        on_sent = partial(self._sent, command.data) if isinstance(command, TransferData) else None
        self._port.send(TUNNELLING_CLUSTER, frame, on_sent)

    def _sent(self, message: bytes, is_delivered: bool) -> None:  # noqa: FBT001 - the outcome that a port tells
        self._tunnel.sent(message, self._timeline.now, is_delivered=is_delivered)
        self._settle()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if (when := self._tunnel.timer()) is not None:
            self._handle = self._timeline.at(when, self._woken)

    def _woken(self) -> None:
        self._handle = None
        self._tunnel.tick(self._timeline.now)
        self._settle()
