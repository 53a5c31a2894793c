"""The doors, without a host library: half-open connections, unread ports, stale octets, houses by name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import serialx
from dongle_world import Desk

from han.sim.air.pump import Pump
from han.sim.dongle import houses
from han.sim.dongle.ash_frames import data_frame
from han.sim.dongle.houses import NoSuchHouse, forget_house, house_at, name_in, register_house
from han.sim.dongle.inprocess import PortTaken
from han.sim.dongle.personality import plain
from han.sim.dongle.pty import PtyDoor
from han.sim.dongle.tcp import MOST_UNREAD, TcpDoor

RST = bytes.fromhex("1ac038bc7e")
RSTACK = bytes.fromhex("1ac1020b0a527e")


class House(Desk):
    """A desk that an event loop moves."""

    def __init__(self) -> None:
        super().__init__(plain())
        self.timeline.now = asyncio.get_running_loop().time()
        self.pump = Pump(self.timeline, asyncio.get_running_loop())


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    register_house("doors", house)
    yield house
    forget_house("doors")
    house.pump.stop()


@pytest.fixture
async def door(house) -> AsyncIterator[TcpDoor]:
    door = await TcpDoor.open(house.dongle, house.pump, house.facts)
    yield door
    await door.close()


async def call(door: TcpDoor) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*door.address)


async def until_rstack(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    async with asyncio.timeout(10):
        while not heard.endswith(RSTACK):
            heard += await reader.read(1000)
    return heard


# TCP


async def test_a_tcp_host_resets_the_dongle(door):
    reader, writer = await call(door)

    writer.write(RST)

    assert await until_rstack(reader) == RSTACK
    writer.close()


async def test_a_second_caller_gets_the_port_from_a_half_open_connection(house, door):
    dead, _ = await call(door)
    await asyncio.sleep(1)
    reader, writer = await call(door)

    writer.write(RST)

    assert await until_rstack(reader) == RSTACK
    assert house.why("port.taken-over") == ["another host opened the port"]
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await dead.readexactly(1)
    writer.close()


async def test_octets_cut_anywhere_and_glued_together_mean_the_same(door):
    reader, writer = await call(door)

    for octet in b"\x1a" * 32 + RST:
        writer.write(bytes((octet,)))
        await asyncio.sleep(0.001)

    assert await until_rstack(reader) == RSTACK
    writer.close()


async def test_stale_octets_of_the_host_before_do_no_harm(door):
    _, first = await call(door)
    first.write(RST + data_frame(3, again=False, ack=5, payload=b"half a fra")[:-4])
    await asyncio.sleep(1)
    first.close()
    reader, writer = await call(door)

    writer.write(b"\x1a" * 32 + RST)

    assert await until_rstack(reader) == RSTACK
    writer.close()


async def test_a_tcp_host_that_does_not_read_is_hung_up_on_and_blocks_nobody(house, door):
    _, writer = await call(door)
    await asyncio.sleep(0.1)
    sink = house.dongle._line.host.sink
    for _ in range(10_000):
        sink(bytes(1000))
        if house.why("door.dropped"):
            break

    assert house.why("door.dropped") == ["the host does not read: its connection is ended"]
    assert MOST_UNREAD < 10_000_000
    writer.close()
    reader, writer = await call(door)
    writer.write(RST)
    assert await until_rstack(reader) == RSTACK
    writer.close()


async def test_the_dongle_runs_on_without_a_host(house, door):
    _, writer = await call(door)
    writer.write(RST)
    await asyncio.sleep(0.01)
    writer.close()
    await asyncio.sleep(5)

    reader, writer = await call(door)
    writer.write(RST)
    assert await until_rstack(reader) == RSTACK
    writer.close()


async def test_a_port_number_that_is_taken_is_an_error_of_the_system(house, door):
    with pytest.raises(OSError, match="in use"):
        await TcpDoor.open(house.dongle, house.pump, house.facts, number=door.address[1])


# PTY


@pytest.mark.asyncio(loop_factories=["settling"])
async def test_a_terminal_that_nobody_reads_loses_octets_and_blocks_nobody(house):
    door = PtyDoor(house.dongle, house.pump, house.facts)

    for _ in range(300):
        door._to_host(bytes(100))

    assert house.why("door.dropped") == ["nobody reads the terminal: octets are lost"]
    assert door._lost > 0
    door.close()


@pytest.mark.asyncio(loop_factories=["settling"])
async def test_a_host_finds_the_unread_octets_of_the_one_before_and_gets_over_them(house):
    door = PtyDoor(house.dongle, house.pump, house.facts)
    door._to_host(b"left over from an earlier life")
    host = os.open(door.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    os.write(host, b"\x1a" * 32 + RST)

    heard = b""
    async with asyncio.timeout(10):
        while not heard.endswith(RSTACK):
            await asyncio.sleep(0.01)
            try:
                heard += os.read(host, 1000)
            except BlockingIOError:
                continue

    assert heard.startswith(b"left over")
    os.close(host)
    door.close()


@pytest.mark.asyncio(loop_factories=["settling"])
async def test_a_terminal_survives_hosts_that_come_and_go(house):
    door = PtyDoor(house.dongle, house.pump, house.facts)
    for _ in range(3):
        os.close(os.open(door.path, os.O_RDWR | os.O_NOCTTY))
        await asyncio.sleep(0.01)

    assert house.why("door.failed") == []
    door.close()
    door.close()


# In the process


class Listener(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.lost: list[Exception | None] = []
        self.inside = False
        self.reentered = False

    def data_received(self, data: bytes) -> None:
        self.reentered |= self.inside
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


async def open_sim(url: str = "sim://doors") -> tuple[serialx.SerialTransport, Listener]:
    loop = asyncio.get_running_loop()
    return await serialx.create_serial_connection(loop, Listener, url=url, baudrate=115200)


async def test_a_sim_url_opens_the_house_of_its_name(house):
    transport, listener = await open_sim("sim://doors?seed=7")

    transport.write(RST)
    await asyncio.sleep(1)

    assert listener.heard == RSTACK
    assert transport.baudrate == 115200
    transport.close()
    await asyncio.sleep(0)
    assert listener.lost == [None]


async def test_a_second_opener_of_a_sim_url_gets_the_port(house):
    _, first = await open_sim()
    transport, second = await open_sim()
    transport.write(RST)
    await asyncio.sleep(1)

    assert isinstance(first.lost[0], PortTaken)
    assert second.heard == RSTACK
    transport.close()


async def test_no_octets_are_handed_over_inside_a_write(house):
    transport, listener = await open_sim()
    transport.write(RST)
    house.pump.stop()
    house.timeline.at(house.timeline.now + 0.5, lambda: None)

    # The loop is late: RSTACK is long due when the host writes again.
    house.pump = Pump(house.timeline, asyncio.get_running_loop())
    await asyncio.sleep(2)
    transport._house = house
    listener.inside = True
    transport.write(b"\x7e")
    listener.inside = False
    await asyncio.sleep(0)

    assert listener.heard == RSTACK
    assert not listener.reentered
    transport.close()


async def test_a_simulated_port_cannot_be_used_without_a_loop():
    with pytest.raises(serialx.UnsupportedSetting, match="event loop"):
        serialx.serial_for_url("sim://doors").open()


async def test_importing_the_simulation_registers_the_scheme():
    handler = serialx.common.get_uri_handler("sim://demo")

    assert handler.unique_scheme == "sim://"


# Houses by name


def opener(calls: list[str]):
    def open_it(url: str, _loop: asyncio.AbstractEventLoop) -> House:
        calls.append(url)
        return House()

    return open_it


async def test_a_host_that_comes_back_finds_the_house_it_left(monkeypatch):
    monkeypatch.setattr(houses, "_opened", {})
    loop, calls = asyncio.get_running_loop(), []

    first = house_at("sim://demo?seed=7", loop, opener(calls))
    again = house_at("sim://demo?seed=7", loop, opener(calls))
    other = house_at("sim://demo?seed=8", loop, opener(calls))

    assert first is again
    assert first is not other
    assert calls == ["sim://demo?seed=7", "sim://demo?seed=8"]


async def test_a_house_of_another_loop_is_not_reused(monkeypatch):
    monkeypatch.setattr(houses, "_opened", {})
    calls: list[str] = []
    house_at("sim://demo", asyncio.new_event_loop(), opener(calls))

    house_at("sim://demo", asyncio.get_running_loop(), opener(calls))

    assert len(calls) == 2


async def test_a_url_without_a_home_says_what_to_write():
    with pytest.raises(NoSuchHouse, match="sim://demo"):
        house_at("sim://?seed=7", asyncio.get_running_loop(), opener([]))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sim://demo?seed=7", "demo"),
        ("sim:///tmp/home.toml", "/tmp/home.toml"),
        ("sim://homes/flat.toml?loss=0.1", "homes/flat.toml"),
    ],
)
def test_a_url_names_a_home_or_a_file(url, name):
    assert name_in(url) == name
