"""What notices and the passing of time mean for open requests.

The ledger reads a notice, finds the parts of requests that it concerns, moves them by the tables of
`hub.dcc.lifecycle` and writes the story, all in the caller's transaction. A notice that concerns nobody any
more (late, or from before this database) is told in the story where it belongs, if anywhere, and changes no
outcome: a request has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from han.facts import Facts
from hub.dcc.controls import UPDATES, Service
from hub.dcc.delivery import DELIVERY, Delivery
from hub.dcc.lifecycle import Happening, Result, Stage, follow, table_for
from hub.dcc.proof import Belief, Finding, examine
from hub.dcc.records import KeptRequest, Notice, Part, StoryLine
from hub.dcc.settings import DspSettings
from hub.dcc.store import Change
from hub.messages import (
    MESSAGES,
    REMOVED,
    ActivationOutcome,
    Alert,
    FirmwareTransferAlert,
    FirmwareVerificationAlert,
    PpmidActivationAlert,
    decode,
)
from ota.eui64 import Eui64

_TRANSFER = {
    0: Happening.TRANSFERRED,
    1: Happening.DISCARDED,
    2: Happening.HARDWARE_MISMATCH,
    3: Happening.TRANSFER_FAILED,
}
"""The response codes of CCS08."""

_PPMID_ACTIVATION = {0: Happening.ACTIVATED, 1: Happening.ACTIVATION_FAILED}
"""The activate-image codes of CS09."""

_ACTIVATION = {
    0: Happening.ACTIVATED,
    1: Happening.NO_IMAGE_HELD,
    2: Happening.HASH_MISMATCH,
    3: Happening.ACTIVATION_FAILED,
}
"""The activateImageResponseCodes of CS06."""

_RECEIPT = {"0x8F72": "good", "0x8F1C": "bad: the device has discarded the image"}
"""What a receipt's alert code says of the image's signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a part learns: the happening, how the story words it, and the version that comes with it."""

    happening: Happening
    event: str
    code: str = ""
    text: str = ""
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Books notices and time-outs, by these settings, and says them as facts."""

    settings: DspSettings
    facts: Facts

    def book(self, change: Change, notice: Notice, now: float) -> list[Part]:
        """Act on a notice that has been kept, and note that this is done; gives the parts that ended."""
        entry = _Entry(self.settings, self.facts, change, now)
        change.notices.applied(notice.notice_id, now)
        if notice.kind == DELIVERY:
            entry.delivered(notice.hub, msgspec.json.decode(notice.body, type=Delivery))
            return entry.ended
        message = decode(notice.body, MESSAGES[notice.kind])
        if not isinstance(message, Alert):
            self.facts.say("dsp", "alert.unknown", kind=notice.kind, id=notice.notice_id)
            return []
        finding = self.examine(change, notice.hub, message)
        if finding.belief is Belief.REFUSED:
            entry.refuse(notice.hub, message, finding.why)
        else:
            entry.doubt = finding.why
            entry.book(notice.hub, message)
        return entry.ended

    def examine(self, change: Change, hub: Eui64, alert: Alert) -> Finding:
        """What an alert is worth; of one that is refused `book` concludes nothing."""
        counter = None
        if isinstance(alert, ActivationOutcome):
            request = change.requests.get(alert.request_id)
            counter = None if request is None else request.originator_counter
        return examine(alert, hub, counter, self.settings.trust)

    def time_up(self, change: Change, now: float) -> list[Part]:
        """End what has waited long enough; gives the parts that ended."""
        entry = _Entry(self.settings, self.facts, change, now)
        for part in change.parts.due(now):
            entry.learn(part, Told(happening=Happening.TIME_UP, event="time up"))
        return entry.ended


