"""Key establishment in the hub: the pump around its machine.

Commands of cluster 0x0800 go into `han.security.key_establishment`, what it says goes out, and the key that
comes of it goes to the dongle *before* the device learns that it is agreed: what the device says next is
under that key already. If the dongle has no room for it, the device is told NO_RESOURCES instead of the
confirmation, and keeps the key that it had.

A step computes on curves for up to 0.1 s of CPU. Steps are taken one at a time, and the loop has its turn
between them: a dongle waits 0.4 s and longer for an acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from han.errors import HanError, TheirError
from han.facts import Facts
from han.security.certificate import Credentials
from han.security.key_establishment import (
    ConfirmKey,
    Established,
    Event,
    Failed,
    Ignored,
    KeyEstablishment,
    Send,
    Settings,
    Started,
    Terminate,
    TerminateStatus,
)
from han.security.key_establishment_commands import LONGEST_TIME
from han.zcl import ZclFrame, decode_key_establishment, encode_key_establishment
from ota.commands import DefaultResponse
from ota.eui64 import Eui64

WAITING_AT_MOST: Final = 32
"""Commands that may wait for their turn; a device that sends more than it is answered loses some."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """The dongle and the device share a link key now, and the device has proved who it is."""

    peer: Eui64


@dataclass(frozen=True, slots=True)
class NotAgreed:
    """An exchange ended without a key; ``why`` names the status if one was told."""

    peer: Eui64
    why: str


Outcome = Agreed | NotAgreed


@dataclass(frozen=True, slots=True)
class Hands:
    """What the pump does with the world. The first two may raise HanError."""

    send: Callable[[Eui64, bytes], Awaitable[None]]
    """Send this ZCL frame of the Key Establishment cluster, under network security alone."""
    keep_key: Callable[[Eui64, bytes], Awaitable[None]]
    """Give the dongle this device's link key."""
    tell: Callable[[Outcome], None]


