"""The virtual loop: waiting takes no time, and nothing real leaks in."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from han.clock import SIMULATED_EPOCH, Deadlock, Utc, VirtualLoop, rebind_for_simulation, run


async def test_a_fortnight_passes_at_once():
    loop = asyncio.get_running_loop()
    began, virtual = time.monotonic(), loop.time()

    await asyncio.sleep(14 * 86400)

    assert loop.time() - virtual == 14 * 86400
    assert time.monotonic() - began < 1


async def test_time_stands_still_while_anything_is_ready():
    loop = asyncio.get_running_loop()
    before = loop.time()

    for _ in range(1000):
        await asyncio.sleep(0)

    assert loop.time() == before


async def test_timers_run_in_order_of_their_time_and_then_of_their_setting():
    loop = asyncio.get_running_loop()
    heard: list[tuple[str, float]] = []
    start = loop.time()
    for name, delay in (("late", 2.0), ("early", 1.0), ("also early", 1.0)):
        loop.call_later(delay, lambda name=name: heard.append((name, loop.time() - start)))

    await asyncio.sleep(3)

    assert heard == [("early", 1.0), ("also early", 1.0), ("late", 2.0)]


async def test_a_cancelled_timer_does_not_stop_the_clock():
    loop = asyncio.get_running_loop()
    start = loop.time()
    loop.call_later(5, lambda: None).cancel()

    await asyncio.sleep(10)

    assert loop.time() == start + 10


async def test_a_timeout_fires_at_its_virtual_moment():
    loop = asyncio.get_running_loop()
    start = loop.time()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1800):
            await loop.create_future()

    assert loop.time() == start + 1800


async def test_what_was_written_to_a_socket_arrives_before_time_moves():
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    start = loop.time()

    async with asyncio.timeout(1):
        await loop.sock_sendall(near, b"block")
        assert await loop.sock_recv(far, 100) == b"block"

    assert loop.time() == start
    near.close()
    far.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_conversation_over_a_local_socket_takes_no_virtual_time(kind, tmp_path):
    loop = asyncio.get_running_loop()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    if kind == "tcp":
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    else:
        server = await asyncio.start_unix_server(echo, tmp_path / "echo")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "echo")
    start = loop.time()

    async with asyncio.timeout(1):
        for number in range(200):
            writer.write(b"%d\n" % number)
            assert await reader.readline() == b"%d\n" % number

    assert loop.time() == start
    writer.close()
    server.close()


async def test_a_job_for_an_executor_runs_at_once_and_in_order():
    done: list[int] = []
    loop = asyncio.get_running_loop()

    futures = [loop.run_in_executor(None, done.append, number) for number in range(3)]

    assert done == [0, 1, 2]
    await asyncio.gather(*futures)
    assert await asyncio.to_thread(sum, (1, 2, 3)) == 6


async def test_a_job_that_fails_fails_where_it_is_awaited():
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(open, "/nowhere/at/all")


def test_a_deadlock_is_reported_with_the_place_where_each_task_waits():
    async def waits_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock) as caught:
        run(waits_for_ever(), virtual=True)

    assert "waits_for_ever" in str(caught.value)
    assert "test_clock.py" in str(caught.value)


def test_a_deadlock_leaves_a_loop_that_can_be_closed():
    loop = VirtualLoop()
    with pytest.raises(Deadlock):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_a_timer_is_found_due_even_after_a_year_of_virtual_time():
    loop = VirtualLoop(start=366 * 86400.0 + 1 / 3)

    async def tiny_steps() -> None:
        for _ in range(100):
            await asyncio.sleep(0.1 / 3)

    loop.run_until_complete(tiny_steps())
    assert loop.time() == pytest.approx(366 * 86400 + 1 / 3 + 10 / 3)
    loop.close()


class Ticks:
    """A simulation in which something happens at these times."""

    def __init__(self, *at: float) -> None:
        self.at = list(at)
        self.seen: list[float] = []

    def run(self, until: float) -> float | None:
        while self.at and self.at[0] <= until:
            self.at.pop(0)
            self.happen()
        return self.timer()

    def happen(self) -> None:
        self.seen.append(asyncio.get_running_loop().time())

    def timer(self) -> float | None:
        return self.at[0] if self.at else None


async def test_a_simulation_goes_on_until_a_timer_of_the_loop_is_due_which_comes_first():
    loop = asyncio.get_running_loop()
    start = loop.time()
    ticks = Ticks(start + 1, start + 2, start + 3)
    seen: list[list[float]] = []
    loop.call_at(start + 2, lambda: seen.append(list(ticks.seen)))
    loop.call_at(start + 0.5, lambda: None).cancel()

    loop.plan(ticks, ticks.timer())
    await asyncio.sleep(5)

    assert seen == [[start + 1]]
    assert ticks.seen == [start + 1, start + 2, start + 3]


async def test_what_a_simulation_gives_the_loop_to_do_is_done_before_it_goes_on():
    loop = asyncio.get_running_loop()
    start = loop.time()
    ticks = Ticks(start + 1, start + 2)
    seen: list[float] = []
    ticks.happen = lambda: loop.call_soon(lambda: seen.append(loop.time()))

    loop.plan(ticks, ticks.timer())
    await asyncio.sleep(3)

    assert seen == [start + 1, start + 2]


async def test_no_simulation_goes_past_octets_that_wait_in_a_socket():
    loop = asyncio.get_running_loop()
    start = loop.time()
    near, far = socket.socketpair()
    far.setblocking(False)
    heard: list[float] = []
    loop.add_reader(far, lambda: heard.append((far.recv(10), loop.time())))
    ticks = Ticks(start + 1, start + 2)
    ticks.happen = lambda: near.send(b"block")

    loop.plan(ticks, ticks.timer())
    await asyncio.sleep(3)

    assert heard == [(b"block", start + 1), (b"block", start + 2)]
    loop.remove_reader(far)
    near.close()
    far.close()


async def test_a_simulation_that_was_planned_anew_or_not_at_all_is_not_run_at_the_old_time():
    loop = asyncio.get_running_loop()
    start = loop.time()
    earlier, never = Ticks(start + 5), Ticks(start + 1)

    loop.plan(earlier, start + 9)
    loop.plan(earlier, start + 5)
    loop.plan(never, start + 1)
    loop.plan(never, None)
    await asyncio.sleep(20)

    assert earlier.seen == [start + 5]
    assert never.seen == []


async def test_a_simulation_past_many_cancelled_timers_keeps_the_loops_books():
    loop = asyncio.get_running_loop()
    start = loop.time()
    ticks = Ticks(start + 1)
    ticks.happen = lambda: [loop.call_later(number / 100, lambda: None).cancel() for number in range(500)]
    for number in range(500):
        loop.call_at(start + number / 1000, lambda: None).cancel()

    loop.plan(ticks, ticks.timer())
    await asyncio.sleep(1000)

    assert loop.time() == start + 1000


async def test_utc_begins_at_the_same_moment_in_every_simulation():
    loop = asyncio.get_running_loop()
    utc = Utc(loop)

    assert utc.now() - SIMULATED_EPOCH == timedelta(seconds=loop.time())
    assert utc.at(loop.time() + 60) == utc.now() + timedelta(minutes=1)
    assert utc.loop_seconds(utc.now() + timedelta(hours=1)) == pytest.approx(loop.time() + 3600)


@pytest.mark.asyncio(loop_factories=["ordinary"])
async def test_utc_on_the_ordinary_loop_is_the_systems():
    assert abs(Utc(asyncio.get_running_loop()).now() - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.asyncio(loop_factories=["ordinary"])
async def test_the_ordinary_loop_keeps_real_time():
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)


def test_two_runs_draw_the_same_entropy_and_another_seed_draws_other():
    import bellows.zigbee.application as bellows_application  # noqa: PLC0415 - rebound below
    import zigpy.application as zigpy_application  # noqa: PLC0415 - rebound below

    def drawn(seed: int) -> tuple[bytes, bytes, int]:
        with rebind_for_simulation(seed):
            return (
                bellows_application.os.urandom(16),
                zigpy_application.os.urandom(16),
                zigpy_application.random.SystemRandom().randint(0, 2**32),
            )

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(7)[0] != drawn(7)[1]


def test_what_was_rebound_is_given_back():
    import os  # noqa: PLC0415 - compared with what the module holds
    import time as system_time  # noqa: PLC0415

    import bellows.ash  # noqa: PLC0415
    import paho.mqtt.client  # noqa: PLC0415
    import zigpy.application  # noqa: PLC0415

    with rebind_for_simulation(1):
        assert zigpy.application.os is not os
    assert zigpy.application.os is os
    assert bellows.ash.time is system_time
    assert paho.mqtt.client.time_func is system_time.monotonic
    assert zigpy.application.datetime is datetime


def test_a_rebound_library_reads_the_loops_clock():
    import bellows.ash  # noqa: PLC0415
    import zigpy.backups  # noqa: PLC0415

    async def main() -> None:
        await asyncio.sleep(86400)
        assert bellows.ash.time.monotonic() == 86400
        assert zigpy.backups.datetime.now(UTC) == SIMULATED_EPOCH + timedelta(days=1)
        assert isinstance(datetime.now(UTC), zigpy.backups.datetime)

    run(main(), virtual=True)
