"""``gbhan dongle`` serves the house it is told to, and says by name what it cannot do."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from click.testing import CliRunner

from han.sim.air.capture import read_keys, read_pcap
from han.sim.fault import Kind
from han.sim.home import read_home
from hub.cli.dongle import dongle

DEADLINE = 30.0
RST = bytes.fromhex("1ac038bc7e")
RSTACK = bytes.fromhex("c1020b0a527e")


def outcome_of(*arguments: str) -> tuple[int, str]:
    """Exit status and everything that was printed."""
    result = CliRunner().invoke(dongle, arguments)
    return result.exit_code, result.output


def answer_to_rst(host: str, port: int) -> bytes:
    """What a host hears that asks for a reset until it gets one; a dongle that still starts up is deaf."""
    with socket.create_connection((host, port), DEADLINE) as connection:
        connection.settimeout(1.0)
        heard = b""
        for _ in range(int(DEADLINE)):
            connection.sendall(RST)
            with suppress(TimeoutError):
                while RSTACK not in heard and (octets := connection.recv(4096)):
                    heard += octets
                return heard
    return heard


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command in a process of its own, and the fact that says where its dongle is."""
    command = [sys.executable, "-c", "from hub.cli import main; main()", "dongle", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    killer = threading.Timer(DEADLINE, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        facts = (json.loads(line) for line in process.stdout)
        yield process, next(fact for fact in facts if fact["what"] == "door.open")
    finally:
        killer.cancel()
        process.kill()
        process.wait()


@pytest.mark.bench
def test_a_host_finds_an_ezsp_dongle_behind_the_tcp_door(tmp_path):
    pcap, keys = tmp_path / "air.pcap", tmp_path / "air.keys"
    with served("--listen", "tcp://127.0.0.1:0", "--pcap", str(pcap), "--keys", str(keys)) as (process, fact):
        host, _, port = fact["url"].removeprefix("tcp://").rpartition(":")
        assert RSTACK in answer_to_rst(host, int(port))
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0

    assert keys.stat().st_mode & 0o777 == 0o600
    assert len(read_keys(keys)) == len(read_home("demo").devices)
    with pcap.open("rb") as file:
        assert list(read_pcap(file)) is not None


@pytest.mark.bench
def test_a_capture_on_standard_output_begins_at_once_and_ends_the_dongle_with_its_reader():
    command = [sys.executable, "-m", "hub.cli", "dongle", "--listen", "tcp://127.0.0.1:0", "--pcap", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    killer = threading.Timer(DEADLINE, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        begun = process.stdout.read(24 + 16)
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(DEADLINE) == 0
    finally:
        killer.cancel()
        process.kill()
        process.wait()

    assert int.from_bytes(begun[20:24], "little") == 283
    assert "virtual dongle" in said
    assert "Traceback" not in said


@pytest.mark.bench
def test_what_the_radios_remember_is_kept_for_its_owner_alone_and_found_again(tmp_path):
    where, state = ("--listen", "tcp://127.0.0.1:0"), ("--state", str(tmp_path / "house"))
    for boots in (0, 1):
        with served(*where, *state) as (process, fact):
            memory = tmp_path / "house" / "house.json"
            assert json.loads(memory.read_text())["dongle"]["flash"]["boots"] == boots
            assert memory.stat().st_mode & 0o777 == 0o600
            host, _, port = fact["url"].removeprefix("tcp://").rpartition(":")
            assert RSTACK in answer_to_rst(host, int(port))
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 0


def test_the_memory_of_another_house_is_refused(tmp_path):
    (tmp_path / "house.json").write_text("{}")
    (tmp_path / "house.json").chmod(0o600)

    status, said = outcome_of("--listen", "tcp://127.0.0.1:0", "--state", str(tmp_path))

    assert status == 2
    assert "holds no memory of a house" in said


@pytest.mark.bench
def test_two_programs_do_not_share_a_memory(tmp_path):
    arguments = ("--listen", "tcp://127.0.0.1:0", "--state", str(tmp_path))
    with served(*arguments):
        status, said = outcome_of(*arguments)

    assert status == 3
    assert "in use by process" in said


@pytest.mark.bench
def test_a_pseudo_terminal_is_named(tmp_path):
    with served("--listen", "pty", "--home", "ppmid") as (_, fact):
        assert fact["url"].startswith("/dev/")
        assert fact["home"] == "ppmid"


@pytest.mark.bench
def test_a_port_that_is_taken_is_said_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output = outcome_of("--listen", f"tcp://127.0.0.1:{port}")

    assert status == 3
    assert "or choose another" in output


@pytest.mark.parametrize(
    "place",
    ["tcp://127.0.0.1", "tcp://127.0.0.1:70000", "udp://127.0.0.1:1", "6638", "tcp://:1", "tcp://a:1/x"],
)
def test_a_place_that_is_none_is_refused(place):
    status, output = outcome_of("--listen", place)

    assert status == 2
    assert "tcp://127.0.0.1:6638 or pty" in output


def test_a_name_that_leads_nowhere_is_told_in_words():
    status, output = outcome_of("--listen", "tcp://256.1.1.1:0")

    assert status == 3
    assert "Unknown error" not in output


def test_without_a_place_it_asks_for_one():
    status, output = outcome_of("--home", "demo")

    assert status == 2
    assert "--listen" in output


@pytest.mark.parametrize(
    "home", ["villa", "/nowhere/x.toml", "sim://demo?seed=-1", "sim://demo?loss=2", "sim://"]
)
def test_a_home_that_cannot_be_is_refused(home):
    status, output = outcome_of("--listen", "pty", "--home", home)

    assert status == 2
    assert "--home" in output
    assert "Traceback" not in output


def test_a_place_for_evidence_that_cannot_be_written_is_refused(tmp_path):
    status, output = outcome_of("--listen", "tcp://127.0.0.1:0", "--pcap", str(tmp_path / "no" / "x.pcap"))

    assert status == 2
    assert "cannot be written" in output


def test_the_labels_of_the_devices_can_be_read():
    status, output = outcome_of("--labels", "--home", "ppmid")

    assert status == 0
    assert output.split() == [
        "00-DB-12-34-56-78-91-A4",
        "75288BC88FDE9392165F3D8CCCA3A7D7A6C0",
        "PPMID",
        "ppmid",
    ]


def test_the_labels_come_as_json_too():
    status, output = outcome_of("--labels", "--json")

    assert status == 0
    assert [json.loads(line)["name"] for line in output.splitlines()] == [
        device.name for device in read_home("demo").devices
    ]


def test_a_fault_that_cannot_be_is_named_and_the_help_tells_them_all():
    status, said = outcome_of("--listen", "pty", "--fault", "reboot:when=noon")
    assert status == 2
    assert "when" in said

    _, told = outcome_of("--help")
    assert all(kind.value in told for kind in Kind)


@pytest.mark.bench
def test_a_fault_that_was_asked_for_happens():
    with served("--listen", "tcp://127.0.0.1:0", "--fault", "assert:after=2,every=2") as (process, _):
        assert process.stdout is not None
        told = (json.loads(line) for line in process.stdout)
        fault = next(fact for fact in told if fact["what"] == "dongle.fault")

    assert fault["kind"] == "assert"
