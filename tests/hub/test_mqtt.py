import asyncio
import contextlib
import dataclasses
import gc
import random

import paho.mqtt.client
import pytest

from han.facts import Facts
from hub.demo.broker import EmbeddedBroker
from hub.errors import OurError, SurroundingsError
from hub.messages import MessageError
from hub.mqtt import IN_WORDS, BrokerAddress, BrokerError, Mailbox, MailboxSettings, MqttUrlError, Will


class Post:
    """A mailbox and what came to it."""

    def __init__(
        self, address: BrokerAddress, name: str, will: Will | None = None, *, waits: bool = False
    ) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.facts = Facts(asyncio.get_running_loop().time)
        self.told = []
        self.facts.subscribe(self.told.append)
        self.came = asyncio.Event()
        self.mailbox = Mailbox(
            dataclasses.replace(MailboxSettings.in_simulation(address, name), waits=waits),
            who=name,
            facts=self.facts,
            dice=random.Random(name),
            will=will,
        )

    async def take(self, topic: str, payload: bytes) -> None:
        if payload == b"bad":
            raise MessageError("it says bad")
        self.got.append((topic, payload))
        self.came.set()

    async def wait(self) -> None:
        async with asyncio.timeout(300.0):
            await self.came.wait()
        self.came.clear()


async def test_what_one_publishes_the_other_gets_in_order(tmp_path):
    async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
        one, two = Post(broker.address, "one"), Post(broker.address, "two")
        await two.mailbox.on("a/+", two.take)
        async with one.mailbox, two.mailbox:
            for number in range(50):
                await one.mailbox.publish("a/b", bytes([number]))
            await asyncio.sleep(1.0)
        assert two.got == [("a/b", bytes([number])) for number in range(50)]


async def test_a_message_is_for_the_first_handler_that_matches(tmp_path):
    async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
        one, other = Post(broker.address, "one"), Post(broker.address, "other")
        await one.mailbox.on("a/b", one.take)
        await one.mailbox.on("a/+", other.take)
        async with one.mailbox:
            await one.mailbox.publish("a/b", b"1")
            await one.mailbox.publish("a/c", b"2")
            await asyncio.sleep(1.0)
        assert ([p for _, p in one.got][:1], [p for _, p in other.got]) == ([b"1"], [b"2"])


async def test_a_message_that_breaks_the_contract_is_said_and_the_next_one_taken(tmp_path):
    async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
        one = Post(broker.address, "one")
        await one.mailbox.on("a", one.take)
        async with one.mailbox:
            await one.mailbox.publish("a", b"bad")
            await one.mailbox.publish("a", b"good")
            await one.wait()
        assert one.got == [("a", b"good")]
        assert [fact.why for fact in one.told if fact.what == "mqtt.refused"] == ["it says bad"]


async def test_the_last_will_is_published_after_a_crash_and_not_after_a_goodbye(tmp_path):
    async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
        watcher = Post(broker.address, "watcher")
        await watcher.mailbox.on("x/state", watcher.take)
        async with watcher.mailbox:
            async with Post(broker.address, "polite", Will("x/state", b"gone")).mailbox:
                pass
            await asyncio.sleep(1.0)
            assert watcher.got == []
            crasher = Post(broker.address, "crasher", Will("x/state", b"gone"))
            async with crasher.mailbox:
                crasher.mailbox.crash()
                await watcher.wait()
        assert watcher.got == [("x/state", b"gone")]


async def test_a_broker_that_goes_away_for_a_minute_costs_nothing(tmp_path):
    one = two = None
    async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
        one, two = Post(broker.address, "one"), Post(broker.address, "two")
        await two.mailbox.on("a", two.take)
        await one.mailbox.__aenter__()
        await two.mailbox.__aenter__()
        await one.mailbox.publish("a", b"before")
        await two.wait()
    await asyncio.sleep(1.0)
    assert not one.mailbox.is_connected
    waiting = asyncio.create_task(one.mailbox.publish("a", b"while it is away"))
    await asyncio.sleep(60.0)
    assert not waiting.done()
    (tmp_path / "b").unlink(missing_ok=True)
    async with EmbeddedBroker.on_socket(tmp_path / "b"):
        await waiting
        await asyncio.sleep(60.0)
        if len(two.got) < 2:
            # The broker keeps nothing for those who are away; what matters is that both are back.
            await one.mailbox.publish("a", b"after")
            await two.wait()
        assert two.mailbox.is_connected
        await one.mailbox.__aexit__(None, None, None)
        await two.mailbox.__aexit__(None, None, None)
    lost = [fact.what for fact in one.told]
    assert lost.count("mqtt.connected") == 2
    assert "mqtt.lost" in lost
    assert "mqtt.unreachable" in lost


