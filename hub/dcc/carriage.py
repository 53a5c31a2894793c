"""How the CSP carries one errand to one Communications Hub: an image in chunks, or a command.

Pure machines: `tick`, the ``receive`` methods, `timer` and `drain`, with times in seconds of UTC. An image is
carried as the contract in `hub.messages` has it: offer it, then send the piece that the hub wants, and wait
for what it wants next. Silence, "too busy" and a radio that is down count as failures and are tried again by
control 2; whatever the hub takes starts that count anew. A refusal for good ends the errand. Nothing is
remembered of how far the image has come: the hub says where to go on, after any restart of either side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from hub.dcc.controls import Attempts, Retries, Service
from hub.dcc.lifecycle import Happening
from hub.dcc.records import Errand
from hub.errors import OurError
from hub.messages import ImageWanted, Response

_NOT_AVAILABLE = "not-available"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriageSettings:
    """The model of the WAN and the patience of the CSP. None of its numbers has a source.

    Attributes:
        retries: control 2.
        chunk_size: octets of image in one message.
        octets_per_second: what the WAN carries to one hub; 350 KB take three minutes at the default.
        latency: seconds that a message is under way besides.
        answer_wait: seconds without an answer after which a hub is "not available".
        retried: codes of a hub's response after which it is asked again.
    """

    retries: Retries = field(default_factory=Retries)
    chunk_size: int = 16_384
    octets_per_second: float = 2_000.0
    latency: float = 0.5
    answer_wait: float = 60.0
    retried: frozenset[str] = frozenset({"too-busy", "radio-down"})

    def __post_init__(self) -> None:
        if self.chunk_size < 1 or self.octets_per_second <= 0 or self.latency < 0 or self.answer_wait <= 0:
            raise ValueError(
                "the WAN needs a chunk size, a rate and an answer wait above 0, a latency of at least 0"
            )


class Line:
    """The WAN to one hub: what is sent at the same time shares its rate, one message after another."""

    def __init__(self, settings: CarriageSettings) -> None:
        self._settings = settings
        self._free_at = 0.0

    def arrival(self, octets: int, now: float) -> float:
        """When a message of this size arrives if it is handed over now."""
        self._free_at = max(self._free_at, now) + octets / self._settings.octets_per_second
        return self._free_at + self._settings.latency


# --- what a carriage says ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendOffer:
    """Offer the image to the hub."""


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send this piece of the image, now: its time on the WAN has passed."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class SendCommand:
    """Send the command. The hub recognises a repetition by the round: a new one asks it to try anew."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """An attempt failed: how the errand stands now, to be kept, and why."""

    first_at: float
    failures: int
    next_at: float
    round: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The errand is over: what that means for its devices, and the hub's code and reason."""

    happening: Happening
    code: str = "ok"
    reason: str = ""
    file_version: str | None = None


Say = SendOffer | SendChunk | SendCommand | Postponed | Finished


class _State(Enum):
    WAITING = "waiting"  # until the next attempt
    ASKED = "asked"  # an offer or a command is out
    SENDING = "sending"  # a chunk is on the WAN
    SENT = "sent"  # the hub owes an ImageWanted
    OVER = "over"


class _Carriage:
    """What an image and a command have in common: attempts, failures, the end."""

    def __init__(self, errand: Errand, settings: CarriageSettings) -> None:
        self.errand = errand
        self._settings = settings
        self._attempts = Attempts(settings.retries, errand.first_at, errand.failures)
        self._round = errand.round
        self._state = _State.WAITING
        self._wake = errand.next_at
        self._out: list[Say] = []

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return self._state is _State.OVER

    def timer(self) -> float | None:
        """When to call `tick`."""
        return None if self.is_over else self._wake

    def drain(self) -> list[Say]:
        """What there is to do and to know since the last call."""
        out, self._out = self._out, []
        return out

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.is_over or now < self._wake:
            return
        match self._state:
            case _State.WAITING:
                self._attempt(now)
            case _State.SENDING:
                self._send_piece(now)
            case _:
                self._failed(now, _NOT_AVAILABLE, "the hub does not answer")

    def hub_appeared(self, now: float) -> None:
        """The hub came back: try at once instead of at the next regular attempt."""
        if self._state in {_State.WAITING, _State.ASKED, _State.SENT}:
            self._attempt(now)

    def _attempt(self, now: float) -> None:
        self._await(_State.ASKED, now + self._settings.answer_wait)
        self._ask()

    def _ask(self) -> None:
        raise NotImplementedError

    def _send_piece(self, now: float) -> None:
        raise OurError(f"errand {self.errand.errand_id} is not sent in pieces, at {now}")

    def _await(self, state: _State, until: float) -> None:
        self._state, self._wake = state, until

    def _failed(self, now: float, code: str, reason: str) -> None:
        again = self._attempts.failed(now)
        if again is None:
            hours = self._settings.retries.horizon / 3600
            self._finish(
                Finished(
                    happening=Happening.NOT_DELIVERED,
                    code=code,
                    reason=f"given up after {hours:g} hours: {reason}",
                )
            )
            return
        if code != _NOT_AVAILABLE:
            self._round += 1
        self._await(_State.WAITING, again)
        self._out.append(
            Postponed(
                first_at=self._attempts.first_at,
                failures=self._attempts.failures,
                next_at=again,
                round=self._round,
                code=code,
                reason=reason,
            )
        )
        self.tick(now)

    def _finish(self, finished: Finished) -> None:
        self._state = _State.OVER
        self._out.append(finished)


