"""The three distribution controls that SECMP0007 put at the head end.

Control 1 keeps a device from being given a second update while the first is in progress. Control 2 says
when the CSP tries again after a Communications Hub was too busy or not available. Control 3 lets the CSP hand
its notifications over in batches. All three are decisions as values: this file starts no task, knows no clock
and sends nothing; times are seconds of UTC, given by the caller. Numbers that no source settles are settings,
with a default and its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Generic, TypeVar

HOUR = 3600.0
DAY = 24 * HOUR

T = TypeVar("T")
D = TypeVar("D")


class Service(StrEnum):
    """The Service Requests of firmware update, by their DUIS numbers."""

    UPDATE_FIRMWARE = "11.1"
    READ_FIRMWARE_VERSION = "11.2"
    ACTIVATE_FIRMWARE = "11.3"
    UPDATE_PPMID_FIRMWARE = "11.4"

    @property
    def is_update(self) -> bool:
        """Whether this request carries an image, and so counts as an update in progress."""
        return self in UPDATES


UPDATES = frozenset({Service.UPDATE_FIRMWARE, Service.UPDATE_PPMID_FIRMWARE})


class Milestone(Enum):
    """What a device must have reached for its update to be complete."""

    TRANSFERRED = "transferred"
    ACTIVATED = "activated"


@dataclass(frozen=True, slots=True)
class Split(Generic[D]):
    """Devices that may have an update, and those that have one in progress; both in the order asked."""

    free: tuple[D, ...]
    busy: tuple[D, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InProgress:
    """Control 1: one update at a time for each HAN device, whatever its type.

    Attributes:
        completes: at which milestone each kind of update is complete: 11.1 at the Firmware Transfer Alert,
            11.4 at the PPMID's activation alert. Failure or expiry ends either.
        expiry: seconds after which an update no longer blocks its device and ends as expired. No source gives
            the number; twice the minimum retention leaves room for an image that is kept beyond it.
        activation_wait: seconds to wait, once transferred, for an activation report that an old PPMID never
            sends.
    """

    completes: Mapping[Service, Milestone] = field(
        default_factory=lambda: {
            Service.UPDATE_FIRMWARE: Milestone.TRANSFERRED,
            Service.UPDATE_PPMID_FIRMWARE: Milestone.ACTIVATED,
        }
    )
    expiry: float = 28 * DAY
    activation_wait: float = 1 * DAY

    def expires_at(self, accepted_at: float) -> float:
        """When an update accepted then stops blocking its device."""
        return accepted_at + self.expiry

    def split(self, devices: Iterable[D], open_since: Mapping[D, float], now: float) -> Split[D]:
        """Tell the free devices from those with an update in progress.

        Args:
            devices: what a Service User asks for.
            open_since: for each device with an update that has not ended, when that was accepted.
            now: the present time; an update past its expiry blocks nothing, even if nobody has ended it yet.
        """
        free: list[D] = []
        busy: list[D] = []
        for device in devices:
            since = open_since.get(device)
            blocked = since is not None and now < self.expires_at(since)
            (busy if blocked else free).append(device)
        return Split(tuple(free), tuple(busy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Control 2: when to try again after "too busy" or "not available".

    Today: once at once, then every hour for 24 hours, then a time-out. The working group proposed four days
        in
    all cases; whether that was adopted is not known, so the horizon is a setting.
    """

    immediate: int = 1
    period: float = HOUR
    horizon: float = DAY

    def __post_init__(self) -> None:
        if self.immediate < 0 or self.period <= 0 or self.horizon < 0:
            raise ValueError("retries need immediate >= 0, a period above 0 s and a horizon of at least 0 s")

    def next_attempt(self, first_at: float, failures: int, now: float) -> float | None:
        """When to try again after so many failures in a row, the first attempt of which was at ``first_at``.

        Returns:
            A time not before ``now``, or None when the horizon has passed: give up.
        """
        if failures <= self.immediate:
            return now
        at = max(now, first_at + (failures - self.immediate) * self.period)
        return at if at <= first_at + self.horizon else None


@dataclass(slots=True)
class Attempts:
    """The failures in a row of one errand, and when they began. Any progress starts the count anew."""

    retries: Retries
    first_at: float
    failures: int = 0

    def failed(self, now: float) -> float | None:
        """Count a failure; when to try again, or None to give up."""
        self.failures += 1
        return self.retries.next_attempt(self.first_at, self.failures, now)

    def progressed(self, now: float) -> None:
        """The other end took something: later failures are counted from here."""
        self.first_at, self.failures = now, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Control 3: hand notifications over when so many have come, or so long after the first. Off by default.

    Attributes:
        size: how many make a batch; 1 hands each over at once.
        interval: seconds after which an incomplete batch is handed over.
    """

    size: int = 1
    interval: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.interval < 0:
            raise ValueError("a batch needs a size of at least 1 and an interval of at least 0 s")
        if self.size > 1 and self.interval == 0:
            raise ValueError("a batch of more than one needs an interval above 0 s, or it may wait for ever")


class Batch(Generic[T]):
    """Collects notifications and says when to hand them over."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._items: list[T] = []
        self._due: float | None = None

    def add(self, item: T, now: float) -> None:
        """Put a notification into the batch."""
        self._items.append(item)
        if len(self._items) >= self._settings.size:
            self._due = now
        elif self._due is None:
            self._due = now + self._settings.interval

    def timer(self) -> float | None:
        """When the batch is to be handed over; None while it is empty."""
        return self._due

    def drain(self, now: float) -> list[T]:
        """The whole batch once it is due, else nothing."""
        if self._due is None or now < self._due:
            return []
        items, self._items, self._due = self._items, [], None
        return items
