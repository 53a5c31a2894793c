"""The hub's ends of the tunnels through which GBCS messages travel to and from its devices. Pure.

Mostly the device opens the tunnel, as soon as it is attached. When the hub has something to deliver and knows
of no tunnel, because it has just restarted, it opens one itself. A message to a device is kept until the
radio reports that it was acknowledged, and is tried again with growing pauses, or as soon as the device is
heard: a gas meter sleeps for most of its life.

Octets that arrive for a tunnel nobody remembers, or that is another device's, are taken all the same: what is
inside carries its own protection and is recognised when it repeats, while the device counts them as
delivered. It also hears what is wrong with its tunnel, and opens a new one. What is longer than was agreed
when the tunnel was opened is refused as an overflow.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from han.zcl import (
    CloseTunnel,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    TransferDataError,
    TunnelCommand,
)
from ota.eui64 import Eui64

_ANY_MANUFACTURER: Final = 0xFFFF
_NO_SUCH_TUNNEL: Final = 0
_WRONG_DEVICE: Final = 1
_DATA_OVERFLOW: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSettings:
    """Times in seconds, sizes in octets."""

    protocol: int = 6
    """Of the tunnels that the hub opens: GBCS (GB-HRGP), by recollection. A device that asks for another gets
    its tunnel too."""
    maximum_incoming: int = 1500
    answer_within: float = 30.0
    """How long a device may take to answer a request for a tunnel."""
    first_pause: float = 10.0
    longest_pause: float = 900.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send this. ``sequence`` None: the pump picks one; tell ``sent`` how a TransferData ended."""

    peer: Eui64
    command: TunnelCommand
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message from a device."""

    peer: Eui64
    message: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """The device's radio has acknowledged this message."""

    peer: Eui64
    message: bytes


@dataclass(frozen=True, slots=True)
class Complained:
    """A device used a tunnel as it should not, and has been told so."""

    peer: Eui64
    why: str


Item = Send | Arrived | Delivered | Complained


@dataclass(slots=True)
class _End:
    """Our end of the tunnel with one device."""

    peer: Eui64
    pause: float
    tunnel: int | None = None
    is_ours: bool = False
    """We opened it: we are its client."""
    is_asking: bool = False
    under_way: bytes | None = None
    waiting: deque[bytes] = field(default_factory=deque)
    due: float | None = None


