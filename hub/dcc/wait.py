"""Waiting for a moment or for a ring, whichever comes first."""

from __future__ import annotations

import asyncio

from han.clock import Utc

_LONGEST = 3600.0
"""Seconds after which a long wait looks at the clock again: the system's may be corrected meanwhile."""

_MARGIN = 0.0005
"""Seconds to sleep beyond the moment: UTC has microseconds, so a bare wait might end just before it."""


class Alarm:
    """An event with a deadline in UTC."""

    def __init__(self, utc: Utc) -> None:
        self._utc = utc
        self._event = asyncio.Event()

    def ring(self) -> None:
        """End the present wait, or the next one at once."""
        self._event.set()

    async def wait(self, until: float | None) -> None:
        """Return when it rings or when this moment has come; None: only when it rings."""
        while until is None or self._utc.seconds() < until:
            try:
                async with asyncio.timeout(None if until is None else self._left(until)):
                    await self._event.wait()
            except TimeoutError:
                continue
            break
        self._event.clear()

    def _left(self, until: float) -> float:
        return min(_LONGEST, until - self._utc.seconds() + _MARGIN)
