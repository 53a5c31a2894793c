"""What the head end remembers, as values: requests, their parts, errands, notices, story."""

from __future__ import annotations

from dataclasses import dataclass, field

from han.gbcs.payloads import CANCEL
from hub.dcc.controls import Service
from hub.dcc.lifecycle import Result, Stage
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRequest:
    """A Service Request as it was judged. ``response`` is the answer as JSON; times are seconds of UTC.

    ``image_hash`` is a Manufacturer Image Hash: what an 11.3 names, or that of an update's image.
    """

    request_id: str
    service: Service
    fingerprint: str
    submitted_at: float
    response: str
    image_id: str | None = None
    version: str | None = None
    image_hash: str | None = None
    execution_time: float | None = None
    originator_counter: int | None = None

    @property
    def cancels(self) -> bool:
        """Whether this 11.3 lets the device forget a pending activation."""
        return self.execution_time == CANCEL.timestamp()

    @property
    def executes_at(self) -> float | None:
        """When a future-dated 11.3 is to be executed."""
        return None if self.cancels else self.execution_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A request for one of its devices; ``result`` and ``ended_at`` are None while it is open."""

    request_id: str
    device: Eui64
    position: int
    service: Service
    device_type: str
    hub: Eui64
    stage: Stage
    accepted_at: float
    deadline: float
    image_id: str | None = None
    version: str | None = None
    version_before: str | None = None
    version_after: str | None = None
    result: Result | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something to carry to a hub, with its count of failures (control 2)."""

    errand_id: str
    request_id: str
    hub: Eui64
    service: Service
    first_at: float
    next_at: float
    image_id: str | None = None
    failures: int = 0
    round: int = 0
    finished: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a hub or the CSP tells the DSP. The id is the same however often it is told."""

    notice_id: str
    kind: str
    hub: Eui64
    body: bytes = field(repr=False)
    received_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryLine:
    """One line of a request's story; ``code`` is a GB code where there is one."""

    request_id: str
    at: float
    event: str
    code: str = ""
    text: str = ""
    device: Eui64 | None = None