class Establishment:
    """Establishes keys with any number of devices, as responder and, when asked to, as initiator.

    Args:
        own: what the hub proves itself with, at most one for each suite; without any it refuses every suite.
        settings: times and limits of the machine.
        entropy: where ephemeral keys come from.
        hands: see Hands.
        facts: where "keys.*" is said.
    """

    def __init__(
        self,
        own: Sequence[Credentials],
        settings: Settings,
        entropy: Callable[[int], bytes],
        hands: Hands,
        facts: Facts,
    ) -> None:
        self._machine = KeyEstablishment(own, settings, EntropyDice(entropy))
        self._hands = hands
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[tuple[Eui64, ZclFrame]] = deque()
        self._has_work = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._sequence = 0
        self._sending: dict[asyncio.Task[None], None] = {}  # in order, as a set would not be
        self._worker = self._loop.create_task(self._work(), name="key establishment")

    @property
    def suites(self) -> int:
        """The cluster's attribute 0x0000: a bit for each suite that the hub has a certificate of."""
        return self._machine.suites

    def receive(self, peer: Eui64, frame: ZclFrame) -> None:
        """Take a command of the cluster from a device, in its turn."""
        if len(self._inbox) >= WAITING_AT_MOST:
            self._facts.say("hub", "keys.ignored", device=str(peer), why="too many commands wait already")
            return
        self._inbox.append((peer, frame))
        self._has_work.set()

    def initiate(self, peer: Eui64) -> None:
        """Ask a device for a new key. Nothing happens if that is under way, or the hub has no certificate."""
        if self._machine.suites and not self._machine.is_busy_with(peer):
            self._machine.initiate(peer, self._loop.time())
            self._has_work.set()

    def forget(self, peer: Eui64) -> None:
        """Drop what is under way with a device: it left or was removed."""
        self._machine.forget(peer)

    async def close(self) -> None:
        """Stop, in the middle of whatever is under way."""
        if self._alarm is not None:
            self._alarm.cancel()
        for task in (self._worker, *self._sending):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker

    async def _work(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            self._machine.tick(self._loop.time())
            await self._settle()
            while self._inbox:
                peer, frame = self._inbox.popleft()
                self._take(peer, frame)
                await self._settle()
                await asyncio.sleep(0)

    def _take(self, peer: Eui64, frame: ZclFrame) -> None:
        now = self._loop.time()
        try:
            command = decode_key_establishment(frame)
        except TheirError as error:
            self._machine.receive_malformed(
                peer, frame.command_id, frame.sequence, error, now, from_server=frame.from_server
            )
            return
        if isinstance(command, DefaultResponse):
            why = f"default response {command.status.name} to command {command.command_id:#04x}"
            self._facts.say("hub", "keys.ignored", device=str(peer), why=why)
        else:
            self._machine.receive(peer, command, frame.sequence, now)

    async def _settle(self) -> None:
        items = self._machine.drain()
        refused: set[Eui64] = set()
        for item in items:
            if isinstance(item, Established) and not await self._kept(item):
                refused.add(item.peer)
        for item in items:
            match item:
                case Send(command=ConfirmKey()) if item.peer in refused:
                    self._send(self._no_room(item))
                case Send():
                    self._send(item)
                    self._note_suites(item)
                case _:
                    self._say(item)
        if self._alarm is not None:
            self._alarm.cancel()
        due = self._machine.timer()
        self._alarm = None if due is None else self._loop.call_at(due, self._has_work.set)

    async def _kept(self, established: Established) -> bool:
        peer = established.peer
        try:
            await self._hands.keep_key(peer, established.link_key)
        except HanError as error:
            self._facts.say("hub", "keys.failed", device=str(peer), why=str(error))
            self._hands.tell(NotAgreed(peer, str(error)))
            return False
        certificate = established.certificate
        self._facts.say(
            "hub",
            "keys.established",
            device=str(peer),
            role=established.role.value,
            suite=certificate.SUITE.name,
            issuer=str(certificate.issuer),
        )
        self._hands.tell(Agreed(peer))
        return True

    def _note_suites(self, send: Send) -> None:
        """Begun in a suite that we have no certificate of, an exchange never was one to the machine."""
        command = send.command
        if isinstance(command, Terminate) and command.status is TerminateStatus.UNSUPPORTED_SUITE:
            ours = f"its certificates are of suites {command.suites:#x}" if command.suites else "it has none"
            why = f"{command.status.name}: the hub has no certificate of the suite that it wants; {ours}"
            self._facts.say("hub", "keys.failed", device=str(send.peer), why=why)
            self._hands.tell(NotAgreed(send.peer, why))

    def _no_room(self, confirmation: Send) -> Send:
        command = Terminate(
            TerminateStatus.NO_RESOURCES,
            LONGEST_TIME,
            self._machine.suites,
            confirmation.command.from_server,
        )
        return Send(confirmation.peer, command, confirmation.sequence)

    def _send(self, send: Send) -> None:
        if send.sequence is None:
            self._sequence = sequence = (self._sequence + 1) & 0xFF
        else:
            sequence = send.sequence
        frame = encode_key_establishment(send.command, sequence)
        task = self._loop.create_task(self._post(send.peer, frame), name=f"key establishment: {send.peer}")
        self._sending[task] = None
        task.add_done_callback(self._sending.pop)

    async def _post(self, peer: Eui64, frame: bytes) -> None:
        try:
            await self._hands.send(peer, frame)
        except HanError as error:
            # The machine notices by its timer: the command may have arrived all the same.
            self._facts.say("hub", "keys.unsent", device=str(peer), why=str(error))

    def _say(self, event: Event) -> None:
        device = str(event.peer)
        match event:
            case Started(role=role, suite=suite):
                self._facts.say("hub", "keys.started", device=device, role=role.value, suite=suite.name)
            case Failed(status=status, by_peer=by_peer, why=why, again_at=again_at):
                name = None if status is None else status.name
                self._facts.say(
                    "hub",
                    "keys.failed",
                    device=device,
                    status=name,
                    by_peer=by_peer,
                    why=why,
                    again_at=again_at,
                )
                told = why if name is None or name in why else f"{name}: {why}"
                self._hands.tell(NotAgreed(event.peer, told))
            case Ignored(why=why):
                self._facts.say("hub", "keys.ignored", device=device, why=why)


class EntropyDice(random.Random):
    """Dice that are thrown by a source of octets, as `random.SystemRandom` is by the system's."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        super().__init__()

    def random(self) -> float:
        """From 0 up to, not including, 1."""
        return self.getrandbits(53) * 2.0**-53

    def getrandbits(self, k: int) -> int:
        """``k`` bits."""
        octets = (k + 7) // 8
        return int.from_bytes(self._entropy(octets), "big") >> (8 * octets - k)

    def seed(self, *_: object, **__: object) -> None:
        """Nothing: the source is what it is."""