@dataclass(slots=True)
class _Entry:
    """One entry in the ledger: a transaction, its moment, and the parts that ended in it."""

    settings: DspSettings
    facts: Facts
    change: Change
    now: float
    ended: list[Part] = field(default_factory=list)
    doubt: str = ""
    """Why the alert being booked could not be verified; empty if it was."""

    def book(self, hub: Eui64, alert: Alert) -> None:
        """Act on an alert that is believed."""
        match alert:
            case FirmwareTransferAlert():
                self._transfer(hub, alert)
            case PpmidActivationAlert():
                self._ppmid_activation(hub, alert)
            case FirmwareVerificationAlert():
                self._receipt(hub, alert)
            case ActivationOutcome():
                self._activation(hub, alert)
            case _:
                self.facts.say("dsp", "alert.unknown", kind=alert.TOPIC, id=alert.id)

    def refuse(self, hub: Eui64, alert: Alert, why: str) -> None:
        """Tell of an alert that is not believed, and conclude nothing from it."""
        self.facts.say(
            "dsp",
            "alert.refused",
            kind=alert.TOPIC.removeprefix("alert/"),
            code=alert.code,
            device=alert.device,
            hub=str(hub),
            id=alert.id,
            why=why,
            gbcs=alert.gbcs,
        )
        device = Eui64.parse(alert.device)
        if isinstance(alert, FirmwareTransferAlert | ActivationOutcome):
            about = [part for part in self.change.parts.of(alert.request_id) if part.device == device]
        else:
            about = [part for part in self.change.parts.open(device=device) if part.service.is_update]
        for part in about:
            self._tell(part, "alert refused", code=alert.code, text=why)

    # --- notices -------------------------------------------------------------------------------------------

    def delivered(self, hub: Eui64, delivery: Delivery) -> None:
        """Act on the end of an errand."""
        codes = self.settings.alert_codes
        for part in self.change.parts.of(delivery.request_id):
            if part.hub != hub:
                continue
            code = ""
            if part.service.is_update:
                code = {
                    Happening.DELIVERED: codes.delivered,
                    Happening.NOT_DELIVERED: codes.not_delivered,
                }.get(delivery.happening, "")
            told = Told(
                happening=delivery.happening,
                event=f"Communications Hub: {delivery.happening.value}",
                code=code,
                text=delivery.reason or ("" if delivery.code == "ok" else delivery.code),
                version=delivery.file_version,
            )
            self.learn(part, told)
            if told.version is not None:
                self._version_read(part.device, hub, told.version)

    def _transfer(self, hub: Eui64, alert: FirmwareTransferAlert) -> None:
        device = Eui64.parse(alert.device)
        parts = [
            part
            for part in self.change.parts.of(alert.request_id)
            if part.device == device and part.hub == hub and part.image_id == alert.image_id
        ]
        happening = None if alert.response is None else _TRANSFER.get(alert.response)
        self._alert(alert, parts, happening, "Firmware Transfer Alert")

    def _ppmid_activation(self, hub: Eui64, alert: PpmidActivationAlert) -> None:
        device = Eui64.parse(alert.device)
        parts = [part for part in self.change.parts.open(device=device, hub=hub) if part.service.is_update]
        happening = None if alert.response is None else _PPMID_ACTIVATION.get(alert.response)
        if happening is Happening.ACTIVATED:
            self.change.inventory.put_version(device, hub, alert.file_version)
            # A PPMID may tell of an activation that nobody here asked for; it must not end another request.
            parts = [part for part in parts if part.version == alert.file_version]
        if not parts:
            last = self.change.parts.last_ended(device, UPDATES)
            parts = [] if last is None else [last]
        self._alert(alert, parts, happening, "PPMID Activation Alert")

    def _receipt(self, hub: Eui64, alert: FirmwareVerificationAlert) -> None:
        """Tell it where the image was distributed; that the device has it, its transfer alert has said."""
        self._received(alert)
        updates = self.change.parts.latest_first(Eui64.parse(alert.device), hub, Service.UPDATE_FIRMWARE)
        digest = alert.manufacturer_image_hash
        named = [part for part in updates if self._image_hash(part) == digest]
        about = (named or updates)[:1]
        if not about:
            self.facts.say("dsp", "alert.unmatched", device=alert.device, code=alert.code, id=alert.id)
            return
        verdict = _RECEIPT.get(alert.code, "of unknown meaning")
        whose = "" if named else ", which is not the image of this request"
        text = f"image signature {verdict}, Manufacturer Image Hash {digest}{whose}"
        event = "Firmware Distribution Receipt Alert"
        if named and alert.code == "0x8F72" and self.change.inventory.hubs().get(hub):
            # A hub from before SECMP0007 sends no transfer alert: this is all that will ever come.
            told = Told(happening=Happening.TRANSFERRED, event=event, code=alert.code, text=text)
            self.learn(about[0], told)
        else:
            self._tell(about[0], event, code=alert.code, text=text)

    def _image_hash(self, part: Part) -> str | None:
        request = self.change.requests.get(part.request_id)
        return None if request is None else request.image_hash

    def _activation(self, hub: Eui64, alert: ActivationOutcome) -> None:
        device = Eui64.parse(alert.device)
        parts = [
            part
            for part in self.change.parts.of(alert.request_id)
            if part.device == device and part.hub == hub
        ]
        request = self.change.requests.get(alert.request_id)
        happening: Happening | None
        if alert.code == REMOVED:
            happening = Happening.REMOVED
        elif alert.response is None:
            cancels = request is not None and request.cancels
            happening = Happening.CANCELLATION_ACCEPTED if cancels else Happening.SCHEDULED
        else:
            happening = _ACTIVATION.get(alert.response)
        self._alert(alert, parts, happening, "activation outcome")
        if request is not None and parts and happening not in {None, Happening.REMOVED}:
            self._replaced(request, device, hub)
        if happening is not Happening.ACTIVATED:
            return
        self.change.inventory.put_version(device, hub, alert.file_version)
        # An 11.1 that is told to wait for its activation (a setting of control 1) has been waiting for this.
        waiting = [
            part
            for part in self.change.parts.open(device=device, hub=hub)
            if part.service.is_update and part.version == alert.file_version
        ]
        for part in waiting:
            told = Told(happening=happening, event="activation outcome", version=alert.file_version)
            self.learn(part, told)

    def _received(self, alert: Alert) -> str:
        """Say that it came; gives the DCC Alert that it makes, if it makes one."""
        dcc_alert = self._dcc_alert(alert)
        self.facts.say(
            "dsp",
            "alert.received",
            kind=alert.TOPIC.removeprefix("alert/"),
            code=alert.code,
            response=alert.response,
            device=alert.device,
            file_version=alert.file_version,
            dcc_alert=dcc_alert,
            id=alert.id,
            raised_at=alert.at,
            unverified=self.doubt,
            gbcs=alert.gbcs,
        )
        return dcc_alert

    def _replaced(self, by: KeptRequest, device: Eui64, hub: Eui64) -> None:
        """A device that has answered a command obeys none with a lower counter any more."""
        for part in self.change.parts.open(device=device, hub=hub):
            if part.service is not Service.ACTIVATE_FIRMWARE:
                continue
            earlier = self.change.requests.get(part.request_id)
            if earlier is not None and (earlier.originator_counter or 0) < (by.originator_counter or 0):
                text = f"the device has since obeyed {by.request_id}"
                self.learn(part, Told(happening=Happening.REPLACED, event="replaced", text=text))

    def _alert(self, alert: Alert, parts: list[Part], happening: Happening | None, event: str) -> None:
        dcc_alert = self._received(alert)
        if not parts:
            self.facts.say("dsp", "alert.unmatched", device=alert.device, code=alert.code, id=alert.id)
        for part in parts:
            if happening is None:
                text = f"response code {alert.response} is unknown: nothing concluded"
                self._tell(part, event, code=alert.code, text=text)
            else:
                reason = f"response {alert.response}" + (f": {alert.reason}" if alert.reason else "")
                reason += f" (DCC Alert {dcc_alert})" if dcc_alert else ""
                version = alert.file_version if happening is Happening.ACTIVATED else None
                told = Told(happening=happening, event=event, code=alert.code, text=reason, version=version)
                self.learn(part, told)

    def _dcc_alert(self, alert: Alert) -> str:
        """The DCC Alert that brings it to the Service User; an HCALCS or meter alerts its Supplier itself."""
        codes = self.settings.alert_codes
        match alert:
            case FirmwareTransferAlert():
                return codes.comms_hub
            case PpmidActivationAlert():
                return codes.ppmid
            case _:
                return ""

    def _version_read(self, device: Eui64, hub: Eui64, version: str) -> None:
        """Keep a version that an 11.2 read; it may confirm an activation that nobody reported."""
        self.change.inventory.put_version(device, hub, version)
        last = self.change.parts.last_ended(device, UPDATES)
        if last is None or last.result is not Result.UNREPORTED or last.version != version:
            return
        if last.version_after is None:
            self.change.parts.confirm(last, version)
            text = f"an 11.2 read {version}: the image is active"
            self._tell(last, "confirmed", text=text)
            self.facts.say(
                "dsp", "request.confirmed", request=last.request_id, device=str(device), version=version
            )

    # --- parts ---------------------------------------------------------------------------------------------

    def learn(self, part: Part, told: Told) -> None:
        """Move a part by what it learns; what does not concern it any more is only told."""
        table = table_for(part.service, self.settings.rules.in_progress)
        next_ = None if part.result is not None else follow(table, part.stage, told.happening)
        after = " (after the end)" if part.result is not None else ""
        self._tell(part, told.event + after, code=told.code, text=told.text)
        if next_ is None:
            why = (
                "it has ended" if part.result is not None else f"nothing to conclude while {part.stage.value}"
            )
            self.facts.say("dsp", "request.unmoved", request=part.request_id, event=told.event, why=why)
        match next_:
            case Stage():
                self._move(part, next_)
            case Result():
                self._end(part, next_, told)
            case None:
                pass

    def _move(self, part: Part, stage: Stage) -> None:
        begins = self.now
        if part.service is Service.ACTIVATE_FIRMWARE:
            request = self.change.requests.get(part.request_id)
            if request is not None and request.executes_at is not None:
                begins = max(self.now, request.executes_at)
        deadline = self.settings.patience.deadline(part.service, stage, part.accepted_at, begins)
        self.change.parts.move(part, stage, deadline)
        self.facts.say(
            "dsp", "request.moved", request=part.request_id, device=str(part.device), stage=stage.value
        )

    def _end(self, part: Part, result: Result, told: Told) -> None:
        self.change.parts.end(part, result, self.now, told.version)
        self._tell(part, "ended", text=result.value)
        self.ended.append(part)
        self.facts.say(
            "dsp",
            "request.ended",
            request=part.request_id,
            service=part.service.value,
            device=str(part.device),
            device_type=part.device_type,
            outcome=result.value,
            ok=result.is_success,
            version_before=part.version_before,
            version_after=told.version,
            why=told.text,
        )

    def _tell(self, part: Part, event: str, *, code: str = "", text: str = "") -> None:
        if self.doubt and code:
            text += f" (unverified: {self.doubt})"
        line = StoryLine(
            request_id=part.request_id, device=part.device, at=self.now, event=event, code=code, text=text
        )
        self.change.story.tell(line)