class MuteBroker:
    """A broker that is frozen under its first callers: it answers so many packets of each, then none."""

    def __init__(self, answers: list[int]) -> None:
        self.answers = answers
        self.published: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.answers.pop(0) if self.answers else 1_000_000
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, size = await reader.readexactly(2)  # every packet here is shorter than 128 octets
                body = await reader.readexactly(size)
                left -= 1
                if left < 0:
                    continue
                if kind >> 4 == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind >> 4 == 12:
                    writer.write(b"\xd0\x00")
                elif kind >> 4 == 3:
                    behind = 2 + int.from_bytes(body[:2], "big")
                    self.published.append(body[behind + 2 :])
                    writer.write(b"\x40\x02" + body[behind : behind + 2])
        writer.close()


async def test_a_frozen_broker_costs_nothing_and_leaves_no_noise(tmp_path, caplog, monkeypatch):
    noise: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: noise.append(context))
    monkeypatch.setattr(paho.mqtt.client, "time_func", loop.time)  # its signs of life, in the loop's time
    # It freezes behind the connection, then before it, then behind a publication, then never again.
    broker = MuteBroker([1, 0, 2])
    async with await asyncio.start_unix_server(broker.serve, tmp_path / "b"):
        address = BrokerAddress.parse(f"mqtt+unix://{tmp_path / 'b'}")
        settings = MailboxSettings(address, "one", keepalive=20)
        async with Mailbox(settings, who="one", facts=Facts(loop.time), dice=random.Random(1)) as mailbox:
            for payload in (b"one", b"two", b"three"):
                await mailbox.publish("a", payload)
            await asyncio.sleep(60.0)
        del mailbox
        gc.collect()
        await asyncio.sleep(1.0)
    assert broker.published == [b"one", b"two", b"three"]
    assert noise == []
    assert caplog.text == ""


async def test_a_broker_that_is_not_there_is_named_with_advice(tmp_path):
    post = Post(BrokerAddress.parse(f"mqtt+unix://{tmp_path}/nobody"), "one")
    with pytest.raises(BrokerError, match="start a broker"):
        await post.mailbox.__aenter__()


async def test_a_broker_that_is_not_there_is_waited_for_where_that_is_set(tmp_path):
    address = EmbeddedBroker.on_socket(tmp_path / "b").address
    early = Post(address, "early", waits=True)
    await early.mailbox.on("a", early.take)
    async with early.mailbox:
        waiting = asyncio.create_task(early.mailbox.publish("a", b"said before anybody listened"))
        await asyncio.sleep(3600.0)
        assert not waiting.done()
        async with EmbeddedBroker.on_socket(tmp_path / "b"):
            await waiting
            await early.wait()
            assert early.got == [("a", b"said before anybody listened")]
    assert [fact.what for fact in early.told].count("mqtt.connected") == 1


async def test_a_mistake_in_a_handler_ends_the_program_that_made_it(tmp_path):
    async def mistaken(topic: str, payload: bytes) -> None:
        raise ZeroDivisionError

    async def program() -> None:
        async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
            place = Post(broker.address, "one").mailbox
            async with place:
                await place.on("a", mistaken)
                await place.publish("a", b"")
                await asyncio.sleep(60.0)

    with pytest.raises(ExceptionGroup):
        await program()


async def test_a_handler_may_publish_while_the_broker_is_away(tmp_path):
    async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
        one = Post(broker.address, "one")
        asked, answered = asyncio.Event(), asyncio.Event()

        async def answer(topic: str, payload: bytes) -> None:
            asked.set()
            await asyncio.sleep(30.0)
            await one.mailbox.publish("answer", payload)
            answered.set()

        await one.mailbox.on("question", answer)
        await one.mailbox.__aenter__()
        await one.mailbox.publish("question", b"?")
        await asked.wait()
    await asyncio.sleep(60.0)
    assert not answered.is_set()
    async with EmbeddedBroker.on_socket(tmp_path / "b"):
        async with asyncio.timeout(120.0):
            await answered.wait()
        await one.mailbox.__aexit__(None, None, None)


