"""The one stream of what happened.

A fact is said once, where it is decided. Progress, alerts, logs, the demo's lines and ``--facts FILE`` are
views of this stream; tests assert on it. A fact never holds a key, an install code or a credential.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

Listener = Callable[["Fact"], None]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened: when (seconds on the loop's clock), to whom, what, and the details."""

    at: float
    who: str
    what: str
    fields: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a fact's details are of any plain type
        """A detail by its name, so that tests read ``fact.offset``."""
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(
                f"fact {self.what!r} has no {name!r}: it has {', '.join(self.fields)}"
            ) from None

    def to_json(self) -> str:
        """One JSON object on one line. Details that JSON does not know are written as text."""
        return json.dumps({"at": self.at, "who": self.who, "what": self.what, **self.fields}, default=str)


class Facts:
    """Where facts are said and heard. ``clock`` gives the time of the one loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._listeners: list[Listener] = []

    def say(self, who: str, what: str, /, **fields: Any) -> None:  # noqa: ANN401 - see Fact
        """Tell every listener that this happened now."""
        if not self._listeners:
            return
        fact = Fact(self._clock(), who, what, fields)
        for listener in tuple(self._listeners):
            listener(fact)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every fact from now on; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @contextmanager
    def recorded(self) -> Iterator[list[Fact]]:
        """Collect the facts said inside the block; what tests use."""
        heard: list[Fact] = []
        end = self.subscribe(heard.append)
        try:
            yield heard
        finally:
            end()


def write_facts(facts: Facts, to: IO[str]) -> Callable[[], None]:
    """Write each fact as a JSON line to an open text file; the returned function ends that."""
    return facts.subscribe(lambda fact: print(fact.to_json(), file=to))
