"""The state diagrams that people see are those of the machines that run."""

from __future__ import annotations

import enum

import pytest
from readme_diagrams import MACHINES, README, redrawn

from ota.state_diagram import state_diagram


class Light(enum.Enum):
    RED = 1
    GREEN = 2


class Turn(enum.Enum):
    GO = "time to go"
    STOP = "somebody wants to cross"
    LATE = "green for too long"
    POWER = "the power is back"


CROSSING = {
    Light.RED: {Turn.GO: Light.GREEN, Turn.POWER: Light.RED},
    Light.GREEN: {Turn.STOP: Light.RED, Turn.LATE: Light.RED, Turn.POWER: Light.RED},
}


def test_a_table_becomes_a_diagram_with_one_arrow_from_state_to_state():
    assert state_diagram(CROSSING) == (
        "stateDiagram-v2\n"
        "    [*] --> RED\n"
        "    [*] --> RED: the power is back\n"
        "    RED --> GREEN: time to go\n"
        "    GREEN --> RED: somebody wants to cross / green for too long\n"
    )


@pytest.mark.parametrize("name", MACHINES)
def test_every_transition_of_a_machine_is_in_its_diagram(name):
    table, drawn = MACHINES[name], state_diagram(MACHINES[name])
    arrows = {tuple(line.strip().split(": ", 1)) for line in drawn.splitlines() if ": " in line}
    shown = {(arrow, signal) for arrow, signals in arrows for signal in signals.split(" / ")}
    for state, row in table.items():
        for signal, target in row.items():
            ways = {(f"{start} --> {target.name}", signal.value) for start in (state.name, "[*]")}
            assert ways & shown


@pytest.mark.parametrize("name", MACHINES)
def test_no_signal_has_a_character_that_ends_a_label(name):
    signals = {signal for row in MACHINES[name].values() for signal in row}
    assert not [signal for signal in signals if set(signal.value) & set(":;#/\n")]


def test_the_page_shows_the_machines_as_they_are():
    assert redrawn(README.read_text()) == README.read_text(), "say make diagrams"


def test_a_page_without_a_place_for_a_diagram_is_refused():
    with pytest.raises(ValueError, match="0 places"):
        redrawn("# A page\n")
