"""The air that all radios of a house share: who is heard by whom, when, and what collides.

The physics are those of the 2.4 GHz O-QPSK PHY of IEEE 802.15.4 (250 kbit/s): 32 microseconds an octet, six
octets of preamble, delimiter and length in front of each PSDU. A frame is heard when it is over. Two frames
that overlap on a channel destroy each other at every receiver that hears both, unless one is much the
stronger there; who sends does not hear.

What may befall a frame on its way (loss, noise, a sniffer beside it) is a ``Path``: wrappers around
``Clear``, read from the outside inwards, as in ``Sniffed(Lossy(Clear(), rate=0.05, seed=7), to=capture)``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container
from typing import Protocol

from han.sim.air.timeline import Timeline
from han.sim.wire.mac import addressee
from ota.eui64 import Eui64

SECONDS_PER_OCTET = 32e-6
PHY_OVERHEAD = 6
MAX_PSDU = 127
CHANNELS = range(11, 27)
BEST_LQI = 255
BEST_RSSI = -45
"""dBm"""
CAPTURE = 6
"""A frame that is stronger by so many dB than what falls on it is received all the same."""


def air_time(psdu_size: int) -> float:
    """Seconds that a PSDU of this many octets (FCS included) is on the air."""
    return (PHY_OVERHEAD + psdu_size) * SECONDS_PER_OCTET


def rssi_of(lqi: int) -> int:
    """The signal strength in dBm that goes with a link quality: -95 at the edge."""
    return BEST_RSSI - 50 + 50 * lqi // BEST_LQI


class Transceiver(Protocol):
    """A radio as the air sees it."""

    @property
    def eui64(self) -> Eui64:
        """By which the plan of the house knows it; an air without a plan does not ask."""
        ...

    @property
    def ears(self) -> Container[bytes] | None:
        """Whose frames its hardware filter lets through, each as ``addressee`` gives it; None: everyone's."""
        ...

    def receive(self, psdu: bytes, lqi: int, rssi: int) -> None:
        """A frame that the filter lets through was heard; called when it ends."""


class Flight:
    """One frame on the air. ``overlaps`` holds the flights it met; ``deaf`` those who tuned in too late."""

    __slots__ = ("channel", "deaf", "end", "overlaps", "psdu", "sender", "start")

    def __init__(self, sender: Transceiver, channel: int, psdu: bytes, start: float, end: float) -> None:
        self.sender = sender
        self.channel = channel
        self.psdu = psdu
        self.start = start
        self.end = end
        self.overlaps: list[Flight] | None = None
        self.deaf: list[Transceiver] | None = None


class Reach(Protocol):
    """The plan of a house: whose energy reaches whom."""

    def lqi(self, sender: Transceiver, receiver: Transceiver) -> int:
        """The link quality with which ``receiver`` hears ``sender``, 1 to 255; 0: it does not."""
        ...


class Path(Protocol):
    """What lies between a sender and those who could hear it."""

    def arrivals(self, flight: Flight, listeners: list[Transceiver]) -> list[Transceiver]:
        """Those of ``listeners`` that a frame reaches whole. Called once for each flight, at its end."""
        ...


class Clear:
    """Nothing lies between: everyone who could hear a frame hears it."""

    def arrivals(self, flight: Flight, listeners: list[Transceiver]) -> list[Transceiver]:  # noqa: ARG002 - a Path
        """All of them."""
        return listeners


class Lossy:
    """Loses this share of the receptions, each receiver on its own, the same ones for the same seed."""

    def __init__(self, inner: Path, rate: float, seed: int | str) -> None:
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"a loss rate lies between 0 and 1, not at {rate}")
        self._inner = inner
        self._rate = rate
        self._dice = random.Random(f"air loss {seed}")

    def arrivals(self, flight: Flight, listeners: list[Transceiver]) -> list[Transceiver]:
        """Those for whom the dice fell well."""
        roll, rate = self._dice.random, self._rate
        return [one for one in self._inner.arrivals(flight, listeners) if roll() >= rate]


class Sniffed:
    """Shows each frame to ``to`` when it ends, as a good sniffer would: lost ones too, wrecks not.

    A frame that collided in one place and arrives whole in another is shown.
    """

    def __init__(self, inner: Path, to: Callable[[Flight], None]) -> None:
        self._inner = inner
        self._to = to

    def arrivals(self, flight: Flight, listeners: list[Transceiver]) -> list[Transceiver]:
        """Whatever lies inside; the sniffer changes nothing."""
        if flight.overlaps is None or listeners:
            self._to(flight)
        return self._inner.arrivals(flight, listeners)


class Garbled:
    """Spoils this share of the receptions: a bit is turned, so that the FCS is wrong at that receiver."""

    def __init__(self, inner: Path, rate: float, seed: int | str) -> None:
        self._inner = inner
        self._rate = rate
        self._dice = random.Random(f"air noise {seed}")

    def arrivals(self, flight: Flight, listeners: list[Transceiver]) -> list[Transceiver]:
        """Those who get the frame clean; the others are handed a spoilt copy here."""
        clean: list[Transceiver] = []
        for one in self._inner.arrivals(flight, listeners):
            if self._dice.random() >= self._rate:
                clean.append(one)
                continue
            spoilt = bytearray(flight.psdu)
            spoilt[self._dice.randrange(len(spoilt))] ^= 1 << self._dice.randrange(8)
            if one.ears is None or addressee(bytes(spoilt)) in one.ears:
                one.receive(bytes(spoilt), 20, -95)
        return clean


