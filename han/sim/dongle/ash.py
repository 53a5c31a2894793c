"""The NCP's end of ASH, the asynchronous serial host protocol (written from UG101, not from a host's code).

A pure machine: octets and time in, octets and events out. It keeps up to five DATA frames under way. What is
not acknowledged is sent again, all of it and in order; after four time-outs in a row the link has failed, and
from then on every frame of the host is answered with ERROR until it sends RST. Acknowledgements ride on DATA
where DATA is at hand, and go alone after 20 ms where not.

    BOOTING ──ready()──> CONNECTED ──four time-outs──> FAILED
       ^                     │ boot()                    │ boot()
       └─────────────────────┴───────────────────────────┘
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from han.sim.dongle import ash_frames
from han.sim.dongle.ash_frames import (
    CANCEL,
    FLAG_OCTET,
    MAX_DATA,
    MAX_FRAME,
    RST,
    SUBSTITUTE,
    XOFF,
    XON,
    ResetCode,
)
from han.sim.dongle.errors import OurError


@dataclass(frozen=True, slots=True)
class AshSettings:
    """The numbers of UG101, table 5. Times in seconds."""

    window: int = 5
    """DATA frames under way without an acknowledgement (seen on real dongles; UG101 allows 1 to 7)."""
    ack_time_initial: float = 1.6
    ack_time_least: float = 0.4
    ack_time_most: float = 3.2
    ack_delay: float = 0.020
    """How long an acknowledgement waits for a DATA frame to ride on."""
    time_outs: int = 4
    """Consecutive time-outs that are borne; the next one ends the link."""
    not_ready_time: float = 1.0
    """How long a host's nRdy holds callbacks back if the host does not take it back itself."""
    pause_time: float = 1.0
    """How long XOFF silences us at most: a line error can make an XOFF that no XON would follow."""


class State(Enum):
    """Where the link stands."""

    BOOTING = "booting"
    CONNECTED = "connected"
    FAILED = "failed"


# Names of their own, because reaching into an enumeration takes longer than the comparison.
_BOOTING, _CONNECTED, _FAILED = State


@dataclass(frozen=True, slots=True)
class Received:
    """The host sent this EZSP frame, in order and only once."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class ResetAsked:
    """The host sent RST."""


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """The host stopped acknowledging; only a reset helps now."""

    code: ResetCode


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something from the host was no frame; ``why`` says what was wrong with it."""

    why: str


Output = bytes | Received | ResetAsked | LinkFailed | Dropped


@dataclass(slots=True)
class _Outstanding:
    number: int
    payload: bytes
    sent_at: float


