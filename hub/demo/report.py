"""What the demo can be held to: requests, alerts, preemptions and retention, collected from the facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from han.facts import Fact


class RequestRow(msgspec.Struct, kw_only=True):
    """One Service Request for one device, from accepted to its outcome. Times are virtual seconds."""

    service_request: str
    request_id: str
    device: str
    device_type: str
    image: str | None = None
    outcome: str | None = None
    reason: str = ""
    """Why it ended so, where anybody said why."""
    ok: bool = False
    version_before: str | None = None
    version_after: str | None = None
    bytes: int = 0
    """Octets of the file that the hub sent to the device, each counted once."""
    blocks: int = 0
    """Image Block Responses with data, repeated ones counted each time."""
    download_seconds: float | None = None
    accepted_at: float = 0.0
    ended_at: float | None = None


class AlertRow(msgspec.Struct, kw_only=True, frozen=True):
    """An alert as the DSP stub received it."""

    kind: str
    code: str
    response: int | None
    device: str
    file_version: str
    at: float
    id: str
    gbcs: str
    """The GBCS message in hex: ``gbhan gbcs decode`` explains it."""


class MessageRow(msgspec.Struct, kw_only=True, frozen=True):
    """A GBCS message that the head end sent to a device or got from the house."""

    kind: str
    device: str
    at: float
    gbcs: str
    """In hex: ``gbhan gbcs decode`` explains it."""


class PreemptionRow(msgspec.Struct, kw_only=True, frozen=True):
    """An image that had to go though somebody still wanted it; ``stage``: on the "wan", or on the "han"."""

    stage: str
    image: str
    by: str
    at: float
    why: str


class RetentionRow(msgspec.Struct, kw_only=True):
    """The image nobody collected: what the hub said it held on day 15, and what took its place when."""

    image: str | None = None
    day: int = 15
    held: bool = False
    displaced_on_day: float | None = None
    displaced_by: str | None = None


class RebuiltRow(msgspec.Struct, kw_only=True, frozen=True):
    """An upgrade file as a stranger with the keys reads it from the capture."""

    image: str
    file: str
    device: str
    bytes: int
    sha256: str
    matches: bool


class DeviceRow(msgspec.Struct, kw_only=True, frozen=True):
    """What became of one device's update, where the demo updates every device of a house."""

    name: str
    device: str
    device_type: str
    personality: str
    outcome: str
    """See `han.sim.personality.Outcome`."""
    reason: str
    """Why the outcome is what it is, where it is not "updated"."""
    version_before: str
    version_after: str | None
    """What it runs now, as far as anybody could find out."""
    expected: str
    ok: bool
    """Whether the outcome is the expected one."""


class Report(msgspec.Struct, kw_only=True):
    """The demo's one JSON document."""

    ok: bool = False
    seed: int
    wall_seconds: float = 0.0
    virtual_seconds: float = 0.0
    requests: list[RequestRow] = msgspec.field(default_factory=list)
    alerts: list[AlertRow] = msgspec.field(default_factory=list)
    messages: list[MessageRow] = msgspec.field(default_factory=list)
    """Every GBCS message, in the order in which the head end sent or received them."""
    preemptions: list[PreemptionRow] = msgspec.field(default_factory=list)
    retention: RetentionRow = msgspec.field(default_factory=RetentionRow)
    devices: list[DeviceRow] = msgspec.field(default_factory=list)
    """One for each device of a house that is not the demo's own."""
    rebuilt: list[RebuiltRow] = msgspec.field(default_factory=list)
    frames: int = 0
    hardware: str = "never run on hardware: the radio, the air and the devices are simulated"
    unmet: list[str] = msgspec.field(default_factory=list)
    """What the story promised and did not happen; empty when ``ok``."""


@dataclass(slots=True)
class _Download:
    first: float | None = None
    last: float = 0.0
    offsets: dict[int, int] = field(default_factory=dict)
    blocks: int = 0