class Tunnels:
    """All tunnels of a hub."""

    def __init__(self, settings: TunnelSettings) -> None:
        self._settings = settings
        self._ends: dict[Eui64, _End] = {}
        self._next_tunnel = 0
        self._out: list[Item] = []

    def deliver(self, peer: Eui64, message: bytes, now: float) -> None:
        """Bring this message to the device, however long it takes."""
        end = self._end(peer)
        end.waiting.append(message)
        if end.due is None or not end.is_asking:
            self._go_on(end, now)

    def withdraw(self, peer: Eui64, message: bytes) -> None:
        """The message need not be delivered any more."""
        end = self._end(peer)
        if message in end.waiting:
            end.waiting.remove(message)

    def forget(self, peer: Eui64) -> None:
        """The device is gone for good: so are its tunnel and whatever waits for it."""
        self._ends.pop(peer, None)

    def receive(self, peer: Eui64, command: TunnelCommand, sequence: int, now: float) -> None:
        """Take a command of the Tunnelling cluster from a device."""
        end = self._end(peer)
        match command:
            case RequestTunnel():
                self._opened_by_device(end, sequence, now)
            case RequestTunnelResponse(tunnel=tunnel, status=status):
                self._answered(end, tunnel, status, now)
            case TransferData():
                self._arrived(end, command, sequence)
            case CloseTunnel(tunnel=tunnel) | TransferDataError(tunnel=tunnel):
                if tunnel == end.tunnel:
                    self._forget(end)
                    self._go_on(end, now)

    def owes(self, peer: Eui64) -> bool:
        """Whether a message waits for a later attempt to reach this device."""
        end = self._ends.get(peer)
        return end is not None and bool(end.waiting) and end.due is not None and not end.is_asking

    def heard_from(self, peer: Eui64, now: float) -> None:
        """A device said something, whatever it was: if it sleeps it is awake now, so wait no longer."""
        if self.owes(peer):
            end = self._ends[peer]
            end.pause, end.due = self._settings.first_pause, None
            self._go_on(end, now)

    def sent(self, peer: Eui64, *, is_delivered: bool, now: float) -> None:
        """The TransferData under way to this device was acknowledged, or never was."""
        end = self._end(peer)
        message, end.under_way = end.under_way, None
        if message is None:
            return
        if is_delivered:
            end.pause = self._settings.first_pause
            if end.waiting and end.waiting[0] == message:
                end.waiting.popleft()
            self._out.append(Delivered(peer, message))
            self._go_on(end, now)
        else:
            self._try_later(end, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for end in self._ends.values():
            if end.due is not None and end.due <= now:
                end.due = None
                if end.is_asking:
                    end.is_asking = False
                    self._try_later(end, now)
                else:
                    self._go_on(end, now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        return min((end.due for end in self._ends.values() if end.due is not None), default=None)

    def drain(self) -> list[Item]:
        """What came of it since the last call, in order."""
        out, self._out = self._out, []
        return out

    def _end(self, peer: Eui64) -> _End:
        return self._ends.setdefault(peer, _End(peer, self._settings.first_pause))

    def _arrived(self, end: _End, sent: TransferData, sequence: int) -> None:
        complaint = self._complaint(end, sent)
        if complaint is None or complaint[0] != _DATA_OVERFLOW:
            self._out.append(Arrived(end.peer, sent.data))
        if complaint is not None:
            status, why = complaint
            error = TransferDataError(sent.tunnel, status, from_server=not sent.from_server)
            self._out += [Complained(end.peer, why), Send(end.peer, error, sequence)]

    def _complaint(self, end: _End, sent: TransferData) -> tuple[int, str] | None:
        """What is wrong with this use of a tunnel, as a status of the cluster and in words."""
        if len(sent.data) > self._settings.maximum_incoming:
            return _DATA_OVERFLOW, f"{len(sent.data)} octets, agreed were {self._settings.maximum_incoming}"
        if sent.tunnel == end.tunnel:
            return None
        # The device numbers the tunnels that we open, so only those that it opens itself are compared.
        if any(each.tunnel == sent.tunnel and not each.is_ours for each in self._ends.values()):
            return _WRONG_DEVICE, f"tunnel {sent.tunnel} is another device's; what it carries is read"
        return _NO_SUCH_TUNNEL, f"there is no tunnel {sent.tunnel}; what it carries is read"

    def _opened_by_device(self, end: _End, sequence: int, now: float) -> None:
        self._forget(end)
        end.tunnel, end.is_ours = self._next_tunnel, False
        self._next_tunnel = (self._next_tunnel + 1) & 0x7FFF
        answer = RequestTunnelResponse(end.tunnel, 0, self._settings.maximum_incoming)
        self._out.append(Send(end.peer, answer, sequence))
        self._go_on(end, now)

    def _answered(self, end: _End, tunnel: int, status: int, now: float) -> None:
        if not end.is_asking:
            return
        end.is_asking, end.due = False, None
        if status != 0:
            self._try_later(end, now)
            return
        end.tunnel, end.is_ours = tunnel, True
        self._go_on(end, now)

    def _go_on(self, end: _End, now: float) -> None:
        """Send the next message, or ask for the tunnel that it needs."""
        if not end.waiting or end.under_way is not None or end.is_asking:
            return
        if end.tunnel is None:
            end.is_asking = True
            end.due = now + self._settings.answer_within
            request = RequestTunnel(
                self._settings.protocol,
                _ANY_MANUFACTURER,
                flow_control=False,
                maximum_incoming=self._settings.maximum_incoming,
            )
            self._out.append(Send(end.peer, request))
            return
        end.due = None
        end.under_way = end.waiting[0]
        data = TransferData(end.tunnel, end.under_way, from_server=not end.is_ours)
        self._out.append(Send(end.peer, data))

    def _try_later(self, end: _End, now: float) -> None:
        if end.waiting:
            end.due = now + end.pause
            end.pause = min(2 * end.pause, self._settings.longest_pause)

    def _forget(self, end: _End) -> None:
        end.tunnel, end.is_asking, end.under_way, end.due = None, False, None, None
