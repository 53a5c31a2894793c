"""The hub's line into its house: ZCL frames out, with their outcome told, whatever becomes of the radio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from han.coordinator import Posted, RadioBusy, RadioGone
from han.errors import HanError
from han.facts import Facts
from hub.house import House
from ota.eui64 import Eui64

Outcome = Callable[[HanError | None], None]
"""Called when a frame was acknowledged (None), or with the reason why it was not."""


BUSY_PAUSE: Final = 0.05
BUSY_ATTEMPTS: Final = 5
"""A dongle without room for another message has room again after a message or two, some 20 ms each."""


@dataclass(slots=True, eq=False)
class _Letter:
    """A frame on its way, and what stops it."""

    to: Eui64
    cluster: int
    frame: bytes
    then: Outcome | None
    aps_ack: bool
    fragments: bool
    attempts: int = 0
    way: Posted | None = None


class Line:
    """Sends frames, and lets none of them fail unheard.

    Args:
        facts: where "line.failed" is said.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._house: House | None = None
        self._letters: dict[_Letter, None] = {}  # in order, as a set would not be
        self._broadcasts: dict[asyncio.Task[None], None] = {}
        self._sequence = 0
        self._loop = asyncio.get_running_loop()

    def connect(self, house: House) -> None:
        """From now on frames go through this radio."""
        self._house = house

    def next_sequence(self) -> int:
        """A ZCL sequence number for a frame that answers nothing."""
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def post(
        self,
        to: Eui64,
        cluster: int,
        frame: bytes,
        then: Outcome | None = None,
        *,
        aps_ack: bool = True,
        fragments: bool = True,
    ) -> None:
        """Send a frame and go on; ``then`` hears the outcome later. ``House.post`` explains the rest."""
        letter = _Letter(to, cluster, frame, then, aps_ack, fragments)
        self._letters[letter] = None
        self._send(letter)

    def broadcast(self, cluster: int, frame: bytes) -> None:
        """Send a frame to every device that listens all the time, and go on."""
        task = self._loop.create_task(self._broadcast(cluster, frame), name="frame to everybody")
        self._broadcasts[task] = None  # the loop itself holds tasks only weakly
        task.add_done_callback(self._broadcasts.pop)

    def stop(self) -> None:
        """Forget every frame that is still on its way."""
        for task in self._broadcasts:
            task.cancel()
        for letter in self._letters:
            if letter.way is not None:
                letter.way.cancel()
        self._letters.clear()

    def _send(self, letter: _Letter) -> None:
        letter.attempts += 1
        if self._house is None:
            gone = RadioGone("the hub has no radio at the moment")
            letter.way = self._loop.call_soon(self._over, letter, gone)
            return
        letter.way = self._house.post(
            letter.to,
            letter.cluster,
            letter.frame,
            partial(self._over, letter),
            aps_ack=letter.aps_ack,
            fragments=letter.fragments,
        )

    def _over(self, letter: _Letter, error: HanError | None) -> None:
        if error is not None:
            if isinstance(error, RadioBusy) and letter.attempts < BUSY_ATTEMPTS:
                letter.way = self._loop.call_later(letter.attempts * BUSY_PAUSE, self._send, letter)
                return
            why = str(error)
            self._facts.say("hub", "line.failed", device=str(letter.to), cluster=letter.cluster, why=why)
        del self._letters[letter]
        if letter.then is not None:
            letter.then(error)

    async def _broadcast(self, cluster: int, frame: bytes) -> None:
        try:
            if self._house is None:
                raise RadioGone("the hub has no radio at the moment")
            await self._house.broadcast(cluster, frame)
        except HanError as failure:
            self._facts.say("hub", "line.failed", device="everybody", cluster=cluster, why=str(failure))
