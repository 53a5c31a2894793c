"""How far a hub has come with one image for one target, and what leads from one state to another.

    OFFERED      notified, or asking what comes next
    QUEUED       asks for octets, but as many others as may be are served: told to wait for its turn
    SERVING      asks for octets and gets them
    PAUSED       the user lets it rest: told to wait
    MORE_WANTED  holds this file, and needs others before it upgrades (REQUIRE_MORE_IMAGE)
    DONE         reported the file as good, or runs it already
    BARRED       gets it no more: failed, aborted by the user, or the wrong hardware

A signal that is not in a state's row of ``TRANSITIONS`` cannot happen in it. Whatever a target asks for is
answered all the same: the hub is stateless by offset, and the state tells the story.
"""

from __future__ import annotations

import enum

from ota.errors import OurError


class State(enum.Enum):
    """Where a target stands with one image."""

    OFFERED = "offered"
    QUEUED = "queued"
    SERVING = "serving"
    PAUSED = "paused"
    MORE_WANTED = "more wanted"
    DONE = "done"
    BARRED = "barred"


class Signal(enum.Enum):
    """What moves a target from state to state."""

    TURN_COMES = "asks for octets, and it is its turn"
    TURN_IS_OTHERS = "asks for octets, and it is not its turn"
    FELL_SILENT = "fell silent in mid-download"
    BROKE_OFF = "broke off, and may try again"
    MORE_NEEDED = "holds the file, and needs others before it upgrades"
    FILE_GOOD = "reports the file as good, or runs it already"
    FAILED = "will not take it, broke off too often, or has the wrong hardware"
    PAUSE = "paused by the user"
    RESUME = "resumed by the user"
    ABORT = "aborted by the user"


_ENDING = {
    Signal.FILE_GOOD: State.DONE,
    Signal.MORE_NEEDED: State.MORE_WANTED,
    Signal.FAILED: State.BARRED,
}
_USER = {Signal.PAUSE: State.PAUSED, Signal.ABORT: State.BARRED}
_TURNS = {Signal.TURN_COMES: State.SERVING, Signal.TURN_IS_OTHERS: State.QUEUED}

TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.OFFERED: {Signal.BROKE_OFF: State.OFFERED, **_TURNS, **_ENDING, **_USER},
    State.QUEUED: {
        Signal.FELL_SILENT: State.OFFERED,
        Signal.BROKE_OFF: State.OFFERED,
        **_TURNS,
        **_ENDING,
        **_USER,
    },
    State.SERVING: {
        Signal.FELL_SILENT: State.OFFERED,
        Signal.BROKE_OFF: State.OFFERED,
        **_ENDING,
        **_USER,
    },
    State.PAUSED: {
        Signal.RESUME: State.OFFERED,
        Signal.BROKE_OFF: State.PAUSED,
        Signal.ABORT: State.BARRED,
        **_ENDING,
    },
    State.MORE_WANTED: {Signal.BROKE_OFF: State.OFFERED, Signal.ABORT: State.BARRED, **_TURNS, **_ENDING},
    State.DONE: {Signal.BROKE_OFF: State.OFFERED, Signal.FAILED: State.BARRED},
    State.BARRED: {},
}

UNFINISHED = (State.OFFERED, State.QUEUED, State.SERVING, State.PAUSED, State.MORE_WANTED)
"""Where the image can still come to an end, good or bad."""


def after(state: State, signal: Signal) -> State:
    """Where a signal leads. Raises OurError for one that cannot happen in this state."""
    try:
        return TRANSITIONS[state][signal]
    except KeyError:
        raise OurError(f"in state {state.name} there is no {signal.name}") from None
