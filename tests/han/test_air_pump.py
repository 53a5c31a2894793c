from __future__ import annotations

import asyncio
import socket

import pytest

from han.clock import VirtualLoop
from han.sim.air.pump import Pump
from han.sim.air.timeline import Timeline


async def test_calls_are_made_when_the_loop_reaches_their_time():
    loop = asyncio.get_running_loop()
    timeline, seen = Timeline(loop.time()), []
    pump = Pump(timeline, loop)
    timeline.after(5.0, lambda: seen.append(loop.time()))
    pump.wake()
    await asyncio.sleep(4.9)
    assert seen == []
    await asyncio.sleep(0.2)
    assert seen == [pytest.approx(5.0)]


async def test_waking_brings_the_timeline_to_the_present():
    loop = asyncio.get_running_loop()
    timeline = Timeline(loop.time())
    pump = Pump(timeline, loop)
    await asyncio.sleep(3.0)
    pump.wake()
    assert timeline.now == loop.time()


async def test_a_task_that_is_ready_comes_before_the_next_call():
    loop = asyncio.get_running_loop()
    order: list[str] = []
    timeline = Timeline(loop.time())
    pump = Pump(timeline, loop)
    timeline.after(1.0, loop.call_soon, order.append, "task")
    timeline.after(1.1, order.append, "call")
    pump.wake()
    await asyncio.sleep(2.0)
    assert order == ["task", "call"]


async def test_a_timer_of_the_loop_comes_in_its_turn():
    loop = asyncio.get_running_loop()
    order: list[float] = []
    timeline = Timeline(loop.time())
    pump = Pump(timeline, loop)
    for tenths in range(1, 20):
        timeline.after(tenths / 10, lambda: order.append(loop.time()))
    loop.call_later(1.05, lambda: order.append(loop.time()))
    pump.wake()
    await asyncio.sleep(3.0)
    assert len(order) == 20
    assert order == sorted(order)


async def test_what_became_readable_comes_before_the_next_call():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    reader, near = await asyncio.open_connection(sock=ours)
    _, far = await asyncio.open_connection(sock=theirs)
    order: list[str] = []
    timeline = Timeline(loop.time())
    pump = Pump(timeline, loop)
    timeline.after(1.0, far.write, b"read me")
    timeline.after(1.1, order.append, "call")

    async def read() -> None:
        await reader.read(100)
        order.append("read")

    task = asyncio.create_task(read())
    pump.wake()
    await task
    await asyncio.sleep(1.0)
    near.close()
    far.close()
    assert order == ["read", "call"]


async def test_calls_see_their_own_time_when_the_loop_is_late():
    loop = asyncio.get_running_loop()
    timeline, seen = Timeline(loop.time()), []
    start = timeline.now
    timeline.after(1.0, lambda: seen.append(timeline.now - start))
    timeline.after(2.0, lambda: seen.append(timeline.now - start))
    await asyncio.sleep(10.0)
    Pump(timeline, loop).wake()
    assert seen == [1.0, 2.0]
    assert timeline.now == loop.time()


async def test_a_stopped_pump_makes_no_call():
    loop = asyncio.get_running_loop()
    timeline, made = Timeline(loop.time()), []
    pump = Pump(timeline, loop)
    timeline.after(1.0, made.append, "never")
    pump.wake()
    pump.stop()
    pump.wake()
    await asyncio.sleep(2.0)
    assert made == []


async def test_a_call_that_fails_does_not_stop_the_house():
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    timeline, made = Timeline(loop.time()), []

    def fails() -> None:
        raise ZeroDivisionError

    pump = Pump(timeline, loop)
    timeline.after(1.0, fails)
    timeline.after(2.0, made.append, "made")
    pump.wake()
    await asyncio.sleep(3.0)
    assert made == ["made"]
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_houses_on_one_loop_take_turns_in_the_order_of_their_times():
    loop = asyncio.get_running_loop()
    order: list[tuple[float, str]] = []
    start = loop.time()
    for number, name in enumerate(("first", "second", "third")):
        timeline = Timeline(start)
        for tenths in range(10):
            timeline.after(
                tenths / 10 + number / 100, lambda name=name: order.append((loop.time() - start, name))
            )
        Pump(timeline, loop).wake()
    await asyncio.sleep(2.0)
    assert len(order) == 30
    assert order == sorted(order)
    assert [name for _, name in order[:4]] == ["first", "second", "third", "first"]


async def test_a_house_may_wake_another_from_within_one_of_its_calls():
    loop = asyncio.get_running_loop()
    made: list[str] = []
    one, other = Timeline(loop.time()), Timeline(loop.time())
    pump, woken = Pump(one, loop), Pump(other, loop)

    def knock() -> None:
        woken.wake()
        other.after(0.5, made.append, "answer")
        woken.wake()

    one.after(1.0, knock)
    one.after(2.0, made.append, "later")
    pump.wake()
    await asyncio.sleep(1.6)
    assert made == ["answer"]
    await asyncio.sleep(1.0)
    assert made == ["answer", "later"]


async def test_a_pump_stopped_from_within_makes_no_further_call():
    loop = asyncio.get_running_loop()
    timeline, made = Timeline(loop.time()), []
    pump = Pump(timeline, loop)
    timeline.after(1.0, pump.stop)
    timeline.after(1.5, made.append, "never")
    pump.wake()
    await asyncio.sleep(3.0)
    assert made == []


@pytest.mark.asyncio(loop_factories=["ordinary"])
async def test_on_the_ordinary_loop_the_calls_are_made_in_real_time():
    loop = asyncio.get_running_loop()
    assert not isinstance(loop, VirtualLoop)
    timeline, made = Timeline(loop.time()), loop.create_future()
    pump = Pump(timeline, loop)
    due = loop.time() + 0.01
    timeline.at(due, lambda: made.set_result(loop.time()))
    pump.wake()
    assert await made >= due - 0.001
    timeline.after(0.0, made.cancelled)
    pump.stop()