class ImageCarriage(_Carriage):
    """An Upgrade Image on its way to one hub.

    Args:
        errand: which image to which hub, and how often that failed before.
        size: octets of the image.
        settings: see CarriageSettings.
        line: the WAN to this hub, shared with its other errands.
    """

    def __init__(self, errand: Errand, size: int, settings: CarriageSettings, line: Line) -> None:
        super().__init__(errand, settings)
        self._size = size
        self._line = line
        self._offset = 0
        self._reached = 0

    def receive_response(self, response: Response, now: float) -> None:
        """The hub's answer to the offer."""
        if self._state not in {_State.ASKED, _State.WAITING}:
            return  # it has said since what it wants
        if response.ok:
            # ImageWanted follows; it may as well have come before.
            self._await(_State.SENT, now + self._settings.answer_wait)
        elif response.code in self._settings.retried:
            if self._state is _State.ASKED:
                self._failed(now, response.code, response.reason)
        elif response.code == "ended":
            self._finish(Finished(happening=Happening.STOPPED, code=response.code, reason=response.reason))
        else:
            self._finish(
                Finished(happening=Happening.NOT_DELIVERED, code=response.code, reason=response.reason)
            )

    def receive_wanted(self, wanted: ImageWanted, now: float) -> None:
        """Where the hub stands with the image."""
        if self.is_over:
            return
        if wanted.complete:
            self._finish(Finished(happening=Happening.DELIVERED))
            return
        match wanted.code:
            case "discarded" | "invalid-image":
                # Either way the hub owes a discard alert for each target, and that ends the request.
                self._finish(Finished(happening=Happening.STOPPED, code=wanted.code, reason=wanted.reason))
            case "not-offered" | "too-busy":
                if self._state is not _State.WAITING:
                    self._failed(now, wanted.code, wanted.reason)
            case _:
                self._go_on(wanted, now)

    def _go_on(self, wanted: ImageWanted, now: float) -> None:
        if self._state is _State.SENDING and wanted.offset == self._offset:
            return  # just what is on its way; the hub said so twice
        if wanted.offset >= self._size:
            self._failed(now, wanted.code, f"the hub wants octet {wanted.offset} of {self._size}")
        elif wanted.code == "bad-hash":
            self._failed(now, wanted.code, wanted.reason or "a chunk was spoilt on its way")
        else:
            if wanted.offset > self._reached:
                self._reached = wanted.offset
                self._attempts.progressed(now)
            self._offset = wanted.offset
            self._await(_State.SENDING, self._line.arrival(self._length, now))

    @property
    def _length(self) -> int:
        return min(self._settings.chunk_size, self._size - self._offset)

    def _ask(self) -> None:
        self._out.append(SendOffer())

    def _send_piece(self, now: float) -> None:
        self._out.append(SendChunk(self._offset, self._length))
        self._await(_State.SENT, now + self._settings.answer_wait)


class CommandCarriage(_Carriage):
    """An 11.2 or an 11.3 on its way to one hub."""

    def receive_response(self, response: Response, now: float) -> None:
        """The hub's answer to the command."""
        if self.is_over:
            return
        if response.ok or response.code == "ended":
            # "ended": the hub had passed it on before one of us restarted; its outcome has come or will.
            self._finish(self._done(response))
        elif response.code in self._settings.retried:
            if self._state is _State.ASKED:
                self._failed(now, response.code, response.reason)
        else:
            reached = response.code not in {"unreachable", "refused"}
            happening = Happening.NOT_DELIVERED if reached else Happening.UNREACHABLE
            self._finish(Finished(happening=happening, code=response.code, reason=response.reason))

    def _done(self, response: Response) -> Finished:
        if self.errand.service is Service.ACTIVATE_FIRMWARE:
            return Finished(happening=Happening.DELIVERED, reason=response.reason)
        if response.file_version is None:
            return Finished(happening=Happening.UNREACHABLE, reason="the hub's answer names no version")
        source = {"CS08": "by CS08", "OTA": "from the OTA cluster's attribute"}.get(response.source, "")
        reason = ", ".join(filter(None, (source, response.reason)))
        return Finished(happening=Happening.VERSION_READ, reason=reason, file_version=response.file_version)

    def _ask(self) -> None:
        self._out.append(SendCommand(self._round))
