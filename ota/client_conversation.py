"""What a device says to its server: one question at a time, one deadline, and all that comes of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ota.client_events import Event, Ignored
from ota.commands import Command, DefaultResponse
from ota.status import Status


@dataclass(frozen=True, slots=True)
class Send:
    """Send this command to the server, with this ZCL sequence number; ``acknowledged`` by its APS or not."""

    command: Command
    sequence: int
    acknowledged: bool = True


class Conversation:
    """The device's end of the talk. Its parts share it, so there is never more than one question open.

    Args:
        sequence: the ZCL sequence number before the first one.
        back_off: the pause, in seconds, after a first question that came to nothing.
    """

    def __init__(self, sequence: int, back_off: float) -> None:
        self.due: float | None = None
        """When something is to be done, in seconds on the machine's clock."""
        self.errors = 0
        """Questions in a row that came to nothing."""
        self.sequence = sequence
        """Of the newest question."""
        self._back_off = back_off
        self._awaits: int | None = None
        self._then: Callable[[float], None] = _nothing
        self._out: list[Send | Event] = []

    def ask(self, command: Command, answer_id: int, *, acknowledged: bool = True) -> None:
        """Send a request with a fresh sequence number; only its own answer will do."""
        self.sequence = (self.sequence + 1) & 0xFF
        self._awaits = answer_id
        self._out.append(Send(command, self.sequence, acknowledged))

    def say(self, command: Command) -> None:
        """Send a request whose answer, if there is one, is not waited for."""
        self.ask(command, command.COMMAND_ID)
        self._awaits = None

    def is_answer(self, answer_id: int, sequence: int) -> bool:
        """Whether this answers the open question. Late and repeated answers do not, and change nothing."""
        if self._awaits == answer_id and sequence == self.sequence:
            return True
        self.tell(Ignored(f"nobody awaits an answer {answer_id:#04x} numbered {sequence}"))
        return False

    def close(self) -> None:
        """The question is answered, or its answer does not matter any more."""
        self._awaits = None

    def rest(self) -> None:
        """Nothing is open, nothing went wrong, nothing is due."""
        self._awaits, self.errors, self.due = None, 0, None

    def respond(self, command_id: int, sequence: int, status: Status) -> None:
        """Answer a command with a status and no more."""
        self._out.append(Send(DefaultResponse(command_id, status, from_server=False), sequence))

    def tell(self, event: Event) -> None:
        """Tell what happened."""
        self._out.append(event)

    def at(self, due: float, then: Callable[[float], None]) -> None:
        """Do this at that time, instead of what was due before."""
        self.due, self._then = due, then

    def pause(self, at_most: float) -> float:
        """How long to wait after the errors so far: twice as long after each, up to a limit. Seconds."""
        doubled: float = self._back_off * 2 ** min(self.errors - 1, 16)
        return min(doubled, at_most)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.due is not None and self.due <= now:
            self.due = None
            self._then(now)

    def drain(self) -> list[Send | Event]:
        """What is to be sent and told since the last call, in order."""
        out, self._out = self._out, []
        return out


def _nothing(now: float) -> None:
    """What is due before anything is."""
