"""Captures that are followed while they grow: frame by frame, to this machine alone, until nobody looks."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import struct
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from han.errors import SurroundingsError
from han.sim.address import HouseSettings
from han.sim.air.capture import read_pcap
from han.sim.air.zep import ZepWriter
from han.sim.house import House, build_house
from hub.cli import main
from hub.cli.live import Live, Pipe

SECONDS = 30.0
ZEP_HEADER = 32


@pytest.fixture
async def house():
    """A house whose devices look for a network that nobody forms."""
    built = build_house(HouseSettings("ppmid"), asyncio.get_running_loop())
    yield built
    built.stop()


@pytest.fixture
def listener():
    """Where ZEP arrives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        yield udp


def heard(udp: socket.socket) -> list[bytes]:
    datagrams = []
    while True:
        try:
            datagrams.append(udp.recv(2048))
        except BlockingIOError:
            return datagrams


def refused(*arguments: object, as_json: bool = False) -> str:
    with pytest.raises(click.UsageError) as refusal:
        Live.read(*arguments, as_json=as_json)
    return str(refusal.value)


async def test_every_frame_is_a_datagram_with_channel_time_and_number(house: House, listener):
    kept = io.BytesIO()
    house.capture(kept)
    with Live(zep=listener.getsockname()).follow(house):
        house.power_on()
        await asyncio.sleep(SECONDS)
    kept.seek(0)
    frames = list(read_pcap(kept))
    datagrams = heard(listener)

    assert len(frames) > 10
    assert [datagram[ZEP_HEADER:] for datagram in datagrams] == [psdu for _, psdu in frames]
    for number, (datagram, (at, psdu)) in enumerate(zip(datagrams, frames, strict=True), start=1):
        mark, version, kind, channel, _, mode, _, seconds, part, sequence, size = struct.unpack(
            ">2sBBBHBBIII10xB", datagram[:ZEP_HEADER]
        )
        assert (mark, version, kind, mode, sequence, size) == (b"EX", 2, 1, 1, number, len(psdu))
        assert 11 <= channel <= 26
        assert seconds - 2_208_988_800 + part / (1 << 32) == pytest.approx(at, abs=1e-6)


async def test_nobody_hears_any_more_once_the_block_is_left(house: House, listener):
    with Live(zep=listener.getsockname()).follow(house):
        pass
    house.power_on()
    await asyncio.sleep(SECONDS)

    assert heard(listener) == []


def test_a_time_just_before_a_second_stays_before_it_and_ntp_begins_anew_in_2036():
    sent: list[bytes] = []
    writer = ZepWriter(sent.append, 11)
    for at in (0.999_999_999_9, 2_085_978_496.5):
        writer.write(at, b"frame", lqi=7, channel=26)

    assert [struct.unpack_from(">II", octets, 9) for octets in sent] == [
        (2_208_988_800, 0xFFFF_FFFF),
        (0, 1 << 31),
    ]
    assert [(octets[4], octets[8]) for octets in sent] == [(26, 7)] * 2
    assert writer.frames == 2


def test_a_pipe_takes_each_write_whole_and_says_once_that_its_reader_is_gone():
    end, start = os.pipe()
    gone: list[str] = []
    pipe = Pipe(start, lambda: gone.append("gone"))
    pipe.write(b"first")
    assert os.read(end, 100) == b"first"
    os.close(end)
    pipe.write(b"second")
    pipe.write(b"third")
    os.close(start)

    assert gone == ["gone"]


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "example.com", "::", "10.0.0.7"])
def test_another_machine_gets_no_frames_unless_that_is_said_in_words(host):
    assert "in the clear" in refused(None, (host, 17754), "")
    assert "in the clear" in refused(None, (host, 17754), "yes")
    assert Live.read(None, (host, 17754), "in the clear", as_json=False).zep == (host, 17754)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_this_machine_gets_them_without_a_word(host):
    assert Live.read(None, (host, 17754), "", as_json=True).zep == (host, 17754)


async def test_a_name_that_leads_nowhere_is_told_in_words(house: House):
    with (
        pytest.raises(SurroundingsError, match="leads nowhere"),
        Live(zep=("no-such-host.invalid", 1)).follow(house),
    ):
        pass


def test_standard_output_is_for_one_thing():
    assert "--json" in refused(Path("-"), None, "", as_json=True)
    assert Live.read(Path("file"), None, "", as_json=True) == Live()


@pytest.mark.parametrize("command", [("demo",), ("dongle", "--listen", "tcp://127.0.0.1:0")])
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--pcap", "-", "--json"), "both want standard output"),
        (("--zep", "192.0.2.1:17754"), "in the clear"),
        (("--zep", "127.0.0.1"), "no HOST:PORT"),
    ],
)
def test_the_commands_refuse_what_cannot_be(command, options, complaint):
    result = CliRunner().invoke(main, [*command, *options])

    assert result.exit_code == 2
    assert complaint in result.stderr
