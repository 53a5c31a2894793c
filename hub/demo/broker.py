"""A small MQTT broker inside the process, for the demo and the tests: amqtt, which needs no installation.

It has no MQTT 5, keeps no messages for those who are away, and forgets retained messages too easily: nothing
of ours may lean on any of that here. The bench uses Mosquitto.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

from hub.errors import OurError, SurroundingsError
from hub.mqtt import BrokerAddress, is_loopback

_LISTENER = "default"
_PLUGINS: dict[str, Any] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
"""Only who may come in. amqtt's other default plug-ins log every packet and publish statistics every 20 s."""


class _UnixWriter(StreamWriterAdapter):  # type: ignore[misc] # amqtt's classes have no types for us
    """amqtt hangs up on a peer without an address, and a UNIX socket's peer has none."""

    def get_peer_info(self) -> tuple[str, int]:
        """An address to show in the broker's log."""
        return "unix", 0


class _Broker(Broker):  # type: ignore[misc] # amqtt's classes have no types for us
    """amqtt's broker, looking for left sessions at a period of our choice.

    It looks every second, always, which would make a virtual fortnight cost minutes.
    """

    housekeeping: float = 1.0

    async def _session_monitor(self) -> None:
        while True:
            await asyncio.sleep(self.housekeeping)
            gone = [
                name
                for name, (session, _) in self._sessions.items()
                if session.transitions.state == "disconnected"
                and (session.is_anonymous or session.clean_session)
            ]
            for name in gone:
                await self._cleanup_session(name)


class EmbeddedBroker:
    """A broker for programs in this process (a UNIX socket) or on this machine (TCP).

    Use it as ``async with EmbeddedBroker.on_socket(path) as broker`` and give ``broker.address`` to the
    mailboxes.

    A UNIX socket is read at the moment it is written, so runs on the virtual loop repeat to the byte.
    """

    def __init__(self, address: BrokerAddress, *, housekeeping: float = 3600.0) -> None:
        if not address.is_local:
            raise OurError("the embedded broker has no passwords, so it listens on this machine only")
        self.address = address
        kind = ListenerType.EXTERNAL if address.transport == "unix" else ListenerType.TCP
        listener = ListenerConfig(type=kind, bind=f"{address.host}:{address.port}", ssl=False)
        self._config = BrokerConfig(listeners={_LISTENER: listener}, plugins=dict(_PLUGINS))
        self._housekeeping = housekeeping
        self._broker: _Broker | None = None
        self._door: asyncio.Server | None = None

    @classmethod
    def on_socket(cls, path: Path) -> Self:
        """Listen on a UNIX socket; the path is at most some 100 octets long, in a private directory."""
        return cls(BrokerAddress("unix", str(path), 0, tls=False, username=None, password=None))

    @classmethod
    def on_port(cls, port: int, host: str = "127.0.0.1") -> Self:
        """Listen on a TCP port of this machine."""
        if not is_loopback(host):
            raise OurError("the embedded broker has no passwords, so it listens on this machine only")
        return cls(BrokerAddress("tcp", host, port, tls=False, username=None, password=None))

    async def __aenter__(self) -> Self:
        """Open the door.

        Raises:
            SurroundingsError: if the port or the path is taken.
        """
        broker = _Broker(self._config)
        broker.housekeeping = self._housekeeping
        await broker.start()
        self._broker = broker
        if self.address.transport == "unix":
            try:
                self._door = await asyncio.start_unix_server(self._knock, self.address.host)
            except OSError as error:
                await broker.shutdown()
                raise SurroundingsError(f"no broker can listen on {self.address}: {error}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the door and hang up on everybody."""
        assert self._broker is not None
        if self._door is not None:
            self._door.close()
        await self._broker.shutdown()

    async def _knock(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._broker is not None
        await self._broker.external_connected(StreamReaderAdapter(reader), _UnixWriter(writer), _LISTENER)