class Air:
    """The shared medium, all sixteen channels of it.

    ``reach`` says whose energy reaches whom; None: all hear all at their best (one room).
    """

    def __init__(self, timeline: Timeline, path: Path | None = None, reach: Reach | None = None) -> None:
        self.timeline = timeline
        self.path: Path = path or Clear()
        self.flights = 0
        """Frames sent so far."""
        self.collisions = 0
        """Frames that met another one."""
        self._reach = reach
        self._listeners: dict[int, list[Transceiver]] = {channel: [] for channel in CHANNELS}
        self._flying: dict[int, list[Flight]] = {channel: [] for channel in CHANNELS}
        self._landed: dict[int, Flight] = {}

    def tune(self, radio: Transceiver, channel: int | None) -> None:
        """Let ``radio`` listen on ``channel``, or on none. It hears the frames that start from now on.

        Raises:
            ValueError: if the channel is none of 11 to 26.
        """
        if channel is not None and channel not in self._listeners:
            raise ValueError(f"channel {channel} does not exist: 2.4 GHz has channels 11 to 26")
        for listeners in self._listeners.values():
            if radio in listeners:
                listeners.remove(radio)
        if channel is None:
            return
        self._listeners[channel].append(radio)
        for flight in self._flying[channel]:
            if flight.start < self.timeline.now:
                flight.deaf = [*(flight.deaf or ()), radio]

    def busy(self, radio: Transceiver, channel: int, since: float) -> bool:
        """Whether ``radio`` has sensed energy on ``channel`` at any moment from ``since`` until now."""
        landed, flying = self._landed.get(channel), self._flying[channel]
        if not flying and (landed is None or landed.end <= since):
            return False  # nearly always
        recent = [flight for flight in flying if flight.start <= self.timeline.now]
        if landed is not None and landed.end > since:
            recent.append(landed)
        reach = self._reach
        if reach is None:
            return bool(recent)
        return any(flight.sender is radio or reach.lqi(flight.sender, radio) for flight in recent)

    def lqi_of(self, flight: Flight) -> int:
        """How well a flight is heard where it is heard best: there a sniffer would stand."""
        reach, sender = self._reach, flight.sender
        if reach is None:
            return BEST_LQI
        listeners = self._listeners[flight.channel]
        return max((reach.lqi(sender, one) for one in listeners if one is not sender), default=0)

    def transmit(
        self,
        sender: Transceiver,
        channel: int,
        psdu: bytes,
        sent: Callable[..., object],
        *args: object,
        delay: float = 0.0,
    ) -> None:
        """Put a PSDU, FCS included, on the air; call ``sent(*args)`` when it is out, before anyone hears it.

        ``delay`` is the seconds that the radio takes to turn from listening to sending; there is no energy on
        the channel until they are over.

        Raises:
            ValueError: if the PSDU is longer than 127 octets.
        """
        if len(psdu) > MAX_PSDU:
            raise ValueError(f"a PSDU has at most {MAX_PSDU} octets, this one has {len(psdu)}")
        timeline = self.timeline
        start = timeline.now + delay
        end = start + (PHY_OVERHEAD + len(psdu)) * SECONDS_PER_OCTET
        flight = Flight(sender, channel, psdu, start, end)
        flying = self._flying[channel]
        for other in flying:
            if other.start < end and start < other.end:
                other.overlaps = [*(other.overlaps or ()), flight]
                flight.overlaps = [*(flight.overlaps or ()), other]
        flying.append(flight)
        self.flights += 1
        timeline.at(end, self._land, flight, sent, args)

    def _land(self, flight: Flight, sent: Callable[..., object], args: tuple[object, ...]) -> None:
        channel = flight.channel
        self._flying[channel].remove(flight)
        self._landed[channel] = flight
        sender = flight.sender
        listeners = [one for one in self._listeners[channel] if one is not sender]
        reach = self._reach
        if reach is not None:
            listeners = [one for one in listeners if reach.lqi(sender, one)]
        if flight.deaf is not None:
            listeners = [one for one in listeners if one not in flight.deaf]
        if flight.overlaps is not None:
            self.collisions += 1
            listeners = [one for one in listeners if not self._wrecked(flight, flight.overlaps, one)]
        arrivals = self.path.arrivals(flight, listeners)
        sent(*args)
        psdu = flight.psdu
        # Looked up here, not by each radio: of fifty in a room, forty-nine need not even be called.
        to = addressee(psdu)
        for one in arrivals:
            ears = one.ears
            if ears is not None and to not in ears:
                continue
            if reach is None:
                one.receive(psdu, BEST_LQI, BEST_RSSI)
            else:
                lqi = reach.lqi(sender, one)
                one.receive(psdu, lqi, rssi_of(lqi))

    def _wrecked(self, flight: Flight, others: list[Flight], receiver: Transceiver) -> bool:
        """Whether any of the others destroys ``flight`` at this receiver."""
        reach = self._reach
        if reach is None:
            return True
        least = rssi_of(reach.lqi(flight.sender, receiver)) - CAPTURE
        for other in others:
            lqi = reach.lqi(other.sender, receiver)
            if other.sender is receiver or (lqi and rssi_of(lqi) > least):
                return True
        return False
