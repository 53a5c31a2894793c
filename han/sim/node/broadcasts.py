"""Which broadcasts were heard, and who has passed each on: the broadcast transaction table (Zigbee 3.6.5).

A router passes each broadcast on once, and repeats it unless it hears every router around it do the same:
that is the passive acknowledgement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MEMORY: Final = 9.0
"""Seconds for which a broadcast is remembered, so that it is heard once (nwkNetworkBroadcastDeliveryTime)."""
CAPACITY: Final = 64

Key = tuple[int, int]
"""A broadcast's originator and sequence number."""


class _Transaction:
    __slots__ = ("expires", "passed_on_by")

    def __init__(self, expires: float) -> None:
        self.expires = expires
        self.passed_on_by: set[int] = set()


class Broadcasts:
    """The broadcasts of the last seconds."""

    def __init__(self) -> None:
        self._transactions: dict[Key, _Transaction] = {}

    def clear(self) -> None:
        """Remember none."""
        self._transactions.clear()

    def begin(self, key: Key, now: float) -> None:
        """We are about to send this one ourselves."""
        self._heard(key, now)

    def hear(self, key: Key, via: int, now: float) -> bool:
        """This one came from the antenna of ``via``. False: it is known, or there is no room to keep it."""
        known = self._transactions.get(key)
        fresh = known is None or known.expires <= now
        if fresh:
            known = self._heard(key, now)
        if known is not None:
            known.passed_on_by.add(via)
        return fresh and known is not None

    def is_through(self, key: Key, routers: Iterable[int]) -> bool:
        """Whether all of these have passed it on, and there is at least one."""
        known = self._transactions.get(key)
        if known is None:
            return True
        passed_on = known.passed_on_by
        return bool(passed_on) and all(each in passed_on for each in routers)

    def _heard(self, key: Key, now: float) -> _Transaction | None:
        transactions = self._transactions
        for old in [each for each, entry in transactions.items() if entry.expires <= now]:
            del transactions[old]
        if len(transactions) >= CAPACITY:
            return None
        entry = transactions[key] = _Transaction(now + MEMORY)
        return entry
