"""The adapter that carries the head end's messages: a mailbox on an MQTT broker, over aiomqtt.

What the mailbox promises: a publication returns when the broker has acknowledged it, however often the broker
went away meanwhile; a received message is acknowledged when its handler has returned, so that a broker that
keeps sessions delivers it again after a crash; subscriptions come back with the connection; messages are
handled one after another, in the order in which they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import aiomqtt

from han.facts import Facts
from hub.errors import OurError, SurroundingsError, TheirError

IN_WORDS: Final = "in the clear"
"""What a user says, in words, to talk to a broker off this machine without TLS or without a password."""

T = TypeVar("T")

Handler = Callable[[str, bytes], Awaitable[None]]
"""Takes topic and payload. A TheirError that it raises is said as a fact and the message is done with."""


class MqttUrlError(OurError):
    """The broker's URL cannot be used; the text says how it should look. It never repeats a password."""


class BrokerError(SurroundingsError):
    """The broker is not there or refuses us; the message says what to do next."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is and how to talk to it; the password stays out of ``repr``."""

    transport: Literal["tcp", "unix"]
    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @classmethod
    def parse(cls, url: str, insecure: str = "") -> Self:
        """Read ``mqtt://user:password@host:port``, ``mqtts://...`` or ``mqtt+unix:///path``.

        After ``?`` may stand ``ca=FILE``, ``cert=FILE`` and ``key=FILE`` for TLS, and ``password_file=FILE``,
        which keeps the password off the command line. Off loopback TLS and a password (or a client
        certificate) are demanded, unless ``insecure`` is the words in IN_WORDS.

        Raises:
            MqttUrlError: if the URL is none of these, or not secure enough for where it leads.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Its own words would quote what stands in the place of the port: part of a password with a "/".
            raise MqttUrlError(
                "the broker's URL cannot be read: its port is a number, and / ? # @ in a password are written"
                " %2F %3F %23 %40"
            ) from None
        options = dict(parse_qsl(parts.query))
        unknown = sorted(set(options) - {"ca", "cert", "key", "password_file"})
        if unknown:
            raise MqttUrlError(
                f"the broker's URL has an unknown option {unknown[0]!r}: use ca, cert, key, password_file"
            )
        if parts.scheme == "mqtt+unix" and parts.path and not parts.netloc:
            return cls("unix", unquote(parts.path), 0, tls=False, username=None, password=None)
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or parts.path.strip("/"):
            raise MqttUrlError("give the broker as mqtt://host:port, mqtts://user@host or mqtt+unix:///path")
        tls = parts.scheme == "mqtts"
        address = cls(
            "tcp",
            parts.hostname,
            port or (8883 if tls else 1883),
            tls=tls,
            username=unquote(parts.username) if parts.username else None,
            password=_password(parts, options),
            ca_file=options.get("ca"),
            cert_file=options.get("cert"),
            key_file=options.get("key"),
        )
        address.demand_security(insecure)
        return address

    @property
    def is_local(self) -> bool:
        """Whether nobody off this machine can listen."""
        return self.transport == "unix" or is_loopback(self.host)

    def demand_security(self, insecure: str) -> None:
        """Refuse to leave the machine without TLS and a password, unless told to in words."""
        if self.is_local or insecure == IN_WORDS:
            return
        words = f"or say --insecure {IN_WORDS!r} in so many words"
        if not self.tls:
            raise MqttUrlError(f"{self.host} is not this machine: use mqtts://, {words}")
        if not (self.username and self.password) and not self.cert_file:
            how = "give a user and a password (mqtts://user@host?password_file=FILE) or a client certificate"
            raise MqttUrlError(f"{self.host} is not this machine: {how}, {words}")

    def tls_context(self) -> ssl.SSLContext | None:
        """What TLS needs; the broker's certificate and name are always checked."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise MqttUrlError(f"a TLS file of the broker's URL cannot be used: {error}") from None
        return context

    def __str__(self) -> str:
        """The address without credentials."""
        if self.transport == "unix":
            return f"mqtt+unix://{self.host}"
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"BrokerAddress({self})"


