"""The virtual dongle: a serial port on one side, a coordinator's radio on the other, firmware between them.

Everything in it happens on the timeline of the house it stands in. A host opens the port with `open_port` and
from then on exchanges octets with it; whether those octets come through a URL, a socket or a pseudo-terminal
is the business of the doors. The dongle runs whether or not a host is there, and what it keeps in flash
outlives both.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.dongle import counters
from han.sim.dongle.ash import Ash, AshSettings, Dropped, LinkFailed, Output, Received, ResetAsked, State
from han.sim.dongle.ash_frames import XOFF, XON, ResetCode, data_frame, error_frame, rstack_frame
from han.sim.dongle.faults import Faults, damaged
from han.sim.dongle.firmware import Firmware
from han.sim.dongle.flash import Flash
from han.sim.dongle.personality import Personality
from han.sim.dongle.serial import HostEnd, SerialLine, Sink
from han.sim.dongle.stack import Stack
from han.sim.fault import Fault, Kind
from han.sim.node.store import NodeStore
from ota.eui64 import Eui64

HIGH_WATER: Final = 0.75
"""The share of the receive buffer at which a busy dongle says XOFF."""


class Dongle:
    """A virtual EZSP dongle.

    ``node`` is its radio and Zigbee stack, ``store`` that stack's flash, ``flash`` its own. ``faults`` are
    what is wrong with it; ``serial_loss`` is short for a share of the writes on its serial line that lose an
    octet or have one changed. It is powered from the start.
    """

    def __init__(
        self,
        *,
        timeline: Timeline,
        node: Stack,
        store: NodeStore,
        eui64: Eui64,
        dice: random.Random,
        facts: Facts,
        name: str = "dongle",
        personality: Personality | None = None,
        faults: Iterable[Fault] = (),
        flash: Flash | None = None,
        serial_loss: float = 0.0,
        ash: AshSettings | None = None,
    ) -> None:
        self.personality = personality or Personality()
        self.flash = flash or Flash()
        self.name = name
        self._timeline = timeline
        self._node = node
        self._store = store
        self.eui64 = eui64
        self._dice = dice
        self._facts = facts
        self._ash = Ash(ash)
        self._serial_counts = {counters.ASH_FRAMING_ERROR: 0, counters.ASH_OVERRUN: 0}
        self._wake: Handle | None = None
        self._wake_at = 0.0
        self._boot: Handle | None = None
        self._busy_until = 0.0
        self._unread = bytearray()
        self._said_xoff = False
        self._servicing = False
        # With dice of their own: what the firmware draws must not depend on how a host cuts its writes.
        self.faults = Faults(
            timeline=timeline,
            dice=random.Random(dice.getrandbits(64)),
            facts=facts,
            name=name,
            suffer=self._suffer,
        )
        if serial_loss:
            self.faults.add(Fault(kind=Kind.DROPPED_OCTETS, share=serial_loss / 2))
            self.faults.add(Fault(kind=Kind.CHANGED_OCTETS, share=serial_loss / 2))
        self.faults.add(*faults)
        self._line = SerialLine(
            timeline,
            self._from_host,
            baud=self.personality.baud,
            carry=partial(damaged, faults=self.faults),
        )
        self._firmware = self._start_firmware()
        self._begin_boot(ResetCode.POWER_ON, dirty=False)

    def open_port(self, sink: Sink, on_taken: Callable[[], None] = lambda: None) -> HostEnd:
        """Open the serial port; the newest host wins. ``sink`` gets the dongle's octets."""
        if self._line.host is not None:
            self._facts.say(self.name, "port.taken-over", why="another host opened the port")
        return self._line.open(sink, on_taken)

    def crash(self, reason: ResetCode = ResetCode.WATCHDOG, *, dead_for: float | None = None) -> None:
        """The firmware restarts by itself, as after an assert or a watchdog; the network stays down."""
        self._facts.say(self.name, "dongle.crashed", why=reason.name)
        self._restart(reason, boot_time=dead_for)

    def stall(self, seconds: float) -> None:
        """The processor is busy with something else: it neither reads the line nor sends until then."""
        self._busy_until = max(self._busy_until, self._timeline.now + seconds)
        self._timeline.at(self._busy_until, self._read_on)

    def _suffer(self, fault: Fault) -> None:
        """Something happens to the processor, once the command that it struck on has been carried out."""
        if fault.kind is Kind.STALL:
            self._timeline.after(0.0, self.stall, fault.seconds)
        else:
            reason = ResetCode.ASSERT if fault.kind is Kind.ASSERT else ResetCode.WATCHDOG
            self._timeline.after(0.0, partial(self.crash, reason, dead_for=fault.seconds or None))

    # Octets from the host.

    def _from_host(self, octets: bytes) -> None:
        if self.faults.strikes(Kind.DEAF):
            return
        if self._timeline.now < self._busy_until:
            self._keep_unread(octets)
            return
        self._ash.feed(octets, self._timeline.now)
        self._service()

    def _keep_unread(self, octets: bytes) -> None:
        """While the processor is busy the port's small buffer is all there is; what does not fit is gone."""
        room = self.personality.receive_buffer - len(self._unread)
        if len(octets) > room:
            self._serial_counts[counters.ASH_OVERRUN] += 1
            self._facts.say(
                self.name, "serial.overrun", why="the receive buffer is full", lost=len(octets) - room
            )
        self._unread += octets[:room]
        full = len(self._unread) >= HIGH_WATER * self.personality.receive_buffer
        if full and not self._said_xoff and self.personality.software_flow_control:
            self._said_xoff = True
            self._line.write_to_host(bytes((XOFF,)))

    def _read_on(self) -> None:
        if self._timeline.now < self._busy_until:
            return
        if self._said_xoff:
            self._said_xoff = False
            self._line.write_to_host(bytes((XON,)))
        octets = bytes(self._unread)
        self._unread.clear()
        self._ash.feed(octets, self._timeline.now)
        self._service()

    # Between ASH and EZSP.

    def _service(self) -> None:
        """Carry everything that is ready, in both directions, and set the timer for what comes later."""
        # Frames for the host come up while the machines are being emptied: one round at a time is enough.
        if self._servicing:
            return
        self._servicing = True
        try:
            self._empty_ash()
            if self._timeline.now >= self._busy_until:
                self._fill_window()
        finally:
            self._servicing = False
        self._set_timer()

    def _empty_ash(self) -> None:
        while items := self._ash.drain():
            for item in items:
                self._take(item)

    def _take(self, item: Output) -> None:
        match item:
            case bytes():
                self._line.write_to_host(item)
            case Received(payload):
                self._firmware.ezsp.receive(payload)
            case ResetAsked():
                self._reset_asked()
            case LinkFailed(code):
                self._facts.say(self.name, "ash.failed", why=code.name)
            case Dropped(why):
                self._serial_counts[counters.ASH_FRAMING_ERROR] += 1
                self._facts.say(self.name, "ash.dropped", why=why)

    def _fill_window(self) -> None:
        ash, ezsp = self._ash, self._firmware.ezsp
        if not ezsp.has_output:
            return
        now = self._timeline.now
        welcome = ash.callbacks_are_welcome(now)
        while ash.window_open:
            frame = ezsp.next_frame(callbacks_are_welcome=welcome)
            if frame is None:
                return
            ash.send(frame, now)
            self._empty_ash()

    def _set_timer(self) -> None:
        if self._timeline.now < self._busy_until:
            return  # a stalled processor hears no timer either; once it reads on, all is serviced
        due = self._ash.timer()
        # A timer that fires too early costs one empty call; setting it anew for each frame would cost more.
        if due is None or (self._wake is not None and self._wake_at <= due):
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = due
        self._wake = self._timeline.at(due, self._tick)

    def _tick(self) -> None:
        self._wake = None
        if self._timeline.now >= self._busy_until:
            self._ash.tick(self._timeline.now)
        self._service()

    # Starting over.

    def _start_firmware(self) -> Firmware:
        return Firmware(
            timeline=self._timeline,
            node=self._node,
            store=self._store,
            flash=self.flash,
            eui64=self.eui64,
            personality=self.personality,
            faults=self.faults,
            dice=self._dice,
            facts=self._facts,
            name=self.name,
            serial_counters=lambda: self._serial_counts,
            on_output=self._service,
        )

    def _reset_asked(self) -> None:
        if self.faults.strikes(Kind.ERROR_BEFORE_RSTACK):
            self._restart(ResetCode.WATCHDOG, says_error=True)
        else:
            self._restart(self.personality.reset_reason)

    def _restart(
        self, reason: ResetCode, *, boot_time: float | None = None, says_error: bool = False
    ) -> None:
        self._facts.say(self.name, "dongle.reset", why=reason.name)
        stale = self._ash.repetitions()
        self._firmware.halt()
        self._node.crash()
        self._line.silence()
        self._unread.clear()
        self._busy_until = 0.0
        if self.flash.network is None:
            self._store.forget()
        self._store.reboot()
        self.flash.boots += 1
        self.flash.changed()
        self._ash.boot()
        self._firmware = self._start_firmware()
        self._begin_boot(
            reason, dirty=self.personality.boot_dirt, stale=stale, boot_time=boot_time, fails=says_error
        )

    def _begin_boot(
        self,
        reason: ResetCode,
        *,
        dirty: bool,
        stale: list[bytes] | None = None,
        boot_time: float | None = None,
        fails: bool = False,
    ) -> None:
        boot_time = self.personality.boot_time if boot_time is None else boot_time
        if self._boot is not None:
            self._boot.cancel()
        if dirty:
            self._timeline.after(boot_time / 4, self._spill, stale or [])
        self._boot = self._timeline.after(boot_time, self._booted, reason, fails)

    def _spill(self, stale: list[bytes]) -> None:
        """What comes out of the port while the processor restarts: stale frames, and a torn one."""
        if self._ash.state is not State.BOOTING:
            return
        for frame in stale:
            self._line.write_to_host(frame)
        torn = data_frame(self._dice.randrange(8), again=False, ack=0, payload=self._dice.randbytes(8))
        self._line.write_to_host(torn[3:])
        if self._dice.random() < 0.25:
            self._line.write_to_host(error_frame(ResetCode.ACK_TIMEOUTS))

    def _booted(self, reason: ResetCode, fails: bool) -> None:  # noqa: FBT001 - called by the timeline
        self._boot = None
        self._ash.ready(reason)
        if fails:
            self._ash.drain()
            self._ash.fail(reason)
        elif self.faults.strikes(Kind.SECOND_RSTACK):
            self._service()
            self._line.write_to_host(rstack_frame(reason))
        self._service()
