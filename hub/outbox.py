"""What the hub has to say, on its way to the broker.

Alerts wait on the flash until the broker has acknowledged them, in the order in which they were raised. Of
the rest only what is still true is kept while the broker is away: the latest progress of each device, the
latest state, which is made when it is sent, and at most so often.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from han.facts import Facts
from hub.custody import Custody
from hub.messages import HubState, Message, Progress, encode, topic_of
from hub.mqtt import Mailbox
from ota.eui64 import Eui64

LONGEST_QUEUE: Final = 256
"""Answers kept while the broker is away; the oldest go first: whoever asked asks again."""


class Outbox:
    """Publishes, one message after another, for as long as ``run`` runs.

    Args:
        mailbox: to the broker.
        custody: where the alerts wait.
        hub: the hub's own address.
        facts: where "alert.sent" is said.
        state: the state as it is now.
        state_every: seconds between two of them, at least.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        custody: Custody,
        *,
        hub: Eui64,
        facts: Facts,
        state: Callable[[], HubState],
        state_every: float,
    ) -> None:
        self._mailbox = mailbox
        self._custody = custody
        self._hub = hub
        self._facts = facts
        self._answers: deque[Message] = deque(maxlen=LONGEST_QUEUE)
        self._latest: dict[str, Message] = {}
        self._state = state
        self._state_every = state_every
        self._is_state_old = False
        self._state_due = -math.inf
        self._work = asyncio.Event()

    def put(self, *messages: Message) -> None:
        """Send these; a Progress takes the place of an older one that has not gone out yet."""
        for message in messages:
            match message:
                case Progress(device=device):
                    self._latest[f"progress {device}"] = message
                case _:
                    self._answers.append(message)
        self.wake()

    def restate(self) -> None:
        """The state has changed: tell it as soon as may be."""
        self._is_state_old = True
        self.wake()

    def wake(self) -> None:
        """Look for alerts that the flash has got meanwhile."""
        self._work.set()

    async def run(self) -> None:
        """Publish, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while await self._one():
                pass
            if self._is_state_old:
                alarm = asyncio.get_running_loop().call_at(self._state_due, self.wake)
                try:
                    await self._work.wait()
                finally:
                    alarm.cancel()

    async def _one(self) -> bool:
        """Publish the most urgent message; False if there is none."""
        alerts = self._custody.memory.alerts
        now = asyncio.get_running_loop().time()
        if self._is_state_old and now >= self._state_due:
            # Before the alerts: after days without a broker it says how many there are to come.
            self._is_state_old, self._state_due = False, now + self._state_every
            await self._publish(self._state())
        elif alerts:
            await self._mailbox.publish(alerts[0].topic, alerts[0].payload)
            self._custody.acknowledged(alerts[0].id)
            self._is_state_old = True
            self._facts.say("hub", "alert.sent", id=alerts[0].id)
        elif self._answers:
            await self._publish(self._answers.popleft())
        elif self._latest:
            await self._publish(self._latest.pop(next(iter(self._latest))))
        else:
            return False
        return True

    async def _publish(self, message: Message) -> None:
        await self._mailbox.publish(
            topic_of(self._hub, message), encode(message), retain=isinstance(message, HubState)
        )
