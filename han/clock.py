"""The one clock: the event loop's. No other file of ours asks the system for the time.

On the ordinary loop gbhan runs in real time, with real dongles and remote brokers. On the `VirtualLoop` time
stands still while anything is ready to run and then jumps to the next timer, so a fortnight of waiting takes
no longer than the work done in it. Before each jump the selector is polled once more, because what one end of
an in-process socket wrote may just have become readable at the other end. Jobs for an executor run at once,
in the loop's own thread: no thread can owe an answer when time jumps, and their order is the order in which
they were handed over. No real time leaks in: what `VirtualLoop.time` returns depends only on the timers that
were set.

A peer outside the process looks idle to such a loop. Programs that talk to one use the ordinary loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import selectors
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar, TypeVarTuple

from han.chance import rebound_sources

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SIMULATED_EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
"""What UTC a virtual loop starts at: a Monday in winter, so that no daylight saving surprises a reader."""

RESOLUTION = 1e-8
"""Seconds by which a timer may fire early on the virtual loop. Above half the spacing of doubles for four
years of virtual time, so that a timer just jumped to is always found due; far below a symbol on the air
(16 us)."""


class Deadlock(RuntimeError):  # noqa: N818 - it names a state of affairs, as TimeoutError does not
    """Every task waits, no timer is set and no descriptor is ready: nothing can ever happen again."""


class Simulation(Protocol):
    """Something with many events and a time of its own, which a `VirtualLoop` moves along with its own."""

    def run(self, until: float) -> float | None:
        """Let everything happen that is due by ``until``; gives ``timer`` then."""
        ...

    def timer(self) -> float | None:
        """When something is due next; None: never."""
        ...


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which waiting takes no time.

    Args:
        start: the loop's time at its beginning, in seconds.
        settle: real seconds to wait for a descriptor before each jump. 0 is right for sockets inside the
            process; a pseudo-terminal is served by a kernel thread and needs a few milliseconds.
    """

    def __init__(self, start: float = 0.0, settle: float = 0.0) -> None:
        self._now = start
        self._agenda: list[tuple[float, int, Simulation]] = []  # in order; one entry a simulation
        self._planned: dict[Simulation, tuple[float, int, Simulation]] = {}
        self._plans = 0
        super().__init__(_JumpingSelector(self, settle))
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def plan(self, simulation: Simulation, due: float | None) -> None:
        """Run ``simulation`` at ``due``, instead of whenever it was to be run so far; None: not at all.

        A timer of the loop that is due at the same moment comes first.
        """
        agenda, entry = self._agenda, self._planned.pop(simulation, None)
        if entry is not None:
            del agenda[bisect_left(agenda, entry)]
        if due is not None:
            if entry is None:
                self._plans += 1
            # Of two that are due at one moment the one that was planned first goes first.
            entry = (due, self._plans if entry is None else entry[1], simulation)
            self._planned[simulation] = entry
            insort(agenda, entry)

    def _drop_cancelled(self, scheduled: list[asyncio.TimerHandle]) -> None:
        """Take a cancelled timer from the head of the heap, with the loop's own bookkeeping."""
        handle: Any = heapq.heappop(scheduled)
        handle._scheduled = False  # noqa: SLF001 - what the loop itself does in the same place
        self._timer_cancelled_count -= 1  # type: ignore[attr-defined] # not in the stub

    def jump(self) -> bool:
        """Move time on, called by the selector when nothing is ready; False if there is nothing to move to.

        Simulations run in here, one after the other, up to the loop's next timer, or until something they did
        gives the loop work: a round of the loop for each of their events would cost as much as the event.
        """
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined] # no public way to ask
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined] # as above
        is_idle: Callable[[], bool] = self._selector.is_idle  # type: ignore[attr-defined] # as above
        agenda = self._agenda
        while agenda:
            while scheduled and scheduled[0].cancelled():
                self._drop_cancelled(scheduled)
            entry = agenda[0]
            due, _, simulation = entry
            if scheduled and scheduled[0].when() <= due + RESOLUTION:
                break
            self._now = max(self._now, due)
            try:
                following = simulation.run(due)
            except Exception as error:  # noqa: BLE001 - as for any callback of a loop
                self.call_exception_handler({"message": "Exception in a simulation", "exception": error})
                following = simulation.timer()
            if following is not None and agenda and agenda[0] is entry:
                # What `plan` would do, in fewer steps: this is done for every event in every house.
                entry = self._planned[simulation] = (following, entry[1], simulation)
                if len(agenda) == 1 or entry < agenda[1]:
                    agenda[0] = entry
                else:
                    del agenda[0]
                    insort(agenda, entry)
            else:
                self.plan(simulation, following)
            is_stopping: bool = self._stopping  # type: ignore[attr-defined] # not in the stub
            if ready or is_stopping or not is_idle():
                return True
        # The loop itself, or the lines above, have just dropped cancelled timers from the head of this heap.
        if not scheduled:
            return False
        self._now = max(self._now, scheduled[0].when())
        return True

    def run_in_executor(
        self,
        executor: object,  # noqa: ARG002 - whichever it is, the job runs here and now
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run a blocking job at once, in this thread, and return its finished future."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except StopIteration as error:
            done.set_exception(RuntimeError(f"a job for an executor raised {error!r}"))
        except Exception as error:  # noqa: BLE001 - every failure of the job belongs to whoever awaits it
            done.set_exception(error)
        return done

    def waiting(self) -> list[str]:
        """Where each unfinished task of this loop waits, one line each, in order of name."""
        return sorted(_whereabouts(task) for task in asyncio.all_tasks(self))


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: polls, and when nothing is ready lets the loop's time jump."""

    def __init__(self, loop: VirtualLoop, settle: float) -> None:
        super().__init__()
        self._loop = loop
        self._settle = settle
        poll: Any = getattr(self, "_selector", None)  # the kernel's object, where there is one
        if isinstance(self, getattr(selectors, "EpollSelector", ())):
            # Asked once for every event in a house: the call around it would cost four times the system call.
            self._glance: Callable[[], object] = partial(poll.poll, 0, 1)
        else:
            self._glance = partial(super().select, 0)
        self._order: dict[int, int] = {}
        self._registered = 0

    def is_idle(self) -> bool:
        """Whether no descriptor is ready, as far as one can tell without waiting."""
        if self._settle > 0 and len(self._order) > 1:
            return False
        return not self._glance()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:  # noqa: ANN401
        key = super().register(fileobj, events, data)
        self._registered += 1
        self._order[key.fd] = self._registered
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # noqa: ANN401 - as the base class
        key = super().unregister(fileobj)
        self._order.pop(key.fd, None)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if timeout == 0:
            return self._in_order(ready) if ready else ready
        if not ready and self._settle > 0 and len(self._order) > 1:
            ready = super().select(self._settle)
        if not ready and not self._loop.jump():
            raise Deadlock(_report(self._loop))
        return self._in_order(ready)

    def _in_order(
        self, ready: list[tuple[selectors.SelectorKey, int]]
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Descriptors by the time they were registered: the kernel's own order is not ours to repeat."""
        if len(ready) > 1:
            ready.sort(key=lambda item: self._order[item[0].fd])
        return ready


def _report(loop: VirtualLoop) -> str:
    lines = loop.waiting() or ["(no task at all)"]
    return (
        f"deadlock at {loop.time():.3f} s: every task waits, no timer is set and no descriptor is ready.\n  "
        + "\n  ".join(lines)
        + "\nA peer in another process cannot be reached from the virtual loop: use the ordinary loop for it."
    )


def _whereabouts(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack()
    if not frames:
        return f"{task.get_name()}: {task.get_coro()!r}"
    innermost = frames[-1]
    code = innermost.f_code
    return f"{task.get_name()}: in {code.co_qualname} ({code.co_filename}:{innermost.f_lineno})"


def virtual_loop_factory() -> asyncio.AbstractEventLoop:
    """A new virtual loop, for `asyncio.Runner` and for pytest-asyncio."""
    return VirtualLoop()


class Utc:
    """Maps a loop's time to UTC and back.

    On a virtual loop UTC begins at a fixed moment, so that two runs write the same times; on the ordinary
    loop it is the system's, asked anew each time because the system's clock may be corrected under way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch: datetime = SIMULATED_EPOCH) -> None:
        self._loop = loop
        self._epoch = epoch

    def now(self) -> datetime:
        """The present moment, with its time zone."""
        if isinstance(self._loop, VirtualLoop):
            return self._epoch + timedelta(seconds=self._loop.time())
        return datetime.now(UTC)

    def seconds(self) -> float:
        """The present moment in seconds since 1970-01-01 UTC."""
        return self.now().timestamp()

    def at(self, loop_seconds: float) -> datetime:
        """The moment at which the loop's clock shows ``loop_seconds``."""
        return self.now() + timedelta(seconds=loop_seconds - self._loop.time())

    def loop_seconds(self, moment: datetime) -> float:
        """What the loop's clock shows at ``moment``, which carries a time zone."""
        return self._loop.time() + (moment - self.now()).total_seconds()


@contextlib.contextmanager
def rebind_for_simulation(seed: int) -> Generator[None]:
    """Inside the block third-party sources of time and entropy follow the running loop and the seed."""

    def utc_now() -> datetime:
        return Utc(asyncio.get_running_loop()).now()

    with rebound_sources(seed, _loop_time, utc_now):
        yield


def _loop_time() -> float:
    """The running loop's time; 0 outside a loop, where no simulated time passes."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


def run(main: Coroutine[Any, Any, T], *, virtual: bool = False, seed: int = 0) -> T:
    """Run a program to its end on the loop it needs.

    Args:
        main: the program.
        virtual: on the virtual loop, with every listed source of time and entropy bound to it and to
            ``seed``; otherwise in real time.
        seed: what the simulated entropy is drawn from. Ignored in real time.

    Raises:
        Deadlock: on the virtual loop, when nothing can happen any more.
    """
    if not virtual:
        with asyncio.Runner() as runner:
            return runner.run(main)
    with rebind_for_simulation(seed), asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
        return runner.run(main)


def monotonic_seconds() -> float:
    """Real seconds that only grow, for saying how long a run took. Nothing may depend on it."""
    return time.monotonic()


def cpu_seconds() -> float:
    """Seconds that this process has kept a processor busy, for saying what a run cost, as above."""
    return time.process_time()


def utc_seconds() -> float:
    """Seconds since 1970-01-01 UTC by the system's clock, for a command that runs no loop."""
    return datetime.now(UTC).timestamp()
