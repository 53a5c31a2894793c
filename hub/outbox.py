"""What the hub has to say, on its way to the broker.

Alerts wait on the flash until the broker has acknowledged them, in the order in which they were raised. Of
the rest only what is still true is kept while the broker is away: the latest progress of each device, the
latest state.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from han.facts import Facts
from hub.custody import Custody
from hub.messages import HubState, Message, Progress, encode, topic_of
from hub.mqtt import Mailbox
from ota.eui64 import Eui64

LONGEST_QUEUE: Final = 256
"""Answers kept while the broker is away; the oldest go first: whoever asked asks again."""


class Outbox:
    """Publishes, one message after another, for as long as ``run`` runs."""

    def __init__(self, mailbox: Mailbox, custody: Custody, *, hub: Eui64, facts: Facts) -> None:
        self._mailbox = mailbox
        self._custody = custody
        self._hub = hub
        self._facts = facts
        self._answers: deque[Message] = deque(maxlen=LONGEST_QUEUE)
        self._latest: dict[str, Message] = {}
        self._work = asyncio.Event()

    def put(self, *messages: Message) -> None:
        """Send these; a Progress or a HubState takes the place of an older one that has not gone out yet."""
        for message in messages:
            match message:
                case Progress(device=device):
                    self._latest[f"progress {device}"] = message
                case HubState():
                    self._latest["state"] = message
                case _:
                    self._answers.append(message)
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

    async def _one(self) -> bool:
        """Publish the most urgent message; False if there is none."""
        alerts = self._custody.memory.alerts
        if alerts:
            await self._mailbox.publish(alerts[0].topic, alerts[0].payload)
            self._custody.acknowledged(alerts[0].id)
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