def is_loopback(host: str) -> bool:
    """Whether a host name or address leads to this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class MailboxSettings:
    """How to keep in touch with the broker.

    Attributes:
        address: where it is.
        client_id: our name there; two programs with the same name throw each other out.
        keeps_session: whether the broker is asked to keep messages for us while we are away. The embedded
        broker
            of the demo cannot.
        keepalive: seconds between signs of life; 0: none. In simulation 0, because paho measures it on the
        system's
            clock and nobody is there to be found dead.
        housekeeping: seconds between looks at paho's timers; None: never. In simulation None: there are no
        timers
            without a keepalive, and a look every second would make a virtual fortnight cost minutes.
        patience: seconds to wait for an acknowledgement before the connection is taken for dead.
        waits: whether a broker that is not there at the start is waited for, as one is that goes away later.
            A hub that loses its power in an outage has its house to serve meanwhile.
        first_pause, longest_pause: seconds between attempts to connect again, doubling from one to the other.
    """

    address: BrokerAddress
    client_id: str
    keeps_session: bool = True
    keepalive: int = 30
    housekeeping: float | None = 1.0
    patience: float = 10.0
    waits: bool = False
    first_pause: float = 1.0
    longest_pause: float = 30.0

    @classmethod
    def in_simulation(cls, address: BrokerAddress, client_id: str) -> Self:
        """What fits the virtual loop and the embedded broker."""
        return cls(address, client_id, keeps_session=False, keepalive=0, housekeeping=None)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when we vanish without a word."""

    topic: str
    payload: bytes