class Collector:
    """Fills a report from the facts."""

    def __init__(self, report: Report, device_types: dict[str, str]) -> None:
        self._report = report
        self._types = device_types
        self._open: dict[str, RequestRow] = {}
        self._downloads: dict[str, _Download] = {}
        self._images: dict[str, str] = {}

    def name_image(self, image_id: str, request_id: str) -> None:
        """Note which image a request is about."""
        self._images[request_id] = image_id
        for row in self._report.requests:
            if row.request_id == request_id:
                row.image = image_id

    def hear(self, fact: Fact) -> None:
        """Take what this fact tells."""
        match fact.who, fact.what:
            case "dsp", "request.accepted":
                self._accepted(fact)
            case "dsp", "request.ended":
                self._ended(fact)
            case "dsp", "request.confirmed":
                self._confirmed(fact)
            case "dsp", "alert.received":
                self._alert(fact)
            case "csp", "csp.asked" | "csp.answered":
                self._message(_COMMANDS.get((fact.service, fact.what), ""), fact)
            case "hub", "ota.block":
                self._block(fact)
            case "hub", "slot.preempted":
                self._preempted(fact)
            case _:
                pass

    def _accepted(self, fact: Fact) -> None:
        for device in fact.devices:
            row = RequestRow(
                service_request=fact.service,
                request_id=fact.request,
                device=device,
                device_type=self._types.get(device, "unknown"),
                accepted_at=fact.at,
                image=self._images.get(fact.request),
            )
            self._report.requests.append(row)
            if fact.service in ("11.1", "11.4"):
                self._open[device] = row
                self._downloads[device] = _Download()

    def _block(self, fact: Fact) -> None:
        download = self._downloads.get(fact.device)
        if download is None:
            return
        if download.first is None:
            download.first = fact.at
        download.last = fact.at
        download.blocks += 1
        download.offsets[fact.offset] = max(fact.size, download.offsets.get(fact.offset, 0))

    def _ended(self, fact: Fact) -> None:
        row = next(
            (
                row
                for row in self._report.requests
                if row.request_id == fact.request and row.device == fact.device
            ),
            None,
        )
        if row is None:
            return
        row.outcome, row.reason, row.ok, row.ended_at = fact.outcome, fact.why, fact.ok, fact.at
        row.version_before, row.version_after = fact.version_before, fact.version_after
        download = self._downloads.pop(fact.device, None) if self._open.get(fact.device) is row else None
        if download is not None and download.first is not None:
            del self._open[fact.device]
            row.bytes = sum(download.offsets.values())
            row.blocks = download.blocks
            row.download_seconds = round(download.last - download.first, 6)

    def _confirmed(self, fact: Fact) -> None:
        for row in self._report.requests:
            if row.request_id == fact.request and row.device == fact.device:
                row.version_after = fact.version

    def _message(self, kind: str, fact: Fact) -> None:
        if kind and fact.gbcs:
            self._report.messages.append(
                MessageRow(kind=kind, device=fact.device, at=fact.at, gbcs=fact.gbcs)
            )

    def _alert(self, fact: Fact) -> None:
        self._message(fact.kind, fact)
        self._report.alerts.append(
            AlertRow(
                kind=fact.kind,
                code=fact.code,
                response=fact.response,
                device=fact.device,
                file_version=fact.file_version,
                at=fact.raised_at,
                id=fact.id,
                gbcs=fact.gbcs,
            )
        )

    def _preempted(self, fact: Fact) -> None:
        if not fact.unfinished:
            return  # nobody needed it any more: the space was free
        self._report.preemptions.append(
            PreemptionRow(
                stage=_STAGES.get(fact.stage, fact.stage),
                image=fact.image,
                by=fact.by,
                at=fact.at,
                why=fact.why,
            )
        )


_COMMANDS = {
    ("11.2", "csp.asked"): "cs08-command",
    ("11.2", "csp.answered"): "cs08-response",
    ("11.3", "csp.asked"): "cs06-command",
}
"""What the message is that goes with a request, or comes with its answer; CS06 is answered by an alert."""

_STAGES = {"arriving": "wan", "stored": "han"}
"""How far an image was: on its way to the hub, or in the slot and being downloaded or waiting to be."""


def as_json(report: Report) -> Any:  # noqa: ANN401 - plain JSON data
    """The report as plain data for a JSON document."""
    return msgspec.to_builtins(report)
