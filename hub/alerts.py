"""The alerts that the hub owes, each once, written down in the same step as what it reports.

An alert's id is made from what it reports, so a decision taken twice around a power cut still raises it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from han.facts import Facts
from han.gbcs import payloads
from han.gbcs.messages import firmware_transfer
from hub import messages
from hub.memory import Memory, QueuedAlert, remember
from hub.messages import Alert, Envelopes, FirmwareTransferAlert
from hub.reckoning import Moment
from hub.slot import Assignment, Fate, Held
from ota.eui64 import Eui64

UNKNOWN_VERSION: Final = "FFFFFFFF"
"""For an image that goes before its version was known: the cluster's wildcard."""

SUCCESS_CODE: Final = "0x8F8A"
FAILURE_CODE: Final = "0x8F89"


@dataclass(frozen=True, slots=True)
class Report:
    """One outcome of a transfer as CCS08 tells it: alert code, response code, and why in words."""

    code: str
    response: int
    why: str = ""

    @property
    def fate(self) -> Fate:
        """What it means for the target."""
        return Fate.FINISHED if self.response == 0 else Fate.FAILED


def transferred(why: str = "") -> Report:
    """The device holds the image."""
    return Report(SUCCESS_CODE, 0, why)


def discarded(why: str) -> Report:
    """The hub let the image go before the device had it."""
    return Report(FAILURE_CODE, 1, why)


def hardware_mismatch(why: str) -> Report:
    """The device's hardware lies outside the image's range."""
    return Report(FAILURE_CODE, 2, why)


def failed(why: str) -> Report:
    """The device could not take the image, or would not."""
    return Report(FAILURE_CODE, 3, why)


class Alerts:
    """Puts alerts into a memory that is about to be kept, and says so once it is kept.

    Args:
        hub: the Communications Hub's own EUI-64.
        facts: where "alert.raised" is said.
        envelopes: for the alerts.
        now: the present moment.
        tells_transfers: whether CCS08 is sent; a hub from before SECMP0007 has none.
    """

    def __init__(
        self,
        hub: Eui64,
        facts: Facts,
        envelopes: Envelopes,
        now: Callable[[], Moment],
        *,
        tells_transfers: bool = True,
    ) -> None:
        self._hub = hub
        self._facts = facts
        self._envelopes = envelopes
        self._now = now
        self._tells_transfers = tells_transfers
        self._unsaid: list[Alert] = []  # raised, but not on the flash yet

    def owe(self, memory: Memory, alert: Alert) -> Memory:
        """The memory in which this alert is owed; the same memory if it was raised before."""
        if alert.id in memory.raised:
            return memory
        self._unsaid.append(alert)
        queued = QueuedAlert(
            id=alert.id, topic=messages.topic_of(self._hub, alert), payload=messages.encode(alert)
        )
        return msgspec.structs.replace(
            memory, alerts=(*memory.alerts, queued), raised=remember(memory.raised, alert.id)
        )

    def report(self, memory: Memory, image_id: str, to: Assignment, report: Report) -> Memory:
        """The memory in which CCS08 is owed for one target of an image that it holds."""
        if not self._tells_transfers:
            return memory
        now = self._now()
        versions = [kept.file_version for kept, held in memory.holding() if held.image_id == image_id]
        version = next(iter(versions), None) or UNKNOWN_VERSION
        told = payloads.FirmwareTransferAlert(
            now.utc, to.device, int(version, 16), payloads.TransferResult(report.response)
        )
        # The counter is kept in the same write as the alert: no two messages ever carry the same one.
        memory = msgspec.structs.replace(memory, originator_counter=memory.originator_counter + 1)
        alert = FirmwareTransferAlert(
            device=str(to.device),
            file_version=version,
            code=report.code,
            response=report.response,
            at=now.at,
            reason=report.why[:512],
            gbcs=firmware_transfer(self._hub, memory.originator_counter, told).to_bytes().hex(),
            image_id=image_id,
            request_id=to.request_id,
            **self._envelopes.stamp(alert_id(self._hub, "CCS08", image_id, to.request_id, to.device)),
        )
        return self.owe(memory, alert)

    def let_go(self, memory: Memory, image: Held, why: str) -> Memory:
        """The memory in which CCS08 is owed for each target that will not get this image of its slot."""
        for each in image.unfinished:
            memory = self.report(memory, image.image_id, each, discarded(why))
        return memory

    def say(self) -> None:
        """Say which alerts are owed now; called when they are on the flash, as no power cut unsays a fact."""
        raised, self._unsaid = self._unsaid, []
        for alert in raised:
            self._facts.say(
                "hub",
                "alert.raised",
                id=alert.id,
                kind=alert.TOPIC,
                code=alert.code,
                response=alert.response,
                device=alert.device,
                why=alert.reason,
            )


def alert_id(hub: Eui64, kind: str, *about: object) -> str:
    """The same for the same cause, whoever computes it and when."""
    named = "|".join([hub.hex, kind, *(str(each) for each in about)])
    return f"{kind}-{hashlib.sha256(named.encode()).hexdigest()[:32]}"