class Ash:
    """One NCP's end of one ASH link. ``drain`` gives octets for the line and events for EZSP, in order."""

    def __init__(self, settings: AshSettings | None = None) -> None:
        self._settings = settings or AshSettings()
        self._output: deque[Output] = deque()
        self.state = State.BOOTING
        self.boot()

    def boot(self) -> None:
        """Start over, deaf and silent, as a restarting processor; `ready` ends that."""
        self.state = State.BOOTING
        self._output.clear()
        self._partial = bytearray()
        self._spoilt = False
        self._next_number = 0
        self._expected = 0
        self._outstanding: deque[_Outstanding] = deque()
        self._rejecting = False
        self._ack_time = self._settings.ack_time_initial
        self._time_outs = 0
        self._ack_due: float | None = None
        self._again_at: float | None = None
        self._not_ready_until: float | None = None
        self._paused_until: float | None = None
        self._failure = ResetCode.ACK_TIMEOUTS

    def ready(self, reason: ResetCode) -> None:
        """The processor has started: say RSTACK and take part from now on."""
        self.state = State.CONNECTED
        self._output.append(ash_frames.rstack_frame(reason))

    def fail(self, code: ResetCode) -> None:
        """Give up on the link: say ERROR now and to every frame until the next `boot`."""
        self.state = State.FAILED
        self._failure = code
        self._outstanding.clear()
        self._ack_due = self._again_at = None
        self._output.append(LinkFailed(code))
        self._output.append(ash_frames.error_frame(code))

    @property
    def window_open(self) -> bool:
        """Whether `send` would be taken now."""
        return self.state is _CONNECTED and len(self._outstanding) < self._settings.window

    @property
    def unacknowledged(self) -> list[bytes]:
        """The EZSP frames that the host has not acknowledged, oldest first."""
        return [frame.payload for frame in self._outstanding]

    def repetitions(self) -> list[bytes]:
        """The same as octets for the line, as they would be sent again."""
        return [
            ash_frames.data_frame(frame.number, again=True, ack=self._expected, payload=frame.payload)
            for frame in self._outstanding
        ]

    def callbacks_are_welcome(self, now: float) -> bool:
        """False while the host has said nRdy: then only answers may be sent."""
        return self._not_ready_until is None or now >= self._not_ready_until

    def send(self, payload: bytes, now: float) -> None:
        """Send an EZSP frame.

        Raises:
            OurError: if the window is closed or the frame does not fit an ASH frame.
        """
        if not self.window_open:
            raise OurError(f"the ASH window is closed ({self.state.value}): ask window_open first")
        if len(payload) > MAX_DATA:
            raise OurError(f"an EZSP frame of {len(payload)} octets does not fit ASH: at most {MAX_DATA}")
        frame = _Outstanding(self._next_number, payload, now)
        self._next_number = (self._next_number + 1) & 7
        self._outstanding.append(frame)
        if self._again_at is None:
            self._again_at = now + self._ack_time
        self._put_data(frame, again=False)

    def feed(self, data: bytes, now: float) -> None:
        """Take octets from the line, however they are cut."""
        if self.state is _BOOTING:
            return
        if XOFF in data or XON in data:
            data = self._flow_control(data, now)
        if not self._partial and not self._spoilt and data.find(FLAG_OCTET) == len(data) - 1 >= 0:
            # One whole frame, as hosts nearly always write them.
            self._between_flags(data[:-1], spoilt=False, now=now)
            return
        *frames, rest = data.split(FLAG_OCTET)
        for piece in frames:
            self._partial += piece
            between_flags, spoilt = bytes(self._partial), self._spoilt
            self._partial.clear()
            self._spoilt = False
            self._between_flags(between_flags, spoilt=spoilt, now=now)
        self._partial += rest
        self._shorten_partial()

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
        if self._ack_due is not None and now >= self._ack_due:
            self._put_ack()
        if self._again_at is not None and now >= self._again_at:
            self._time_out(now)

    def timer(self) -> float | None:
        """When `tick` is wanted next."""
        due = self._ack_due
        for other in (self._again_at, self._paused_until):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def drain(self) -> list[Output]:
        """What came out since the last call; octets are kept back while the host has us paused by XOFF."""
        if not self._output:
            return []
        if self._paused_until is None:
            output = list(self._output)
            self._output.clear()
            return output
        output = [item for item in self._output if not isinstance(item, bytes)]
        self._output = deque(item for item in self._output if isinstance(item, bytes))
        return output

    def _flow_control(self, data: bytes, now: float) -> bytes:
        last = max(data.rfind(XON), data.rfind(XOFF))
        self._paused_until = now + self._settings.pause_time if data[last] == XOFF else None
        return data.translate(None, bytes((XON, XOFF)))

    def _shorten_partial(self) -> None:
        if SUBSTITUTE in self._partial:
            self._spoilt = True
            self._partial.clear()
            return
        cancelled = self._partial.rfind(CANCEL)
        if cancelled >= 0:
            del self._partial[: cancelled + 1]
        if len(self._partial) > 2 * MAX_FRAME:
            self._spoilt = True
            self._partial.clear()

    def _between_flags(self, octets: bytes, *, spoilt: bool, now: float) -> None:
        if spoilt or SUBSTITUTE in octets:
            self._output.append(Dropped("spoilt on the line"))
            return
        if CANCEL in octets:
            octets = octets[octets.rfind(CANCEL) + 1 :]
        if not octets:
            return
        frame = ash_frames.unstuffed(octets)
        if frame is None or len(frame) < 3:
            self._output.append(Dropped("cut short"))
        elif not ash_frames.crc_is_right(frame):
            self._output.append(Dropped("bad CRC"))
            # Only DATA is asked for again; a damaged acknowledgement is made good by the next one.
            if not frame[0] & 0x80:
                self._reject()
        elif len(frame) > MAX_FRAME:
            self._output.append(Dropped("too long"))
            self._reject()
        else:
            self._frame(frame[0], frame[1:-2], now)

    def _frame(self, control: int, field: bytes, now: float) -> None:
        if control == RST and not field:
            self._output.append(ResetAsked())
        elif self.state is _FAILED:
            self._output.append(ash_frames.error_frame(self._failure))
        elif not control & 0x80:
            self._acknowledged(control & 7, now)
            self._data(control >> 4, bool(control & 8), field, now)
        elif control & 0xC0 == 0x80 and not field:
            self._not_ready_until = now + self._settings.not_ready_time if control & 8 else None
            self._acknowledged(control & 7, now)
            if control & 0x20:
                self._send_again(now)
        else:
            self._output.append(Dropped(f"unknown control octet 0x{control:02X}"))

    def _data(self, number: int, again: bool, field: bytes, now: float) -> None:  # noqa: FBT001 - a bit
        if number == self._expected:
            self._expected = (number + 1) & 7
            self._rejecting = False
            if self._ack_due is None:
                self._ack_due = now + self._settings.ack_delay
            self._output.append(Received(ash_frames.randomised(field)))
        elif again:
            self._put_ack()
        else:
            self._output.append(Dropped("out of sequence"))
            self._reject()

    def _reject(self) -> None:
        """One NAK for each time that something went wrong; what follows is dropped in silence."""
        if self.state is State.CONNECTED and not self._rejecting:
            self._rejecting = True
            self._ack_due = None
            self._output.append(ash_frames.nak_frame(self._expected))

    def _acknowledged(self, next_wanted: int, now: float) -> None:
        if not self._outstanding:
            return
        count = (next_wanted - self._outstanding[0].number) & 7
        if not 0 < count <= len(self._outstanding):
            return
        for _ in range(count):
            frame = self._outstanding.popleft()
        self._time_outs = 0
        self._change_ack_time(self._ack_time * 7 / 8 + (now - frame.sent_at) / 2)
        self._again_at = now + self._ack_time if self._outstanding else None

    def _time_out(self, now: float) -> None:
        self._time_outs += 1
        if self._time_outs > self._settings.time_outs:
            self.fail(ResetCode.ACK_TIMEOUTS)
            return
        self._change_ack_time(self._ack_time * 2)
        self._send_again(now)

    def _send_again(self, now: float) -> None:
        for frame in self._outstanding:
            frame.sent_at = now
            self._put_data(frame, again=True)
        self._again_at = now + self._ack_time if self._outstanding else None

    def _change_ack_time(self, wanted: float) -> None:
        settings = self._settings
        if wanted < settings.ack_time_least:
            self._ack_time = settings.ack_time_least
        else:
            self._ack_time = min(wanted, settings.ack_time_most)

    def _put_data(self, frame: _Outstanding, *, again: bool) -> None:
        self._ack_due = None
        self._output.append(
            ash_frames.data_frame(frame.number, again=again, ack=self._expected, payload=frame.payload)
        )

    def _put_ack(self) -> None:
        self._ack_due = None
        self._output.append(ash_frames.ack_frame(self._expected))
