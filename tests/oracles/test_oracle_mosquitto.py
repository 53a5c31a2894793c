"""Against Mosquitto: what the embedded broker cannot show."""

import asyncio
import contextlib
import random
import subprocess

import pytest
from bench_world import free_port

from han.facts import Facts
from hub.mqtt import BrokerAddress, BrokerError, Mailbox, MailboxSettings

pytestmark = pytest.mark.oracle
DEADLINE = 20.0


@pytest.fixture(scope="module")
def mosquitto(program) -> str:
    return str(program("mosquitto"))


@contextlib.asynccontextmanager
async def broker(program, tmp_path, *lines):
    """A Mosquitto with this configuration, on a port of its own."""
    port = free_port()
    (tmp_path / "mosquitto.conf").write_text("\n".join([f"listener {port} 127.0.0.1", *lines, ""]))
    process = await asyncio.create_subprocess_exec(
        program, "-v", "-c", str(tmp_path / "mosquitto.conf"), stderr=asyncio.subprocess.PIPE
    )

    async def until_running() -> None:
        async for line in process.stderr:
            if b"running" in line:
                return
        pytest.fail("mosquitto did not start")

    try:
        async with asyncio.timeout(DEADLINE):
            await until_running()
        yield port
    finally:
        process.terminate()
        await process.communicate()


def made(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def mailbox(url: str, name: str, **settings) -> Mailbox:
    facts = Facts(asyncio.get_running_loop().time)
    return Mailbox(
        MailboxSettings(BrokerAddress.parse(url), name, first_pause=0.1, **settings),
        who=name,
        facts=facts,
        dice=random.Random(name),
    )


@pytest.mark.bench
async def test_a_message_that_was_not_handled_before_a_crash_comes_again(mosquitto, tmp_path):
    async with broker(mosquitto, tmp_path, "allow_anonymous true") as port:
        url = f"mqtt://127.0.0.1:{port}"
        started, got = asyncio.Event(), asyncio.Queue()

        async def dies(topic: str, payload: bytes) -> None:
            started.set()
            await asyncio.Event().wait()

        async def takes(topic: str, payload: bytes) -> None:
            got.put_nowait(payload)

        first = mailbox(url, "receiver")
        await first.on("a", dies)
        async with asyncio.timeout(DEADLINE), mailbox(url, "sender") as sender:
            async with first:
                await sender.publish("a", b"1")
                await started.wait()
                first.crash()
            await sender.publish("a", b"2")
            second = mailbox(url, "receiver")
            await second.on("a", takes)
            async with second:
                assert [await got.get(), await got.get()] == [b"1", b"2"]


@pytest.mark.bench
async def test_a_wrong_password_is_named_and_the_right_one_is_let_in(mosquitto, tmp_path):
    passwords = tmp_path / "passwords"
    made("mosquitto_passwd", "-b", "-c", str(passwords), "hub", "geheim")
    lines = ["allow_anonymous false", f"password_file {passwords}", "user root"]
    async with broker(mosquitto, tmp_path, *lines) as port, asyncio.timeout(DEADLINE):
        with pytest.raises(BrokerError, match="credentials") as refused:
            await mailbox(f"mqtt://hub:falsch@127.0.0.1:{port}", "hub").__aenter__()
        assert "falsch" not in str(refused.value)
        async with mailbox(f"mqtt://hub:geheim@127.0.0.1:{port}", "hub") as let_in:
            await let_in.publish("a", b"")


@pytest.mark.bench
async def test_tls_checks_the_brokers_certificate(mosquitto, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    lines = ["allow_anonymous true", f"certfile {certificate}", f"keyfile {key}", "user root"]
    async with broker(mosquitto, tmp_path, *lines) as port, asyncio.timeout(DEADLINE):
        with pytest.raises(BrokerError):
            await mailbox(f"mqtts://localhost:{port}", "hub").__aenter__()
        async with mailbox(f"mqtts://localhost:{port}?ca={certificate}", "hub") as let_in:
            await let_in.publish("a", b"")


@pytest.mark.bench
async def test_a_broker_that_dies_and_returns_gets_what_waited(mosquitto, tmp_path):
    got = asyncio.Event()

    async def take(topic: str, payload: bytes) -> None:
        got.set()

    async with asyncio.timeout(2 * DEADLINE):
        async with broker(mosquitto, tmp_path, "allow_anonymous true") as port:
            place = mailbox(f"mqtt://127.0.0.1:{port}", "hub")
            await place.on("a", take)
            await place.__aenter__()
        waiting = asyncio.create_task(place.publish("a", b"waited"))
        process = await asyncio.create_subprocess_exec(
            mosquitto, "-c", str(tmp_path / "mosquitto.conf"), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await waiting
            await got.wait()
            await place.__aexit__(None, None, None)
        finally:
            process.terminate()
            await process.wait()
