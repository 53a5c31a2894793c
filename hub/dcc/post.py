"""What the head end asks of its place at the broker; `hub.mqtt.Mailbox` is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Post(Protocol):
    """Carries messages at least once, in order; one counts as delivered when its handler has returned."""

    async def on(self, topic_filter: str, handler: Callable[[str, bytes], Awaitable[None]]) -> None:
        """Hand every message on these topics to the handler, now and after every reconnection."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send; returns when the broker has taken it."""
