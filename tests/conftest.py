"""What every test shares: the loop it runs on.

Tests run on the virtual loop, where waiting takes no time. A test marked ``bench`` talks to other processes
and gets the ordinary loop, as does one that asks for it with
``@pytest.mark.asyncio(loop_factories=["ordinary"])``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import hypothesis
import pytest

from han.clock import VirtualLoop, rebind_for_simulation, virtual_loop_factory

# A busy machine is no reason to fail: hypothesis would otherwise allow each example 200 ms of wall time.
hypothesis.settings.register_profile("gbhan", deadline=None)
hypothesis.settings.load_profile("gbhan")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _settling_loop_factory() -> asyncio.AbstractEventLoop:
    """For pseudo-terminals, whose bytes a kernel thread carries: waits a little before it jumps."""
    return VirtualLoop(settle=0.003)


FACTORIES: dict[str, LoopFactory] = {
    "virtual": virtual_loop_factory,
    "settling": _settling_loop_factory,
    "ordinary": asyncio.SelectorEventLoop,
}


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Which loops a test may run on; by default the one named for its kind."""
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        return FACTORIES
    name = "ordinary" if item.get_closest_marker("bench") else "virtual"
    return {name: FACTORIES[name]}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases the enumerations have tried; each test records its own as "... tried ..."."""
    tried: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, many in report.user_properties:
                if " tried" in name and report.when == "call":
                    tried[name] += many
    for name, many in sorted(tried.items()):
        terminalreporter.write_line(f"{name}: {many}")


@pytest.fixture
def rebound() -> Iterator[None]:
    """Every listed third-party source of time and entropy follows the test's loop and seed 7."""
    with rebind_for_simulation(seed=7):
        yield
