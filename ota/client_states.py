"""The states of a device in the OTA Upgrade cluster, and what leads from one to another.

    NORMAL         asks now and then what comes next, and at once when notified
    DOWNLOADING    asks for blocks or pages; a block that stays away is asked for again, ever more patiently
    WAIT_FOR_MORE  a file is good, but the device needs others before it upgrades, and asks for them
    COMPLETE       the file is stored and good, the server has been told and owes an answer
    WAITING        told to hold the image; asks hourly whether it may go
    EXTERNAL       the same for a device that only an out-of-band command activates: GB two-stage devices
    COUNT_DOWN     the image takes over at a known time

A signal that is not in a state's row of ``TRANSITIONS`` cannot happen in it.
"""

from __future__ import annotations

import enum

from ota.errors import OurError


class State(enum.Enum):
    """Where a device stands; the value is its ImageUpgradeStatus attribute (0x0006)."""

    NORMAL = 0
    DOWNLOADING = 1
    COMPLETE = 2
    WAITING = 3
    COUNT_DOWN = 4
    WAIT_FOR_MORE = 5
    EXTERNAL = 6


class Signal(enum.Enum):
    """What moves a device from state to state."""

    IMAGE_FOUND = "the server names an image to take"
    FILE_GOOD = "the whole file is stored and good"
    MORE_NEEDED = "the file is good, and others are needed first"
    DOWNLOAD_OVER = "aborted, given up, or the file is bad"
    FURTHER_OVER = "the same, while an earlier file waits"
    HOLD = "told to hold the image"
    HOLD_FOR_COMMAND = "the image waits for an out-of-band command"
    ACTIVATE_AT = "told when to activate"
    ACTIVATED = "the image has taken over"
    POWER_BACK_PARTIAL = "restarted with a part of a file"
    POWER_BACK_COMPLETE = "restarted with a whole file"
    POWER_BACK_EMPTY = "restarted with no file"
    POWER_BACK_ASIDE = "restarted with a file that waits for others"


_POWER_BACK = {
    Signal.POWER_BACK_PARTIAL: State.DOWNLOADING,
    Signal.POWER_BACK_COMPLETE: State.COMPLETE,
    Signal.POWER_BACK_EMPTY: State.NORMAL,
    Signal.POWER_BACK_ASIDE: State.WAIT_FOR_MORE,
}
_HOLDING = {
    Signal.DOWNLOAD_OVER: State.NORMAL,
    Signal.ACTIVATED: State.NORMAL,
}

TRANSITIONS: dict[State, dict[Signal, State]] = {
    State.NORMAL: {Signal.IMAGE_FOUND: State.DOWNLOADING, **_POWER_BACK},
    State.DOWNLOADING: {
        Signal.FILE_GOOD: State.COMPLETE,
        Signal.MORE_NEEDED: State.WAIT_FOR_MORE,
        Signal.DOWNLOAD_OVER: State.NORMAL,
        Signal.FURTHER_OVER: State.WAIT_FOR_MORE,
        **_POWER_BACK,
    },
    State.WAIT_FOR_MORE: {
        Signal.IMAGE_FOUND: State.DOWNLOADING,
        Signal.DOWNLOAD_OVER: State.NORMAL,
        **_POWER_BACK,
    },
    State.COMPLETE: {
        Signal.HOLD: State.WAITING,
        Signal.HOLD_FOR_COMMAND: State.EXTERNAL,
        Signal.ACTIVATE_AT: State.COUNT_DOWN,
        **_HOLDING,
        **_POWER_BACK,
    },
    State.WAITING: {
        Signal.IMAGE_FOUND: State.DOWNLOADING,
        Signal.HOLD: State.WAITING,
        Signal.ACTIVATE_AT: State.COUNT_DOWN,
        **_HOLDING,
        **_POWER_BACK,
    },
    State.EXTERNAL: {
        Signal.IMAGE_FOUND: State.DOWNLOADING,
        Signal.HOLD_FOR_COMMAND: State.EXTERNAL,
        **_HOLDING,
        **_POWER_BACK,
    },
    State.COUNT_DOWN: {
        Signal.HOLD: State.WAITING,
        Signal.ACTIVATE_AT: State.COUNT_DOWN,
        Signal.ACTIVATED: State.NORMAL,
        **_POWER_BACK,
    },
}

BUSY = (State.DOWNLOADING, State.COMPLETE, State.COUNT_DOWN)
"""Where an Image Notify is turned down: an image is under way."""
HOLDS_IMAGE = (State.COMPLETE, State.WAITING, State.EXTERNAL, State.COUNT_DOWN)
"""Where a whole, good image is there that does not run yet."""


class Standing:
    """Where one device stands. It moves as the table says, and in no other way."""

    def __init__(self) -> None:
        self.state = State.NORMAL

    def move(self, signal: Signal) -> None:
        """Follow a signal. Raises OurError for one that cannot happen in this state."""
        try:
            self.state = TRANSITIONS[self.state][signal]
        except KeyError:
            raise OurError(f"in state {self.state.name} there is no {signal.name}") from None
