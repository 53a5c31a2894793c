"""The Key Establishment cluster as a machine: both roles, any number of peers.

It is told what came and what time it is, answers with values (``drain``) and says when it wants to be called
again (``timer``). An exchange, all of it under network security alone:

    initiator (client)                     responder (server)
    Initiate, certificate             ->
                                      <-   Initiate, certificate
    EphemeralData                     ->
                                      <-   EphemeralData
    ConfirmKey, MACU                  ->
                                      <-   ConfirmKey, MACV

Each side waits for the next command as long as the peer announced in its Initiate, and some more for the way.
Whoever waits in vain forgets the exchange and says nothing. Whoever is sent something wrong says Terminate.
An initiator starts anew, each time with fresh ephemeral keys, until it is out of tries.

``receive`` computes on curves: up to some 0.1 s of CPU for suite 2. Keys appear in ``Established`` alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from han.errors import OurError, TheirError
from han.security.certificate import Credentials
from han.security.key_establishment_commands import (
    CLUSTER_ID,
    LONGEST_TIME,
    Command,
    ConfirmKey,
    EphemeralData,
    Initiate,
    Terminate,
    TerminateStatus,
    parse_command,
)
from han.security.key_establishment_events import (
    Established,
    Event,
    Failed,
    Ignored,
    Role,
    Send,
    Settings,
    Started,
)
from han.security.key_establishment_exchange import Exchange, RefusalError
from han.security.suite import Suite
from ota.eui64 import Eui64
from ota.status import Status

__all__ = [
    "CLUSTER_ID",
    "Command",
    "ConfirmKey",
    "EphemeralData",
    "Established",
    "Event",
    "Failed",
    "Ignored",
    "Initiate",
    "KeyEstablishment",
    "Role",
    "Send",
    "Settings",
    "Started",
    "Terminate",
    "TerminateStatus",
    "parse_command",
]

_OTHER_SUITE_MAY_DO = (TerminateStatus.UNSUPPORTED_SUITE, TerminateStatus.INVALID_CERTIFICATE)
_HOPELESS = (TerminateStatus.UNKNOWN_ISSUER,)


@dataclass(slots=True)
class _Effort:
    """What an initiator still means to do about a peer. ``due`` is None while an exchange is under way."""

    suites: list[Suite]  # the first is tried, the others if the peer refuses it
    due: float | None
    tries: int = 0


class KeyEstablishment:
    """The machine of one party.

    Args:
        own: what the party can prove itself with, at most one for each suite.
        settings: times and limits.
        dice: for ephemeral keys and pauses. ``random.SystemRandom()`` on a real radio.
    """

    def __init__(self, own: Iterable[Credentials], settings: Settings, dice: random.Random) -> None:
        self._own = {credentials.suite: credentials for credentials in own}
        self._settings = settings
        self._dice = dice
        self._exchanges: dict[Eui64, Exchange] = {}
        self._efforts: dict[Eui64, _Effort] = {}
        self._out: list[Send | Event] = []

    @property
    def suites(self) -> int:
        """The cluster's attribute 0x0000: a bit for each suite that we hold a certificate of."""
        return sum(self._own)

    def is_busy_with(self, peer: Eui64) -> bool:
        """Whether an exchange with this peer is under way, or meant to be."""
        return peer in self._exchanges or peer in self._efforts

    def initiate(self, peer: Eui64, now: float, suites: Sequence[Suite] | None = None) -> None:
        """Establish a key with this peer, in the order of these suites: all that we have, the best first.

        Raises:
            OurError: if we have no certificate of such a suite, or are at it already.
        """
        wanted = sorted(self._own, reverse=True) if suites is None else list(suites)
        if not wanted or any(suite not in self._own for suite in wanted):
            raise OurError("no certificate of such a suite is here to establish keys with")
        if self.is_busy_with(peer):
            raise OurError(f"a key with {peer} is being established already")
        self._efforts[peer] = _Effort(wanted, now)
        self.tick(now)

    def forget(self, peer: Eui64) -> None:
        """Drop everything about a peer, silently: it left the network."""
        self._exchanges.pop(peer, None)
        self._efforts.pop(peer, None)

    def receive(self, peer: Eui64, command: Command, sequence: int, now: float) -> None:
        """Take a command from the peer; ``sequence`` as in its ZCL header."""
        self.tick(now)
        exchange = self._exchange(peer, from_server=command.from_server)
        if isinstance(command, Terminate):
            self._terminated(peer, exchange, command, now)
        elif exchange is not None and command == exchange.taken:
            self._repeated(exchange, sequence)
        elif isinstance(command, Initiate) and not command.from_server:
            self._asked(peer, command, sequence, now)
        elif exchange is None:
            self._stray(peer, type(command).__name__, sequence, from_server=command.from_server)
        else:
            self._take(exchange, command, sequence, now)

    def receive_malformed(
        self, peer: Eui64, command_id: int, sequence: int, error: TheirError, now: float, *, from_server: bool
    ) -> None:
        """Take note of a command that could not be read. A command that nobody knows changes nothing."""
        self.tick(now)
        exchange = self._exchange(peer, from_server=from_server)
        if command_id == Terminate.COMMAND_ID or error.status is Status.UNSUP_CLUSTER_COMMAND:
            self._out.append(Ignored(peer, str(error)))
        elif exchange is None:
            self._stray(peer, str(error), sequence, from_server=from_server)
        else:
            self._refuse(exchange, RefusalError(TerminateStatus.BAD_MESSAGE, str(error)), sequence, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for exchange in [late for late in self._exchanges.values() if late.deadline <= now]:
            why = f"no {exchange.awaits.__name__} came in time"
            self._end(exchange, None, why, now, by_peer=True)
        for peer, effort in list(self._efforts.items()):
            if effort.due is not None and effort.due <= now:
                self._begin(peer, effort, now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        due = [effort.due for effort in self._efforts.values() if effort.due is not None]
        return min(due + [exchange.deadline for exchange in self._exchanges.values()], default=None)

    def drain(self) -> list[Send | Event]:
        """What came of it since the last call, in order."""
        out, self._out = self._out, []
        return out

    def _exchange(self, peer: Eui64, *, from_server: bool) -> Exchange | None:
        """The exchange that a command of this direction belongs to."""
        exchange = self._exchanges.get(peer)
        return exchange if exchange is not None and exchange.from_server != from_server else None

    def _begin(self, peer: Eui64, effort: _Effort, now: float) -> None:
        if peer in self._exchanges or len(self._exchanges) >= self._settings.at_once:
            effort.due = now + self._pause(self._settings.back_off)
            return
        effort.due = None
        effort.tries += 1
        exchange = self._open(peer, Role.INITIATOR, effort.suites[0])
        exchange.deadline = now + self._settings.initiate_wait
        self._out.append(Send(peer, exchange.hello(), None))

    def _open(self, peer: Eui64, role: Role, suite: Suite) -> Exchange:
        exchange = Exchange(peer, role, self._own[suite], self._settings, self._dice)
        self._exchanges[peer] = exchange
        self._out.append(Started(peer, role, suite))
        return exchange

    def _asked(self, peer: Eui64, command: Initiate, sequence: int, now: float) -> None:
        """A peer wants to begin."""
        busy = self._exchanges.get(peer)
        if busy is not None or len(self._exchanges) >= self._settings.at_once:
            until = busy.deadline if busy else min(each.deadline for each in self._exchanges.values())
            wait = min(max(math.ceil(until - now), 1), LONGEST_TIME)
            self._out.append(Ignored(peer, "an Initiate while busy"))
            self._terminate(peer, TerminateStatus.NO_RESOURCES, sequence, from_server=True, wait=wait)
        elif command.suites not in self._own:
            self._out.append(Ignored(peer, f"an Initiate for suites {command.suites:#06x}"))
            self._terminate(peer, TerminateStatus.UNSUPPORTED_SUITE, sequence, from_server=True)
        else:
            exchange = self._open(peer, Role.RESPONDER, Suite(command.suites))
            self._take(exchange, command, sequence, now)

    def _take(self, exchange: Exchange, command: Command, sequence: int, now: float) -> None:
        try:
            exchange.take(command)
        except RefusalError as refusal:
            self._refuse(exchange, refusal, sequence, now)
            return
        margin = self._settings.margin
        initiates = exchange.role is Role.INITIATOR
        match command:
            case Initiate():
                exchange.deadline = now + exchange.peer_ephemeral_time + margin
                self._answer(exchange, exchange.ephemeral() if initiates else exchange.hello(), sequence)
            case EphemeralData():
                exchange.deadline = now + exchange.peer_confirm_time + margin
                self._answer(exchange, exchange.confirm() if initiates else exchange.ephemeral(), sequence)
            case ConfirmKey():
                if not initiates:
                    self._answer(exchange, exchange.confirm(), sequence)
                self.forget(exchange.peer)
                certificate, link_key = exchange.result()
                self._out.append(Established(exchange.peer, exchange.role, certificate, link_key))

    def _answer(self, exchange: Exchange, command: Command, sequence: int) -> None:
        """Send our next command: a response bears the number of its request, a request a fresh one."""
        exchange.answer = command
        self._out.append(Send(exchange.peer, command, sequence if exchange.from_server else None))

    def _repeated(self, exchange: Exchange, sequence: int) -> None:
        """The peer sent the same again: perhaps our answer got lost. Time does not start anew."""
        self._out.append(Ignored(exchange.peer, f"the same {type(exchange.taken).__name__} once more"))
        if exchange.from_server and exchange.answer is not None:
            self._out.append(Send(exchange.peer, exchange.answer, sequence))

    def _stray(self, peer: Eui64, what: str, sequence: int, *, from_server: bool) -> None:
        """Something came that belongs to no exchange. A peer that still waits for us should learn it."""
        self._out.append(Ignored(peer, f"outside of any exchange: {what}"))
        if not from_server:
            self._terminate(peer, TerminateStatus.BAD_MESSAGE, sequence, from_server=True)

    def _terminated(self, peer: Eui64, exchange: Exchange | None, command: Terminate, now: float) -> None:
        if exchange is None:
            self._out.append(Ignored(peer, f"outside of any exchange: Terminate {command.status.name}"))
            return
        why = f"the peer ended it: {command.status.name}"
        self._end(exchange, command.status, why, now, by_peer=True, wait=min(command.wait_time, LONGEST_TIME))

    def _refuse(self, exchange: Exchange, refusal: RefusalError, sequence: int, now: float) -> None:
        number = sequence if exchange.from_server else None
        self._terminate(exchange.peer, refusal.status, number, from_server=exchange.from_server)
        self._end(exchange, refusal.status, str(refusal), now, by_peer=False)

    def _terminate(
        self, peer: Eui64, status: TerminateStatus, sequence: int | None, *, from_server: bool, wait: int = 0
    ) -> None:
        self._out.append(Send(peer, Terminate(status, wait, self.suites, from_server), sequence))

    def _end(
        self,
        exchange: Exchange,
        status: TerminateStatus | None,
        why: str,
        now: float,
        *,
        by_peer: bool,
        wait: float = 0,
    ) -> None:
        """An exchange ended without a key; if it was ours, see whether to try again."""
        peer, again_at = exchange.peer, None
        del self._exchanges[peer]
        if exchange.role is Role.INITIATOR:
            again_at = self._next_try(self._efforts[peer], status, now, wait)
            if again_at is None:
                del self._efforts[peer]
        self._out.append(Failed(peer, exchange.role, status, by_peer, why, again_at))

    def _next_try(
        self, effort: _Effort, status: TerminateStatus | None, now: float, wait: float
    ) -> float | None:
        settings = self._settings
        if status in _HOPELESS:
            return None
        if status in _OTHER_SUITE_MAY_DO:
            effort.suites = effort.suites[1:]
            effort.tries = 0
            if not effort.suites:
                return None
        if effort.tries >= settings.tries:
            return None
        back_off = settings.back_off * 2 ** max(effort.tries - 1, 0)
        effort.due = now + self._pause(max(wait, back_off))
        return effort.due

    def _pause(self, seconds: float) -> float:
        return seconds * (1 + self._dice.uniform(0, self._settings.jitter))