async def test_a_cancellation_that_meets_the_acknowledgement_is_not_forgotten(tmp_path):
    async with EmbeddedBroker.on_socket(tmp_path / "b") as broker:
        one = Post(broker.address, "one")
        await one.mailbox.on("a", one.take)

        async def forever() -> None:
            while True:
                await one.mailbox.publish("a", b"")

        async with one.mailbox:
            for steps in range(1, 60):
                task = asyncio.create_task(forever())
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                async with asyncio.timeout(60.0):
                    await asyncio.wait({task})
                assert task.cancelled()


async def test_what_a_lost_connection_left_unacknowledged_goes_out_as_soon_as_there_is_another(tmp_path):
    connections = 0

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Acknowledges what comes, except that it vanishes upon the first publication."""
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, length = await reader.readexactly(2)
                body = await reader.readexactly(length)
                if kind >> 4 == 1:  # CONNECT: CONNACK
                    writer.write(bytes((0x20, 2, 0, 0)))
                elif kind >> 4 == 3 and connections == 1:
                    break
                elif kind >> 4 == 3:  # PUBLISH to the topic "a": PUBACK with its packet identifier
                    writer.write(bytes((0x40, 2)) + body[3:5])
        writer.close()

    server = await asyncio.start_unix_server(broker, tmp_path / "b")
    loop = asyncio.get_running_loop()
    post = Post(BrokerAddress.parse(f"mqtt+unix://{tmp_path}/b"), "one")
    async with post.mailbox:
        start = loop.time()
        await post.mailbox.publish("a", b"")
        assert loop.time() - start < 2.0, "it did not wait for an acknowledgement that could not come"
    assert connections == 2
    server.close()


async def test_a_socket_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(SurroundingsError, match="no broker can listen"):
        async with EmbeddedBroker.on_socket(tmp_path / "no" / "such" / "folder"):
            pass


def test_the_embedded_broker_listens_on_this_machine_only():
    with pytest.raises(OurError):
        EmbeddedBroker.on_port(1883, "0.0.0.0")
    with pytest.raises(OurError):
        EmbeddedBroker(BrokerAddress.parse("mqtt://10.0.0.7", IN_WORDS))


# URLs.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mqtt://127.0.0.1", "mqtt://127.0.0.1:1883"),
        ("mqtt://localhost:1999", "mqtt://localhost:1999"),
        ("mqtt://[::1]:1999", "mqtt://::1:1999"),
        ("mqtts://localhost", "mqtts://localhost:8883"),
        ("mqtts://hub:secret@broker.example", "mqtts://broker.example:8883"),
        ("mqtt+unix:///run/broker", "mqtt+unix:///run/broker"),
    ],
)
def test_a_brokers_url_is_read_and_shown_without_credentials(url, shown):
    address = BrokerAddress.parse(url)
    assert str(address) == shown
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "http://localhost",
        "mqtt://",
        "mqtt://localhost:notaport",
        "mqtt://localhost:99999",
        "mqtt://localhost/topic",
        "mqtt://localhost?qos=2",
        "mqtt+unix://host/path",
        "mqtt+unix:",
        "mqtt://[::1",
        "mqtts://hub@localhost?password_file=/no/such/file",
    ],
)
def test_a_url_that_leads_nowhere_is_refused(url):
    with pytest.raises(MqttUrlError):
        BrokerAddress.parse(url)


def test_a_password_with_a_slash_that_spoils_the_url_is_not_repeated():
    with pytest.raises(MqttUrlError) as refused:
        BrokerAddress.parse("mqtts://hub:secret/word@broker.example")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://broker.example",
        "mqtt://hub:secret@broker.example",
        "mqtts://broker.example",
        "mqtts://hub@broker.example",
        "mqtt://10.0.0.7",
        "mqtt://127.0.0.1.example",
    ],
)
def test_off_this_machine_tls_and_a_password_are_demanded_unless_told_in_words(url):
    with pytest.raises(MqttUrlError, match="not this machine") as refused:
        BrokerAddress.parse(url)
    assert "secret" not in str(refused.value)
    with pytest.raises(MqttUrlError):
        BrokerAddress.parse(url, "yes")
    assert BrokerAddress.parse(url, IN_WORDS).host


def test_the_password_may_stand_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("geheim\n")
    address = BrokerAddress.parse(f"mqtts://hub@broker.example?password_file={tmp_path}/secret")
    assert address.password == "geheim"


def test_a_spoilt_certificate_file_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(MqttUrlError, match="TLS file"):
        BrokerAddress.parse(f"mqtts://localhost?ca={tmp_path}/ca.pem").tls_context()
