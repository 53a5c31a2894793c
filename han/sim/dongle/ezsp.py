"""EZSP frames: header, sequence numbers, the order of answers and callbacks.

After a reset only ``version`` is understood, in the short header of old or in that of the firmware's own
version (see `headers`); from then on only the latter. A command is answered after the firmware's latency, one
at a time. Answers and callbacks leave in the order in which they arose, so a callback may well come between a
command and its answer. It then carries the number of the command answered last, as a real dongle's does:
hosts take the number of a command in flight for its answer.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from han.facts import Facts
from han.sim.air.timeline import Timeline
from han.sim.dongle.dialect import Command, Dialect
from han.sim.dongle.errors import Refused
from han.sim.dongle.faults import Faults
from han.sim.dongle.headers import SHORT, header_of
from han.sim.dongle.personality import Personality
from han.sim.dongle.statuses import Status
from han.sim.dongle.versions import RELEASES
from han.sim.fault import Kind

RESPONSE: Final = 0x80
CALLBACK: Final = 0x90
CALLBACK_PENDING: Final = 0x04
VERSION_COMMAND: Final = 0x0000
INVALID_COMMAND: Final = 0x0058
STACK_TYPE_MESH: Final = 2


class _Waiting(NamedTuple):
    frame_id: int
    parameters: bytes
    answers: int | None
    """The sequence number of the command that this answers; None for a callback."""
    in_short_header: bool = False


class Ezsp:
    """The interpreter of one firmware run. ``on_output`` is called when `next_frame` has something."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        timeline: Timeline,
        personality: Personality,
        faults: Faults,
        dice: random.Random,
        facts: Facts,
        name: str,
        on_output: Callable[[], None],
    ) -> None:
        self._dialect = dialect
        self._header = header_of(dialect.version)
        self._timeline = timeline
        self._personality = personality
        self._faults = faults
        self._dice = dice
        self._facts = facts
        self._name = name
        self._on_output = on_output
        self._commands: dict[int, Command] = {}
        self._inbox: deque[bytes] = deque()
        self._outbox: deque[_Waiting] = deque()
        self._callbacks_waiting = 0
        self._last_answered = 0
        self._version_is_set = False
        self._running = True
        self._executing = False
        self._behind_answer: list[_Waiting] = []
        self.callbacks_lost = 0

    def install(self, commands: Mapping[int, Command]) -> None:
        """Add commands by frame id."""
        self._commands.update(commands)

    def halt(self) -> None:
        """The processor restarts: nothing of this interpreter happens any more."""
        self._running = False
        self._inbox.clear()
        self._outbox.clear()

    @property
    def buffers_used(self) -> int:
        """Packet buffers held by callbacks that the host has not taken yet."""
        return self._callbacks_waiting

    def receive(self, frame: bytes) -> None:
        """A frame of the host. It is carried out after the firmware's latency, in the order of arrival."""
        self._inbox.append(frame)
        if len(self._inbox) == 1:
            self._timeline.after(self._latency(), self._carry_out)

    def callback(self, name: str, *, more_follow: bool = False, **fields: object) -> None:
        """Tell the host something it did not ask for.

        With ``more_follow`` it waits for the next one, at the same instant, and so says that more wait.
        """
        self.put_callback(*self._dialect.callback(name, fields), name, more_follow=more_follow)

    def put_callback(self, frame_id: int, parameters: bytes, name: str, *, more_follow: bool = False) -> None:
        """The same with parameters ready to send."""
        if not self._running or self._faults.strikes(Kind.LOST_CALLBACK, name):
            return
        times = 2 if self._faults.strikes(Kind.REPEATED_CALLBACK, name) else 1
        for _ in range(times):
            self._queue_callback(_Waiting(frame_id, parameters, None))
        if not (more_follow or self._executing):
            self._on_output()

    def _queue_callback(self, callback: _Waiting) -> None:
        if self._callbacks_waiting >= self._personality.callbacks_waiting:
            self.callbacks_lost += 1
            self._facts.say(
                self._name, "dongle.callback-lost", why="no packet buffer is free", frame_id=callback.frame_id
            )
            return
        self._callbacks_waiting += 1
        # What a command itself brings about is told behind its answer.
        (self._behind_answer if self._executing else self._outbox).append(callback)

    @property
    def has_output(self) -> bool:
        """Whether anything waits for the host."""
        return bool(self._outbox)

    def next_frame(self, *, callbacks_are_welcome: bool = True) -> bytes | None:
        """The next frame for the host, or None; only an answer if callbacks are not welcome."""
        waiting = self._take(callbacks_are_welcome=callbacks_are_welcome)
        if waiting is None:
            return None
        pending = CALLBACK_PENDING if self._callbacks_waiting else 0
        if waiting.answers is None:
            sequence, control = self._last_answered, CALLBACK | pending
        else:
            self._last_answered = sequence = waiting.answers
            control = RESPONSE | pending
        header = SHORT if waiting.in_short_header else self._header
        return header.wrap(sequence, control, waiting.frame_id, waiting.parameters)

    def _take(self, *, callbacks_are_welcome: bool) -> _Waiting | None:
        outbox = self._outbox
        if not outbox:
            return None
        if callbacks_are_welcome or outbox[0].answers is not None:
            waiting = outbox.popleft()
        else:
            answer = next((item for item in outbox if item.answers is not None), None)
            if answer is None:
                return None
            outbox.remove(answer)
            waiting = answer
        if waiting.answers is None:
            self._callbacks_waiting -= 1
        return waiting

    def _latency(self) -> float:
        least, most = self._personality.least_latency, self._personality.most_latency
        return least + (most - least) * self._dice.random() if most else 0.0

    def _carry_out(self) -> None:
        if not self._running:
            return
        frame = self._inbox.popleft()
        if self._inbox:
            self._timeline.after(self._latency(), self._carry_out)
        self._executing = True
        self._interpret(frame)
        self._executing = False
        self._outbox.extend(self._behind_answer)
        self._behind_answer.clear()
        self._on_output()

    def _interpret(self, frame: bytes) -> None:
        opened = self._header.open(frame)
        if opened is None:
            self._interpret_foreign(frame)
        elif opened.frame_id == VERSION_COMMAND:
            self._answer_version(opened.sequence, opened.parameters, in_short_header=False)
        elif self._version_is_set:
            self._execute(*opened)
        else:
            why = Refused(Status.VERSION_NOT_SET, "no version was agreed")
            self._refuse(opened.sequence, opened.frame_id, why)

    def _interpret_foreign(self, frame: bytes) -> None:
        """A frame without our header: only the question after the version is understood in the short one."""
        short = SHORT.open(frame)
        if short is None:
            self._facts.say(self._name, "ezsp.dropped", why="too short for a header", size=len(frame))
        elif short.frame_id == VERSION_COMMAND:
            self._answer_version(short.sequence, short.parameters, in_short_header=True)
        else:
            why = Refused(Status.VERSION_NOT_SET, "a command in the header of another version")
            self._refuse(short.sequence, short.frame_id, why)

    def _answer_version(self, sequence: int, parameters: bytes, *, in_short_header: bool) -> None:
        """Say our own version, whatever was asked for; only the right one, in either header, settles it.

        Some hosts ask for the newest first and go on at once if the dongle has it, so once must do.
        """
        version = self._dialect.version
        if not parameters:
            self._refuse(sequence, VERSION_COMMAND, Refused(Status.TRUNCATED, "no version was asked for"))
            return
        if parameters[0] == version:
            self._version_is_set = True
        body = bytes((version, STACK_TYPE_MESH)) + RELEASES[version].stack_version.to_bytes(2, "little")
        self._outbox.append(_Waiting(VERSION_COMMAND, body, sequence, in_short_header))

    def _execute(self, sequence: int, frame_id: int, parameters: bytes) -> None:
        command = self._commands.get(frame_id)
        if command is None:
            self._refuse(
                sequence, frame_id, Refused(Status.INVALID_FRAME_ID, "this firmware has no such command")
            )
            return
        self._faults.command(command.name)
        if self._faults.strikes(Kind.REFUSED_COMMAND, command.name):
            self._refuse(sequence, frame_id, Refused(Status.INVALID_FRAME_ID, "refused on demand"))
            return
        try:
            answer = command.execute(parameters)
        except Refused as refused:
            self._facts.say(self._name, "ezsp.refused", command=command.name, why=str(refused))
            if refused.status is Status.TRUNCATED:
                self._refuse(sequence, frame_id, refused, said=True)
                return
            written = self._dialect.refusal(command.name, refused)
            if written is None:
                self._refuse(sequence, frame_id, refused, said=True)
                return
            answer = written
        if self._faults.strikes(Kind.LOST_ANSWER, command.name):
            return
        self._outbox.append(_Waiting(frame_id, answer, sequence))

    def _refuse(self, sequence: int, frame_id: int, refused: Refused, *, said: bool = False) -> None:
        if not said:
            self._facts.say(self._name, "ezsp.refused", command=f"0x{frame_id:04X}", why=str(refused))
        status = refused.status
        body = self._dialect.status(status)
        self._outbox.append(_Waiting(INVALID_COMMAND, body, sequence))
