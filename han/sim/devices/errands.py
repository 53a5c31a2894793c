"""What devices of each kind ask a hub for besides firmware: prices, messages, credit, the tariff, events.

A Communications Hub of this project serves none of it. A device that is told so lives on without, and asks
again the next day, as the real ones do; that it asks at all is what a hub has to bear.

Commands and their fields: SE 1.4, annex D. Attributes the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import pack

from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.questions import Questions
from han.sim.home import Kind
from han.zcl import BASIC_CLUSTER, AttributeValue, ZclFrame
from ota.commands import DefaultResponse

ROUND_EVERY = 24 * 3600.0
"""Seconds between two rounds of questions. Real displays ask for the price every few minutes and take turns
with what is pushed to them; nobody is told more here for asking more often."""

NOW = 0
EVER = 0xFFFF_FFFF
ANY_PROVIDER = 0xFFFF_FFFF
ALL = 0


@dataclass(frozen=True, slots=True)
class Command:
    """A question that is a command of the cluster's client side."""

    what: str
    cluster: int
    command_id: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Reading:
    """A question for attributes of the cluster's server side."""

    what: str
    cluster: int
    attributes: tuple[int, ...]


Errand = Command | Reading

_PHYSICAL_ENVIRONMENT = Reading("physical environment", BASIC_CLUSTER, (0x0011,))

ERRANDS: Mapping[Kind, Sequence[Errand]] = {
    Kind.PPMID: (
        _PHYSICAL_ENVIRONMENT,
        Command("current price", 0x0700, 0x00, b"\x01"),
        Command("last message", 0x0703, 0x00),
        Reading("consumption", 0x0702, (0x0000, 0x0400)),
        Reading("credit", 0x0705, (0x0000, 0x0001)),
        Command("prepayment snapshot", 0x0705, 0x07, pack("<IIBI", NOW, EVER, 0, EVER)),
        Command("calendar", 0x0707, 0x00, pack("<IIBBI", NOW, EVER, 1, 0, ANY_PROVIDER)),
        Command("change of tenancy", 0x0708, 0x00),
        Command("event log", 0x0709, 0x00, pack("<BHIIBH", 0, 0, NOW, EVER, 1, 0)),
    ),
    Kind.HCALCS: (
        _PHYSICAL_ENVIRONMENT,
        Command("scheduled load control events", 0x0701, 0x01, pack("<IB", NOW, ALL)),
    ),
    # Prices, messages and the tariff are the electricity meter's own to serve: it asks nobody for them.
    Kind.ESME: (_PHYSICAL_ENVIRONMENT,),
    Kind.GSME: (_PHYSICAL_ENVIRONMENT,),
    Kind.ROUTER: (),
}
"""What a device of a kind asks for, in this order."""


class Errands:
    """One device's rounds: each question in turn, the next one when the one before is answered or is not."""

    def __init__(
        self, *, errands: Sequence[Errand], questions: Questions, timeline: Timeline, facts: Facts, name: str
    ) -> None:
        self._errands = errands
        self._questions = questions
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._timer: Handle | None = None

    def start(self) -> None:
        """The hub can be reached: go round."""
        if self._errands:
            self._run(0)

    def stop(self) -> None:
        """The hub or the power is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self, place: int) -> None:
        if place == len(self._errands):
            self._timer = self._timeline.after(ROUND_EVERY, self._run, 0)
            return
        errand = self._errands[place]

        def answered(answer: str) -> None:
            self._facts.say(
                self._name, "errand.done", wanted=errand.what, cluster=errand.cluster, answer=answer
            )
            self._run(place + 1)

        match errand:
            case Command():
                self._questions.ask(
                    errand.cluster, errand.command_id, errand.payload, lambda frame: answered(_outcome(frame))
                )
            case Reading():
                self._questions.read(
                    errand.cluster, errand.attributes, lambda values: answered(_found(values))
                )


def _outcome(frame: ZclFrame | None) -> str:
    if frame is None:
        return "silence"
    if frame.is_cluster_command:
        return f"command {frame.command_id:#04x}"
    if frame.command_id == DefaultResponse.COMMAND_ID and len(frame.payload) >= 2:
        return DefaultResponse.parse(frame.payload).status.name
    return f"global command {frame.command_id:#04x}"


def _found(values: Mapping[int, AttributeValue] | None) -> str:
    if values is None:
        return "silence"
    return ", ".join(f"{attribute:04X}={value!r}" for attribute, value in values.items()) or "nothing"
