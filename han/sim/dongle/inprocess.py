"""The door inside the process: ``sim://HOME`` as a serial port, without a socket or a kernel in between.

The serial library under zigpy lets anyone register a URL scheme. A host that opens such a URL gets a
transport whose other end is the dongle's serial line; the same code of the host that opens ``/dev/ttyUSB0``
runs unchanged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import serialx
from serialx.common import BaseSerial, BaseSerialTransport, ModemPins

from han.sim.dongle import houses
from han.sim.dongle.houses import Opener, RunningHouse
from han.sim.dongle.serial import HostEnd


class PortTaken(OSError):  # noqa: N818 - reads as what happened
    """Another host opened the simulated port."""


class SimulatedPort(BaseSerial):  # type: ignore[misc]  # serialx is untyped to us
    """Holds a simulated port's settings. It cannot be used without a loop: time would stand still."""

    @property
    def is_open(self) -> bool:
        """Never: only the transport is."""
        return False

    def _refuse(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - stands for methods of many types
        raise serialx.UnsupportedSetting("a simulated port needs an event loop: open it with asyncio")

    _open = _readinto = _write = _flush = _get_modem_pins = _set_modem_pins = _refuse
    _reset_read_buffer = _reset_write_buffer = num_unread_bytes = num_unwritten_bytes = _refuse

    def _reconfigure_port(self, update: object) -> None:
        """There is no hardware to set: the line's speed is the home's business."""

    def _close(self) -> None:
        """Nothing was opened."""


class InProcessTransport(BaseSerialTransport):  # type: ignore[misc]  # serialx is untyped to us
    """A host's transport to the dongle of a running house."""

    transport_name = "sim"
    opener: Opener

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__(loop, protocol)
        self._closing = False
        self._house: RunningHouse | None = None
        self._end: HostEnd | None = None
        self._writing = False
        self._heard: deque[bytes] = deque()

    async def _connect(self, *, path: str, **settings: object) -> None:
        self._serial = SimulatedPort(path, **settings)
        self._extra["serial"] = self._serial
        house = houses.house_at(path, self._loop, type(self).opener)
        self._house = house
        house.pump.wake()
        self._end = house.dongle.open_port(self._hear, self._taken)
        house.pump.wake()
        self._call_protocol_connection_made()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Put octets on the line to the dongle."""
        self._check_broken()
        if self._end is None or self._house is None:
            return
        self._writing = True
        try:
            self._house.pump.wake()
            self._end.write(bytes(data))
            self._house.pump.wake()
        finally:
            self._writing = False

    def _hear(self, octets: bytes) -> None:
        # A write may make octets due that were on their way to the host; no transport hands those over inside
        # write().
        if self._writing or self._heard:
            if not self._heard:
                self._loop.call_soon(self._hand_over)
            self._heard.append(octets)
        elif self._end is not None:
            self._protocol.data_received(octets)

    def _hand_over(self) -> None:
        while self._heard:
            octets = self._heard.popleft()
            if self._end is not None:
                self._protocol.data_received(octets)

    def _taken(self) -> None:
        error = PortTaken("another host opened this port")
        self._mark_broken(error)
        self._shut(error)

    def close(self) -> None:
        """Let go of the port."""
        self._mark_user_closed()
        self._shut(None)

    def abort(self) -> None:
        """The same: nothing is buffered on this side."""
        self.close()

    def _shut(self, error: Exception | None) -> None:
        if self._closing:
            return
        self._closing = True
        if self._end is not None:
            self._end.close()
            self._end = None
        self._loop.call_soon(self._call_protocol_connection_lost, error)

    def get_write_buffer_size(self) -> int:
        """Nothing is ever kept back here; what is on the line is on the line."""
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """No limits: see `get_write_buffer_size`."""
        return (0, 0)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Without effect: see `get_write_buffer_size`."""

    def can_write_eof(self) -> bool:
        """A serial line has no end."""
        return False

    def pause_reading(self) -> None:
        """Without effect: a host that does not listen to a serial line loses nothing here."""

    def resume_reading(self) -> None:
        """Without effect: see `pause_reading`."""

    async def _flush(self) -> None:
        """Everything written is on the line already."""

    async def _get_modem_pins(self) -> ModemPins:
        return ModemPins()

    async def _set_modem_pins(self, modem_pins: ModemPins) -> None:
        """The line has no pins but two."""

    async def _reconfigure_port(self, update: object) -> None:
        """There is no hardware to set: the line's speed is the home's business."""


def register_scheme(opener: Opener) -> Callable[[], None]:
    """Let ``sim://`` URLs open simulated ports; ``opener`` starts the house of a URL that runs nowhere yet.

    Returns a function that takes the scheme away again.
    """
    transport = type("SimTransport", (InProcessTransport,), {"opener": staticmethod(opener)})
    undo: Callable[[], None] = serialx.register_uri_handler(
        scheme=f"{houses.SCHEME}://",
        unique_scheme=f"{houses.SCHEME}://",
        sync_cls=SimulatedPort,
        async_transport_cls=transport,
    )
    return undo
