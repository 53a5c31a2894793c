"""A node's MAC: who may send when, who has acknowledged, what was heard twice (IEEE 802.15.4, beaconless).

Sending is unslotted CSMA/CA: a random backoff, a look at the channel, a turnaround, the frame, a wait for
the acknowledgement, up to three retries. One frame is under way at a time; between two frames of one sender
lies an interframe space. Receiving acknowledges first and passes a frame up when the acknowledgement is
out, so that an exchange takes what the standard's timing asks for.

A radio that does not listen when idle is on only while it sends, and for a moment after it was told that
something waits for it. Whoever has such a child keeps its frames until it asks (``indirect``).

Numbers are seconds on the 2.4 GHz PHY, where a symbol takes 16 microseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from han.sim.air.medium import Air
from han.sim.air.timeline import Handle
from han.sim.node.indirect import Address, Held, IndirectQueue
from han.sim.node.station import Station
from han.sim.wire.errors import WireError
from han.sim.wire.mac import (
    ACKNOWLEDGEMENTS,
    BEACONS,
    BROADCAST,
    NO_SHORT_ADDRESS,
    DataRequest,
    FrameType,
    MacFrame,
    ack_psdu,
    data_psdu,
    own_addressees,
    parse_psdu,
)
from ota.eui64 import Eui64

BACKOFF_UNIT = 320e-6
CCA = 128e-6
TURNAROUND = 192e-6
ACK_WAIT = 864e-6
LIFS = 640e-6
SIFS = 192e-6
MAX_SIFS_FRAME = 18
MIN_BE = 3
MAX_BE = 5
MAX_BACKOFFS = 4
MAX_RETRIES = 3
FRAME_WAIT = 1986 * 16e-6
"""How long a radio stays on for a frame that was promised to it (macMaxFrameTotalWaitTime)."""
REPEAT_WINDOW = 0.5
"""A repetition after a lost acknowledgement comes within this time; the same number later is a new frame."""

_DATA_REQUEST = DataRequest().to_bytes()
_NO_ADDRESSES = {ACKNOWLEDGEMENTS, BEACONS}
_ACK = int(FrameType.ACK)
_COMMAND = FrameType.COMMAND
_ACKS = tuple(ack_psdu(sequence) for sequence in range(256))
_ACKS_PENDING = tuple(ack_psdu(sequence, frame_pending=True) for sequence in range(256))

_DESTINATION_MODE = 0x0C
_SHORT_DESTINATION = 0x08

OnDone = Callable[[bool], object]


class _Job:
    """One frame on its way out."""

    __slots__ = ("awaiting", "backoffs", "exponent", "most_retries", "on_done", "psdu", "retries", "sequence")

    def __init__(self, psdu: bytes, sequence: int | None, on_done: OnDone) -> None:
        self.psdu = psdu
        self.sequence = sequence
        """What the acknowledgement has to carry; None if none is asked for."""
        self.on_done = on_done
        self.awaiting = False
        """Whether its acknowledgement is due; at other times one with this number is somebody else's."""
        self.retries = 0
        self.most_retries = MAX_RETRIES
        self.backoffs = 0
        self.exponent = MIN_BE