class _Client(aiomqtt.Client):
    """aiomqtt's client with two things it lacks: a housekeeping period, and acknowledging when handled."""

    def __init__(self, settings: MailboxSettings, will: Will | None) -> None:
        address = settings.address
        super().__init__(
            address.host,
            address.port or 1,  # paho wants a port for a UNIX socket too, and ignores it
            username=address.username,
            password=address.password,
            identifier=settings.client_id,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
            clean_session=not settings.keeps_session,
            transport=address.transport,
            timeout=settings.patience,
            keepalive=settings.keepalive,
            tls_context=address.tls_context(),
        )
        self._housekeeping = settings.housekeeping
        self._client.manual_ack_set(True)
        # How a connection ended that nobody waits for any more is no news for asyncio's log.
        for ending in (self._connected, self._disconnected):
            ending.add_done_callback(_look_at)

    async def _misc_loop(self) -> None:
        # aiomqtt looks every second, always; see MailboxSettings.housekeeping for why that is a setting here.
        if self._housekeeping is None:
            return
        while self._client.loop_misc() == 0:  # noqa: ASYNC110 - paho's timers can only be looked at
            await asyncio.sleep(self._housekeeping)

    # paho goes on using a socket that `cut` has closed; aiomqtt is ready for that in one of three places.

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401 - paho's
        if sock.fileno() != -1:
            super()._on_socket_register_write(client, userdata, sock)

    def _on_socket_unregister_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401 - paho's
        if sock.fileno() != -1:
            super()._on_socket_unregister_write(client, userdata, sock)

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Tell the broker that this message has been dealt with."""
        self._client.ack(message.mid, message.qos)

    async def deliver(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish at QoS 1.

        aiomqtt goes on waiting for the acknowledgement when the connection has gone, and with it whoever
        publishes one message after another.

        Raises:
            aiomqtt.MqttError: if the broker does not acknowledge it in time, or can no longer do so.
        """
        publishing = asyncio.ensure_future(self.publish(topic, payload, qos=1, retain=retain))
        try:
            await asyncio.wait((publishing, self._disconnected), return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise aiomqtt.MqttError("the connection went before the broker had acknowledged a message")
            publishing.result()
        finally:
            publishing.cancel()

    def give_up(self, why: str) -> None:
        """Take the connection for dead: whoever reads its messages gets an MqttError."""
        if not self._disconnected.done():
            self._disconnected.set_exception(aiomqtt.MqttError(why))

    def cut(self) -> None:
        """Drop the connection without a word, as a crash does."""
        if self._misc_task is not None:
            self._misc_task.cancel()
        connection = self._client.socket()
        if connection is not None:
            self._loop.remove_reader(connection.fileno())
            self._loop.remove_writer(connection.fileno())
            connection.close()


class Mailbox:
    """Our place at the broker: ``async with Mailbox(...) as mailbox``, entered and left in one task.

    Args:
        settings: where and how.
        who: our name in the facts.
        facts: where "mqtt.connected", "mqtt.lost" and "mqtt.refused" are said.
        dice: spreads the attempts to connect again.
        will: see Will.
    """

    def __init__(
        self,
        settings: MailboxSettings,
        *,
        who: str,
        facts: Facts,
        dice: random.Random,
        will: Will | None = None,
    ) -> None:
        self._settings = settings
        self._who = who
        self._facts = facts
        self._dice = dice
        self._will = will
        self._handlers: dict[str, Handler] = {}
        self._greetings: list[Callable[[], Awaitable[None]]] = []
        self._client: _Client | None = None
        self._connected = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._keepers: list[asyncio.Task[None]] = []
        self._incoming: asyncio.Queue[tuple[_Client, aiomqtt.Message]] = asyncio.Queue()
        self._has_crashed = False

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there at the moment."""
        return self._connected.is_set()

    async def on(self, topic_filter: str, handler: Handler) -> None:
        """Subscribe, now and after every reconnection; the first handler that matches gets the message."""
        self._handlers[topic_filter] = handler
        if self._client is not None and self.is_connected:
            with contextlib.suppress(aiomqtt.MqttError):  # lost just now: comes back with the connection
                await _cancellable(self._client.subscribe(topic_filter, qos=1))

    def greet(self, greeting: Callable[[], Awaitable[None]]) -> None:
        """Call this after every connection, when the subscriptions stand."""
        self._greetings.append(greeting)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send at QoS 1; returns when the broker has acknowledged it, after however many attempts."""
        while True:
            await self._connected.wait()
            client = self._client
            assert client is not None, "connected without a client"
            try:
                await client.deliver(topic, payload, retain=retain)
            except aiomqtt.MqttError as error:
                # Perhaps the connection is only silent. What was not acknowledged needs a new one in any
                # case.
                client.give_up(str(error))
                self._lost(client)
            else:
                return

    async def __aenter__(self) -> Self:
        """Connect; return when that is done, or at once if the broker is not there and is to be waited for.

        Raises:
            BrokerError: if the broker is not there or refuses, unless it is to be waited for; once connected,
                the mailbox stays and tries again.
        """
        client = await self._first_connection()
        await self._tasks.__aenter__()
        self._keepers = [
            self._tasks.create_task(self._stay(client), name=f"{self._who} mailbox"),
            self._tasks.create_task(self._work(), name=f"{self._who} handles"),
        ]
        if client is not None:
            await self._connected.wait()
        return self

    async def _first_connection(self) -> _Client | None:
        client = _Client(self._settings, self._will)
        try:
            await _cancellable(client.__aenter__())
        except aiomqtt.MqttError as error:
            client.cut()
            if not self._settings.waits:
                raise BrokerError(_advice(self._settings.address, error)) from None
            self._unreachable(error)
            return None
        return client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye to the broker: no last will is published."""
        for keeper in self._keepers:
            keeper.cancel()
        try:
            await self._tasks.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if group.exceptions != (error,):
                raise
            # Only the body failed: its own error goes on as it is.

    def crash(self) -> None:
        """Vanish without a word, as a power cut does; the broker publishes the last will."""
        self._has_crashed = True
        self._connected.clear()
        if self._client is not None:
            self._client.cut()
        for keeper in self._keepers:
            keeper.cancel()

    async def _stay(self, client: _Client | None) -> None:
        """Serve connections, one after another, for ever; without a first one begin by finding one."""
        client = client or await self._reconnected()
        while True:
            try:
                await self._serve(client)
            except aiomqtt.MqttError as error:
                self._lost(client)
                self._facts.say(self._who, "mqtt.lost", why=str(error), broker=str(self._settings.address))
            client = await self._reconnected()

    async def _serve(self, client: _Client) -> None:
        """Take in what comes, until the connection is lost.

        From the first moment: a broker may hold back its answer to a subscription until a retained message
        has been acknowledged.
        """
        self._client = client
        settling = self._tasks.create_task(self._settle_in(client), name=f"{self._who} subscribes")
        try:
            async for message in client.messages:
                self._incoming.put_nowait((client, message))
        finally:
            settling.cancel()
            self._lost(client)
            if not self._has_crashed:
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.__aexit__(None, None, None)
                client.cut()

    async def _settle_in(self, client: _Client) -> None:
        """Subscribe; then we are connected, and whoever wants to say something now does."""
        subscribed: set[str] = set()
        try:
            while missing := [each for each in self._handlers if each not in subscribed]:
                await _cancellable(client.subscribe(missing[0], qos=1))
                subscribed.add(missing[0])
        except aiomqtt.MqttError as error:
            client.give_up(str(error))
            return
        self._connected.set()
        self._facts.say(self._who, "mqtt.connected", broker=str(self._settings.address))
        for greeting in self._greetings:
            await greeting()

    async def _work(self) -> None:
        """Handle what came, beside the connection: a handler may wait for the broker to come back."""
        while True:
            client, message = await self._incoming.get()
            await self._handle(message)
            if client is self._client:
                client.acknowledge(message)

    async def _reconnected(self) -> _Client:
        pause = self._settings.first_pause
        while True:
            await asyncio.sleep(pause * (1 + 0.5 * self._dice.random()))
            pause = min(2 * pause, self._settings.longest_pause)
            client = _Client(self._settings, self._will)
            try:
                await _cancellable(client.__aenter__())
            except aiomqtt.MqttError as error:
                client.cut()
                self._unreachable(error)
            else:
                return client

    def _unreachable(self, error: aiomqtt.MqttError) -> None:
        self._facts.say(self._who, "mqtt.unreachable", why=str(error), broker=str(self._settings.address))

    async def _handle(self, message: aiomqtt.Message) -> None:
        payload = bytes(message.payload)
        for topic_filter, handler in self._handlers.items():
            if message.topic.matches(topic_filter):
                try:
                    await handler(str(message.topic), payload)
                except TheirError as error:
                    self._facts.say(
                        self._who,
                        "mqtt.refused",
                        topic=str(message.topic)[:200],
                        why=str(error),
                        code=error.code,
                    )
                return

    def _lost(self, client: _Client) -> None:
        if client is self._client:
            self._connected.clear()
            self._client = None


def _look_at(ending: asyncio.Future[Any]) -> None:
    if not ending.cancelled():
        ending.exception()


async def _cancellable(work: Awaitable[T]) -> T:
    """Wait for aiomqtt, and heed a cancellation that came meanwhile.

    aiomqtt waits with ``asyncio.wait_for``, which before Python 3.12 forgets a cancellation that meets the
    answer.
    """
    task = asyncio.current_task()
    assert task is not None, "a mailbox is used from tasks"
    before = task.cancelling()
    result = await work
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def _password(parts: SplitResult, options: dict[str, str]) -> str | None:
    if "password_file" in options:
        try:
            return Path(options["password_file"]).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise MqttUrlError(f"the file with the broker's password cannot be read: {error}") from None
    return unquote(parts.password) if parts.password else None


def _advice(address: BrokerAddress, error: aiomqtt.MqttError) -> str:
    """What went wrong and what to do about it."""
    text = str(error)
    if ("refused" in text.lower() and "Errno" in text) or "No such file" in text:
        return (
            f"nobody listens at {address} ({text}): start a broker there (mosquitto), or give another --mqtt"
        )
    if "uthori" in text or "password" in text.lower():
        return f"the broker at {address} refuses these credentials ({text}): check user and password"
    return f"the broker at {address} cannot be used ({text}): check the address, TLS and its log"
