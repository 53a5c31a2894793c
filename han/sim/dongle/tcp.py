"""The TCP door: the dongle's serial port behind a socket, as a network adapter would offer it."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, cast

from han.facts import Facts
from han.sim.air.pump import Pump
from han.sim.dongle.houses import Port
from han.sim.dongle.serial import HostEnd

MOST_UNREAD: Final = 64 * 1024
"""Octets kept for a host that does not read; beyond it, it is taken for dead."""


class TcpDoor:
    """Serves one port to one host at a time. A new one displaces the old, which may be half open."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    @classmethod
    async def open(
        cls, port: Port, pump: Pump, facts: Facts, *, host: str = "127.0.0.1", number: int = 0
    ) -> TcpDoor:
        """Listen. ``number`` 0 lets the system choose; `address` tells what it chose.

        Raises:
            OSError: if the address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Caller(port, pump, facts), host, number)
        return cls(server)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on."""
        host, number = self._server.sockets[0].getsockname()[:2]
        return host, number

    async def close(self) -> None:
        """Listen no more. A connected host keeps its connection until it ends it."""
        self._server.close()
        await asyncio.sleep(0)


class _Caller(asyncio.Protocol):
    """One TCP connection to the port."""

    def __init__(self, port: Port, pump: Pump, facts: Facts) -> None:
        self._port = port
        self._pump = pump
        self._facts = facts
        self._end: HostEnd | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A host called: it has the port now."""
        self._transport = cast("asyncio.Transport", transport)
        called: socket.socket = transport.get_extra_info("socket")
        called.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        called.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._pump.wake()
        self._end = self._port.open_port(self._to_host, self._taken)
        self._pump.wake()

    def data_received(self, data: bytes) -> None:
        """Octets of the host."""
        if self._end is not None:
            self._pump.wake()
            self._end.write(data)
            self._pump.wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The host hung up."""
        if self._end is not None:
            self._end.close()
            self._end = None

    def _to_host(self, octets: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() + len(octets) > MOST_UNREAD:
            self._facts.say("door", "door.dropped", why="the host does not read: its connection is ended")
            transport.abort()
            return
        transport.write(octets)

    def _taken(self) -> None:
        if self._transport is not None:
            self._transport.abort()