class Mac:
    """One radio. ``on_frame(frame, lqi, rssi)`` gets all frames meant for us, except acknowledgements."""

    def __init__(self, station: Station, air: Air, on_frame: Callable[[MacFrame, int, int], object]) -> None:
        self.eui64 = station.eui64
        self._air = air
        self._timeline = station.timeline
        self._dice = station.dice
        self._facts = station.facts
        self._name = station.name
        self._counters = station.counters
        self._on_frame = on_frame
        self.on_unheard: Callable[[int], object] = _unheard
        """Called with the short address of who left a data frame unacknowledged, before its ``on_done``."""
        self.channel: int | None = None
        self.ears: set[bytes] = set()
        """What our filter lets through; see the air's ``Transceiver``."""
        self.address(BROADCAST, NO_SHORT_ADDRESS)
        self._sequence = self._dice.randrange(256)
        self._queue: deque[_Job] = deque()
        self._active: _Job | None = None
        self._next: Handle | None = None
        self._free_at = 0.0
        self._acknowledging: MacFrame | None = None
        self._heard: dict[int | Eui64 | None, tuple[int, float]] = {}
        self._listens_when_idle = True
        self._listen_until = 0.0
        self._is_on = False
        self.indirect = IndirectQueue(station.timeline, self._not_asked_for)
        """What waits for those who ask for it."""
        self.sleepers: set[int] = set()
        """Short addresses of the children whose radios are off: what is sent to them waits."""
        self.on_expired: Callable[[Address], object] = _nobody
        """Called with the address of a frame that was never asked for."""
        self.on_poll: Callable[[Address], object] = _nobody
        """Called with the address of each device that asks what waits for it."""
        self.is_child: Callable[[Address], bool] = _anybody
        """Whether a device that asks is known. One that is not is promised a frame: to be sent away."""

    def tune(self, channel: int | None) -> None:
        """Be on this channel; None switches the radio off and silently forgets every frame under way."""
        if channel is None:
            self._silence()
        self.channel = channel
        self._is_on = self._has_to_listen()
        self._air.tune(self, channel if self._is_on else None)

    def listen_when_idle(self, always: bool) -> None:  # noqa: FBT001 - the attribute macRxOnWhenIdle
        """Whether the radio is on also while nothing is sent or expected (macRxOnWhenIdle)."""
        self._listens_when_idle = always
        self._switch_radio()

    def listen_for(self, seconds: float) -> None:
        """Keep the radio on for so long, whatever it does otherwise."""
        until = self._timeline.now + seconds
        if until > self._listen_until:
            self._listen_until = until
            self._timeline.at(until, self._switch_radio)
            self._switch_radio()

    def address(self, pan_id: int, short: int) -> None:
        """Be known by these from now on (0xFFFF and 0xFFFE: outside a network)."""
        self.pan_id = pan_id
        self.short = short
        self.ears = own_addressees(pan_id, short, self.eui64) | (self.ears & _NO_ADDRESSES)

    def hear_beacons(self, does: bool) -> None:  # noqa: FBT001 - an attribute
        """Whether beacons are passed up (while scanning)."""
        if does:
            self.ears.add(BEACONS)
        else:
            self.ears.discard(BEACONS)

    def send_data(self, destination: int, payload: bytes, on_done: OnDone) -> None:
        """Send data to a short address of our PAN; ``on_done(ok)`` once acknowledged, or once broadcast."""
        unicast = destination != BROADCAST
        self._sequence = sequence = (self._sequence + 1) & 0xFF
        psdu = data_psdu(sequence, self.pan_id, destination, self.short, payload, ack_request=unicast)
        self._enqueue(_Job(psdu, sequence if unicast else None, on_done))

    def send(self, frame: MacFrame, on_done: OnDone) -> None:
        """Send any frame, under the next sequence number."""
        self._enqueue(self._job(frame, on_done))

    def hold(self, destination: Address, frame: MacFrame, on_done: OnDone) -> None:
        """Keep a frame until its destination asks for it (indirect); ``on_done(False)`` if it never does."""
        self.indirect.put(destination, Held(lambda: frame, on_done))

    def hold_data(self, destination: int, make: Callable[[], bytes], on_done: OnDone) -> None:
        """The same for data to a sleeping child; ``make`` gives the payload when the child asks for it."""
        held = Held(
            lambda: MacFrame(
                FrameType.DATA, 0, self.pan_id, destination, self.short, make(), ack_request=True
            ),
            on_done,
        )
        self.indirect.put(destination, held)

    def receive(self, psdu: bytes, lqi: int, rssi: int) -> None:
        """A frame that our filter lets through ended on the air."""
        if psdu[0] & 7 == _ACK:
            self._hear_acknowledgement(psdu)
            return
        try:
            frame = parse_psdu(psdu)
        except WireError as error:
            self._facts.say(self._name, "frame.dropped", layer="mac", why=str(error))
            return
        if frame.ack_request and frame.destination != BROADCAST:
            self._counters.mac_rx_unicast += 1
            self._acknowledge(frame, lqi, rssi)
        else:
            self._counters.mac_rx_broadcast += 1
            self._on_frame(frame, lqi, rssi)

    # Sending

    def _job(self, frame: MacFrame, on_done: OnDone) -> _Job:
        self._sequence = sequence = (self._sequence + 1) & 0xFF
        psdu = frame._replace(sequence=sequence).to_psdu()
        return _Job(psdu, sequence if frame.ack_request else None, on_done)

    def _enqueue(self, job: _Job) -> None:
        if self._active is None:
            self._begin(job)
        else:
            self._queue.append(job)

    def _begin(self, job: _Job) -> None:
        self._active = job
        if not self._is_on:
            self._switch_radio()
        self._back_off(job)

    def _back_off(self, job: _Job) -> None:
        now = self._timeline.now
        begin = max(now, self._free_at)
        look = begin + self._dice.getrandbits(job.exponent) * BACKOFF_UNIT
        self._next = self._timeline.at(look + CCA, self._assess, job, look)

    def _assess(self, job: _Job, since: float) -> None:
        channel = self.channel
        if channel is None:
            return
        if self._acknowledging is not None or self._air.busy(self, channel, since):
            self._channel_was_busy(job)
        else:
            self._next = None
            self._air.transmit(self, channel, job.psdu, self._launched, job, delay=TURNAROUND)

    def _channel_was_busy(self, job: _Job) -> None:
        job.backoffs += 1
        if job.backoffs > MAX_BACKOFFS:
            self._counters.phy_cca_fail_count += 1
            self._facts.say(self._name, "mac.busy", why="the channel was busy five times in a row")
            # A congested channel is worth another attempt as much as a lost frame is.
            self._try_again(job)
            return
        job.exponent = min(job.exponent + 1, MAX_BE)
        self._back_off(job)

    def _launched(self, job: _Job) -> None:
        if job is not self._active:
            return
        if job.sequence is None:
            self._counters.mac_tx_broadcast += 1
            self._finish(job, ok=True)
        else:
            job.awaiting = True
            self.ears.add(ACKNOWLEDGEMENTS)
            self._next = self._timeline.after(ACK_WAIT, self._try_again, job)

    def _hear_acknowledgement(self, psdu: bytes) -> None:
        job = self._active
        if job is None or not job.awaiting or job.sequence is None or self._next is None:
            return
        if psdu != _ACKS[job.sequence]:
            if psdu != _ACKS_PENDING[job.sequence]:
                return
            if not self._listens_when_idle:
                self.listen_for(FRAME_WAIT)
        self._next.cancel()
        self.ears.discard(ACKNOWLEDGEMENTS)
        self._counters.mac_tx_unicast_success += 1
        self._finish(job, ok=True)

    def _try_again(self, job: _Job) -> None:
        job.awaiting = False
        self.ears.discard(ACKNOWLEDGEMENTS)
        if job.retries >= job.most_retries:
            self._counters.mac_tx_unicast_failed += 1
            self._facts.say(self._name, "mac.failed", sequence=job.sequence, why="no acknowledgement")
            self._tell_unheard(job)
            self._finish(job, ok=False)
            return
        job.retries += 1
        job.backoffs = 0
        job.exponent = MIN_BE
        self._counters.mac_tx_unicast_retry += 1
        self._facts.say(self._name, "mac.retry", sequence=job.sequence, attempt=job.retries)
        self._back_off(job)

    def _tell_unheard(self, job: _Job) -> None:
        # Who sleeps and was too slow to ask is no link that failed.
        is_direct = job.sequence is not None and job.most_retries
        if is_direct and job.psdu[1] & _DESTINATION_MODE == _SHORT_DESTINATION:
            self.on_unheard(job.psdu[5] | job.psdu[6] << 8)

    def _finish(self, job: _Job, *, ok: bool) -> None:
        self._next = None
        self._free_at = self._timeline.now + (LIFS if len(job.psdu) > MAX_SIFS_FRAME else SIFS)
        if self._queue:
            self._begin(self._queue.popleft())
        else:
            self._active = None
            if not self._listens_when_idle:
                self._switch_radio()
        job.on_done(ok)

    def _silence(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._acknowledging = self._active = None
        self.ears.discard(ACKNOWLEDGEMENTS)
        self._queue.clear()
        self.indirect.clear()
        self._heard.clear()

    # The radio's duty

    def _has_to_listen(self) -> bool:
        if self.channel is None:
            return False
        return self._listens_when_idle or self._active is not None or self._timeline.now < self._listen_until

    def _switch_radio(self) -> None:
        has_to_listen = self._has_to_listen()
        if has_to_listen != self._is_on:
            self._is_on = has_to_listen
            self._air.tune(self, self.channel if has_to_listen else None)

    # Receiving

    def _acknowledge(self, frame: MacFrame, lqi: int, rssi: int) -> None:
        channel = self.channel
        if channel is None:
            return
        asking = _who_asks(frame)
        pending = asking is not None and (asking in self.indirect or not self.is_child(asking))
        ack = (_ACKS_PENDING if pending else _ACKS)[frame.sequence]
        self._acknowledging = frame
        self._air.transmit(self, channel, ack, self._acknowledged, frame, lqi, rssi, delay=TURNAROUND)

    def _acknowledged(self, frame: MacFrame, lqi: int, rssi: int) -> None:
        if self._acknowledging is not frame:
            return  # switched off meanwhile
        self._acknowledging = None
        source = frame.source
        now = self._timeline.now
        heard = self._heard.get(source)
        self._heard[source] = (frame.sequence, now)
        if heard is not None and heard[0] == frame.sequence and now - heard[1] < REPEAT_WINDOW:
            return
        asking = _who_asks(frame)
        if asking is not None:
            self._hand_out(asking)
            self.on_poll(asking)
            return
        self._on_frame(frame, lqi, rssi)

    # What waits

    def _hand_out(self, asking: Address) -> None:
        held = self.indirect.take(asking)
        if held is None:
            return
        if held.psdu is None:
            self._sequence = sequence = (self._sequence + 1) & 0xFF
            more = asking in self.indirect
            held.psdu = held.make()._replace(sequence=sequence, frame_pending=more).to_psdu()
        job = _Job(held.psdu, held.psdu[2], partial(self._handed_out, asking, held))
        # The standard leaves repetitions of an indirect frame to whoever asks for it.
        job.most_retries = 0
        if self._active is None:
            self._begin(job)
        else:
            self._queue.appendleft(job)

    def _handed_out(self, asking: Address, held: Held, ok: bool) -> None:  # noqa: FBT001 - an OnDone
        if ok:
            held.on_done(True)
        else:
            self.indirect.put_back(asking, held)

    def _not_asked_for(self, address: Address) -> None:
        self._facts.say(self._name, "mac.expired", destination=_shown(address), why="never asked for")
        self.on_expired(address)


def _who_asks(frame: MacFrame) -> Address | None:
    """Whose data request this is; None if it is another frame."""
    return frame.source if frame.type is _COMMAND and frame.payload[:1] == _DATA_REQUEST else None


def _shown(address: Address) -> str:
    return str(address) if isinstance(address, Eui64) else f"{address:#06x}"


def _nobody(_: Address) -> None:
    """Nobody listens yet."""


def _anybody(_: Address) -> bool:
    """Everybody is known."""
    return True


def _unheard(_: int) -> None:
    """Nobody keeps a list of neighbours yet."""
