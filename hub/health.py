"""What a hub tells of its own health, whether or not anybody at the broker asks. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec

from hub.memory import Memory
from hub.messages import Dongle, Health, Utc


class _Raised(msgspec.Struct):
    """Of an alert: when it was raised."""

    utc: Utc


def _own_version() -> str:
    try:
        return version("gbhan")
    except PackageNotFoundError:
        return ""  # run from a folder that was never installed


OWN_VERSION: Final = _own_version()


class HealthRecord:
    """Follows what may fail, and reports it with the moment since when it is so.

    Args:
        utc: the present time.
        seconds: a clock that nobody sets.
        memory: what the hub keeps now: the alerts that wait are in it.
        free: octets that the disk still takes, if that can be known.
        dongle: what stands at the other end of the serial line, if it has told.
    """

    def __init__(
        self,
        utc: Callable[[], datetime],
        seconds: Callable[[], float],
        *,
        memory: Callable[[], Memory],
        free: Callable[[], int | None],
        dongle: Callable[[], Dongle | None],
    ) -> None:
        self._utc = utc
        self._seconds = seconds
        self._memory = memory
        self._free = free
        self._dongle = dongle
        self._began, self._since = seconds(), utc()
        self._is_radio_up, self._radio_since = True, self._since
        self._refusal = ""

    def radio(self, *, is_up: bool) -> None:
        """The dongle went, or came back."""
        if is_up is not self._is_radio_up:
            self._is_radio_up, self._radio_since = is_up, self._utc()

    def refused(self, why: str) -> None:
        """The disk takes nothing more."""
        self._refusal = why[:512]

    def report(self) -> Health:
        """How things stand now."""
        alerts = self._memory().alerts
        return Health(
            version=OWN_VERSION,
            since=self._since,
            uptime=round(self._seconds() - self._began, 1),
            radio_up=self._is_radio_up,
            radio_since=self._radio_since,
            dongle=self._dongle(),
            alerts_waiting=len(alerts),
            alerts_since=msgspec.json.decode(alerts[0].payload, type=_Raised).utc if alerts else None,
            flash_free=self._free(),
            flash_refusal=self._refusal,
        )
