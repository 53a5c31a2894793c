"""Whatever is asked of the hub's custody in whatever order, power and clock included, its promises hold."""

import pytest
from custody_machine import CustodyMachine
from hub_faulty_disk import FaultyDisk
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from hub.activation import Activation
from hub.alerts import Alerts
from hub.flash import FlashError
from hub.slot import Slot
from hub.steady import SteadyTime


def profile(examples: int, steps: int = 50, phases=tuple(Phase)) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def test_its_promises_hold():
    run_state_machine_as_test(CustodyMachine, settings=profile(200))


@pytest.mark.soak
def test_its_promises_hold_for_long():
    run_state_machine_as_test(CustodyMachine, settings=profile(5000, steps=100))


BROKEN = [
    pytest.param(
        Activation,
        "_keep_outcome",
        lambda self, _, alert: self._custody.owe(alert),
        AssertionError,
        id="a command is kept beyond its end",
    ),
    pytest.param(Slot, "is_needed", lambda *_: False, AssertionError, id="no image is safe from another"),
    pytest.param(SteadyTime, "_compare", lambda *_: 0.0, AssertionError, id="steps of the clock go unseen"),
    pytest.param(
        Alerts,
        "let_go",
        lambda _self, memory, *_: memory,
        AssertionError,
        id="nobody is told of a discarded image",
    ),
    pytest.param(
        FaultyDisk, "sync", lambda *_: None, (AssertionError, FlashError), id="octets are never safe"
    ),
]


@pytest.mark.parametrize(("room", "method", "broken", "noticed"), BROKEN)
def test_it_notices_a_hub_that_breaks_a_promise(monkeypatch, room, method, broken, noticed):
    monkeypatch.setattr(room, method, broken)
    with pytest.raises(noticed):
        run_state_machine_as_test(CustodyMachine, settings=profile(200, phases=(Phase.generate,)))
