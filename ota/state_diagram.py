"""A picture of a machine, drawn from its transition table: the text of a Mermaid state diagram."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum


def state_diagram(table: Mapping[Enum, Mapping[Enum, Enum]]) -> str:
    """The table as a Mermaid ``stateDiagram-v2``.

    The first state of the table is where the machine begins. From one state to another there is one arrow,
    with all the signals that lead there. A signal that leads from every state to the same one is drawn once,
    from outside. States are called by their names, signals by their values, which are sentences.
    """
    return "\n".join(_lines(table)) + "\n"


def _lines(table: Mapping[Enum, Mapping[Enum, Enum]]) -> Iterator[str]:
    yield "stateDiagram-v2"
    yield f"    [*] --> {next(iter(table)).name}"
    everywhere = _everywhere(table)
    yield from _arrows("[*]", everywhere)
    for state, row in table.items():
        own = {signal: target for signal, target in row.items() if signal not in everywhere}
        yield from _arrows(state.name, own)


def _arrows(start: str, row: Mapping[Enum, Enum]) -> Iterator[str]:
    labels: dict[Enum, list[str]] = {}
    for signal, target in row.items():
        labels.setdefault(target, []).append(str(signal.value))
    for target, signals in labels.items():
        yield f"    {start} --> {target.name}: {' / '.join(signals)}"


def _everywhere(table: Mapping[Enum, Mapping[Enum, Enum]]) -> dict[Enum, Enum]:
    """The signals that lead from every state to the same one, and where to."""
    first, *others = table.values()
    return {
        signal: target for signal, target in first.items() if all(row.get(signal) is target for row in others)
    }
