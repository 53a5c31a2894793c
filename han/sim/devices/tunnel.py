"""A device's end of its tunnel to the Communications Hub. Pure: no node, no clock.

GBCS messages travel between the hub and a device inside a tunnel (Tunnelling cluster, Smart Energy). The
device opens it once it is attached, keeps one message under way at a time, and opens a new one when the hub
no longer knows the old one (a hub that restarted has forgotten its tunnels). A hub may also open the tunnel
itself; then that one is used. A message stays with the device until the hub's radio has acknowledged it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from han.zcl import (
    CloseTunnel,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    TransferDataError,
    TunnelCommand,
)

PROTOCOL = 6
"""Tunnel protocol id of GBCS (GB-HRGP), by recollection; a hub that asks for another is served too."""
ANY_MANUFACTURER = 0xFFFF
_NO_SUCH_TUNNEL = 0
MAXIMUM_INCOMING = 1500
"""Octets of the largest message that a device takes from its tunnel."""
ANSWER_WITHIN = 5.0
"""Seconds that a hub has to answer a Request Tunnel."""
FIRST_RETRY = 10.0
LONGEST_RETRY = 3600.0
"""Seconds between attempts to open a tunnel, doubled each time: a hub without tunnels is left in peace."""


class State(Enum):
    """Where the tunnel stands."""

    CLOSED = auto()
    OPENING = auto()
    OPEN = auto()


@dataclass(frozen=True, slots=True)
class Send:
    """Send this command to the hub; for a `TransferData`, tell `Tunnel.sent` how that ended.

    `sequence` is the ZCL sequence number of the question that it answers, None for a new one.
    """

    command: TunnelCommand
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The tunnel is open."""

    tunnel: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """The hub sent this message."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """The hub's radio has this message."""

    message: bytes


TunnelItem = Send | Opened | Arrived | Delivered


class Tunnel:
    """The device's machine for its tunnel.

    `waiting` are messages that were not delivered before the device last lost its power.
    """

    def __init__(self, waiting: Iterable[bytes] = ()) -> None:
        self.state = State.CLOSED
        self._waiting = deque(waiting)
        self._under_way = False
        self._tunnel = 0
        self._is_mine = True
        self._deadline: float | None = None
        self._retry = FIRST_RETRY
        self._out: list[TunnelItem] = []

    @property
    def waiting(self) -> tuple[bytes, ...]:
        """The messages that the hub does not have yet, oldest first."""
        return tuple(self._waiting)

    def open(self, now: float) -> None:
        """The device is attached: ask the hub for a tunnel, unless there is one."""
        if self.state is State.CLOSED:
            self._ask(now)

    def lose(self) -> None:
        """The network is gone: the tunnel with it. Nothing happens until `open`."""
        self.state = State.CLOSED
        self._deadline = None
        self._under_way = False

    def offer(self, message: bytes) -> None:
        """Send this message as soon as there is a tunnel and those before it are delivered."""
        self._waiting.append(message)
        self._transfer()

    def receive(self, command: TunnelCommand, sequence: int, now: float) -> None:
        """Take a command of the Tunnelling cluster from the hub. What does not fit the state is ignored."""
        match command:
            case RequestTunnelResponse():
                self._answered(command, now)
            case TransferData(tunnel=tunnel, data=data):
                self._arrived(tunnel, data, sequence)
            case RequestTunnel():
                self._asked(sequence)
            case TransferDataError(tunnel=tunnel) | CloseTunnel(tunnel=tunnel):
                if self.state is State.OPEN and tunnel == self._tunnel:
                    self._under_way = False
                    self._ask(now)

    def sent(self, message: bytes, now: float, *, is_delivered: bool) -> None:
        """The transfer of this message ended: its APS acknowledgement came, or never did."""
        if not self._under_way or self._waiting[0] != message:
            return  # it was under way in a tunnel that is gone; in the new one it is sent again
        self._under_way = False
        if is_delivered:
            self._out.append(Delivered(self._waiting.popleft()))
            self._transfer()
        else:
            self._fail(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._deadline is None or now < self._deadline:
            return
        if self.state is State.OPENING:
            self._fail(now)
        else:
            self._ask(now)

    def timer(self) -> float | None:
        """When `tick` wants to be called next."""
        return self._deadline

    def drain(self) -> list[TunnelItem]:
        """What is to be sent and what happened since the last call."""
        out, self._out = self._out, []
        return out

    def _ask(self, now: float) -> None:
        self.state = State.OPENING
        self._deadline = now + ANSWER_WITHIN
        self._out.append(
            Send(
                RequestTunnel(
                    PROTOCOL, ANY_MANUFACTURER, flow_control=False, maximum_incoming=MAXIMUM_INCOMING
                )
            )
        )

    def _fail(self, now: float) -> None:
        self.state = State.CLOSED
        self._deadline = now + self._retry
        self._retry = min(2 * self._retry, LONGEST_RETRY)

    def _answered(self, answer: RequestTunnelResponse, now: float) -> None:
        if self.state is not State.OPENING:
            return
        if answer.status != 0:
            self._fail(now)
            return
        self._opened(answer.tunnel, mine=True)

    def _asked(self, sequence: int) -> None:
        # One hub, one tunnel: the number needs to differ only from that of the one before.
        tunnel = (self._tunnel + 1) & 0x7FFF
        self._out.append(Send(RequestTunnelResponse(tunnel, 0, MAXIMUM_INCOMING), sequence))
        self._opened(tunnel, mine=False)

    def _opened(self, tunnel: int, *, mine: bool) -> None:
        self.state = State.OPEN
        self._tunnel = tunnel
        self._is_mine = mine
        self._deadline = None
        self._under_way = False
        self._retry = FIRST_RETRY
        self._out.append(Opened(tunnel))
        self._transfer()

    def _arrived(self, tunnel: int, data: bytes, sequence: int) -> None:
        # Taken in any case: the sender counts it as delivered once our radio has acknowledged it.
        self._out.append(Arrived(data))
        if self.state is not State.OPEN or tunnel != self._tunnel:
            lost = TransferDataError(tunnel, _NO_SUCH_TUNNEL, from_server=not self._is_mine)
            self._out.append(Send(lost, sequence))

    def _transfer(self) -> None:
        if self.state is not State.OPEN or self._under_way or not self._waiting:
            return
        self._under_way = True
        self._out.append(Send(TransferData(self._tunnel, self._waiting[0], from_server=not self._is_mine)))
