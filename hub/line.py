"""The hub's line into its house: ZCL frames out, with their outcome told, whatever becomes of the radio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from han.coordinator import RadioBusy, RadioGone
from han.errors import HanError
from han.facts import Facts
from hub.house import House
from ota.eui64 import Eui64

Outcome = Callable[[HanError | None], None]
"""Called when a frame was acknowledged (None), or with the reason why it was not."""


BUSY_PAUSE: Final = 0.05
BUSY_ATTEMPTS: Final = 5
"""A dongle without room for another message has room again after a message or two, some 20 ms each."""


class Line:
    """Sends each frame in a task of its own and lets none of them fail unheard.

    Args:
        facts: where "line.failed" is said.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._house: House | None = None
        self._sending: dict[asyncio.Task[None], None] = {}  # in order, as a set would not be
        self._sequence = 0

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
        """Send a frame and go on; ``then`` hears the outcome. ``House.send`` explains the rest."""
        work = self._post(to, cluster, frame, then, aps_ack=aps_ack, fragments=fragments)
        task = asyncio.create_task(work, name=f"frame to {to}")
        # The loop itself holds tasks only weakly.
        self._sending[task] = None
        task.add_done_callback(self._sending.pop)

    def stop(self) -> None:
        """Forget every frame that is still on its way."""
        for task in self._sending:
            task.cancel()

    async def _post(
        self, to: Eui64, cluster: int, frame: bytes, then: Outcome | None, *, aps_ack: bool, fragments: bool
    ) -> None:
        error: HanError | None = None
        try:
            await self._send(to, cluster, frame, aps_ack=aps_ack, fragments=fragments)
        except HanError as failure:
            error = failure
            self._facts.say("hub", "line.failed", device=str(to), cluster=cluster, why=str(failure))
        if then is not None:
            then(error)

    async def _send(self, to: Eui64, cluster: int, frame: bytes, *, aps_ack: bool, fragments: bool) -> None:
        attempt = 0
        while True:
            attempt += 1
            if self._house is None:
                raise RadioGone("the hub has no radio at the moment")
            try:
                await self._house.send(to, cluster, frame, aps_ack=aps_ack, fragments=fragments)
            except RadioBusy:
                if attempt == BUSY_ATTEMPTS:
                    raise
                await asyncio.sleep(attempt * BUSY_PAUSE)
            else:
                return
