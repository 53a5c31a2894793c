"""``gbhan demo`` with Wireshark looking on: through a pipe, and over ZEP, with the keys of an earlier run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from tshark import FAULTY, Row, Tshark

from han.sim.air.capture import read_pcap
from han.sim.home import read_home
from hub.demo.images import Supplier

pytestmark = pytest.mark.oracle

DEADLINE = 280
_SOUND = f"!({FAULTY})"


@dataclass(frozen=True)
class Earlier:
    """A run that left its keys: with the same seed they come again."""

    image: Path
    keys: Path
    capture: Path
    frames: int


def demo(image: Path, *options: object) -> list[str]:
    command = [sys.executable, "-m", "hub.cli", "demo", "--seed", "7", "--image", str(image)]
    return [*command, *map(str, options)]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Earlier:
    folder = tmp_path_factory.mktemp("earlier")
    ppmid = next(device for device in read_home("demo").devices if device.name == "ppmid")
    image, keys, capture = folder / "small.zigbee", folder / "keys", folder / "pcap"
    image.write_bytes(Supplier().make(ppmid, 0x00020000, 6 * 1024, 1).data)
    done = subprocess.run(
        demo(image, "--json", "--keys", keys, "--pcap", capture),
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    return Earlier(image, keys, capture, json.loads(done.stdout)["frames"])


@contextmanager
def performed(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, process.stdout
    finally:
        process.kill()
        process.wait()


class Sniffer:
    """tshark on the loopback interface until it has so many datagrams; ``why_not`` if it may not listen."""

    def __init__(self, tshark: Tshark, kept: Path, frames: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.kept = kept
        listen = ("-i", "lo", "-f", f"udp port {self.port}", "-B", "64", "-c", str(frames), "-w", str(kept))
        self._process = subprocess.Popen(
            tshark.command(*listen), stderr=subprocess.PIPE, text=True, env=tshark.environment
        )
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if "Capturing on" in line:
                self.why_not = ""
                return
        self.why_not = said.strip()

    def finish(self) -> None:
        """Wait for the last datagram."""
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Followed:
    """A run with the same seed that Wireshark followed in two ways."""

    sound: list[Row]
    capture: Path
    sniffer: Sniffer


@pytest.fixture(scope="module")
def followed(earlier: Earlier, tshark: Tshark, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = tmp_path_factory.mktemp("followed")
    sniffer = Sniffer(tshark, folder / "zep.pcapng", earlier.frames)
    options = ("--pcap", "-", "--zep", f"127.0.0.1:{sniffer.port}", "--evidence", folder)
    with performed(demo(earlier.image, *options)) as (process, output):
        sound = tshark.rows(output, ["frame.number"], keys=earlier.keys, where=_SOUND)
        assert process.wait(DEADLINE) == 0
    sniffer.finish()
    return Followed(sound, folder / "demo.pcap", sniffer)


def test_wireshark_decrypts_every_frame_while_it_comes_out_of_a_pipe(earlier, followed):
    assert len(followed.sound) == earlier.frames
    assert followed.capture.read_bytes() == earlier.capture.read_bytes()


def test_wireshark_decrypts_every_frame_that_it_captures_as_zep(earlier, followed, tshark: Tshark, silent):
    if followed.sniffer.why_not:
        silent(f"tshark may not listen on the loopback interface here: {followed.sniffer.why_not}")
    rows = tshark.rows(
        followed.sniffer.kept,
        ["zep.seqno", "frame.len"],
        keys=earlier.keys,
        where=f"zep && {_SOUND}",
        options=("-d", f"udp.port=={followed.sniffer.port},zep"),
    )

    assert [int(row["zep.seqno"][0]) for row in rows] == list(range(1, earlier.frames + 1))
    with earlier.capture.open("rb") as capture:
        sizes = [len(psdu) for _, psdu in read_pcap(capture)]
    # Before each frame: Ethernet, IPv4, UDP and ZEP.
    assert [int(row["frame.len"][0]) - 14 - 20 - 8 - 32 for row in rows] == sizes


def test_a_reader_that_has_seen_enough_ends_the_demo_quietly(earlier, tmp_path):
    with performed(demo(earlier.image, "--pcap", "-", "--evidence", tmp_path)) as (process, output):
        begun = output.read(2000)
        output.close()
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(DEADLINE) == 0

    assert earlier.capture.read_bytes().startswith(begun)
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_the_key_file_is_one_that_wireshark_reads_by_itself(earlier, tshark: Tshark, tmp_path):
    (tmp_path / "zigbee_pc_keys").write_text(earlier.keys.read_text())
    told = [
        subprocess.run(
            tshark.command("-n", "-r", str(earlier.capture), "-Y", "zbee_sec.encrypted_payload"),
            check=True,
            capture_output=True,
            text=True,
            env={**tshark.environment, **settings},
        ).stdout.splitlines()
        for settings in ({}, {"WIRESHARK_CONFIG_DIR": str(tmp_path)})
    ]

    assert len(told[0]) > 100
    assert told[1] == []


def test_wireshark_reads_strength_quality_and_channel_of_every_frame(earlier, tshark: Tshark):
    fields = ["wpan-tap.rss", "wpan-tap.lqi", "wpan-tap.ch_num"]
    rows = tshark.rows(earlier.capture, fields)

    assert len(rows) == earlier.frames
    assert all(-100 <= float(row["wpan-tap.rss"][0]) <= 0 for row in rows)
    assert all(0 <= int(row["wpan-tap.lqi"][0]) <= 255 for row in rows)
    assert {row["wpan-tap.ch_num"][0] for row in rows} >= {"15"}
