"""What the hub answers for: the image in its slot, the fate of each target, the alerts that it owes.

Every method makes one decision and keeps it on the flash in one step, alerts included, before anybody hears
of it. An alert's id is made from what it reports, so a decision taken twice around a power cut still raises
it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from han.facts import Facts
from han.gbcs import payloads
from han.gbcs.messages import firmware_transfer
from hub import messages
from hub.flash import Flash
from hub.memory import Memory, QueuedAlert, remember
from hub.messages import (
    Alert,
    Envelopes,
    FirmwareTransferAlert,
    HeldImage,
    ImageChunk,
    ImageOffer,
    ImageWanted,
    Target,
)
from hub.reckoning import Moment, Reckoning
from hub.slot import (
    Accepted,
    Assignment,
    Candidate,
    Decision,
    Expired,
    Fate,
    Held,
    Joined,
    Preempted,
    Refused,
    Slot,
    SlotSettings,
    Stage,
)
from hub.steady import SteadySettings
from ota.eui64 import Eui64
from ota.image import LARGEST_HEADER, Header, ImageFormatError

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


class Custody:
    """The slot and the flash, kept in step.

    Args:
        flash: where everything is kept; also what was known before a restart.
        settings: the slot's.
        steady: how steps of the clock are told.
        hub: the Communications Hub's own EUI-64.
        facts: where decisions are said.
        envelopes: for the alerts.
        now: the present moment.
    """

    def __init__(
        self,
        flash: Flash,
        settings: SlotSettings,
        *,
        steady: SteadySettings,
        hub: Eui64,
        facts: Facts,
        envelopes: Envelopes,
        now: Callable[[], Moment],
    ) -> None:
        self._flash = flash
        self._slot = Slot(settings, flash.memory.held)
        self._hub = hub
        self._facts = facts
        self._envelopes = envelopes
        self._now = now
        self._reckoning = Reckoning(steady, flash, facts=facts, now=now)
        self._gone: dict[str, str] = {}  # images let go since the start: why
        self._unsaid: list[Alert] = []  # raised, but not on the flash yet
        if self._flash.is_whole():  # a power cut came between the last octet and the storing of it
            self._store_or_discard()

    @property
    def memory(self) -> Memory:
        """What the flash keeps."""
        return self._flash.memory

    @property
    def held(self) -> Held | None:
        """The image in the slot."""
        return self._slot.held

    def image(self) -> bytes | None:
        """The stored image's octets, if one is stored."""
        return self._flash.image()

    def offer(self, offer: ImageOffer) -> list[Decision]:
        """Decide about an offer: Accepted or Joined, perhaps after Preempted; or Refused."""
        now = self._reckoning.seconds()
        refused = self._objection(offer)
        if refused is not None:
            return self._said([refused], offer.image_id)
        wanted = tuple(
            Assignment(Eui64.parse(each.device), each.device_type, offer.request_id, offer.service_request)
            for each in offer.targets
        )
        decisions = self._slot.offer(Candidate(offer.image_id, offer.size, wanted), now)
        memory = self._owe_for(decisions, self.memory)
        memory = msgspec.structs.replace(memory, held=self._slot.held)
        if isinstance(decisions[-1], Accepted):
            self._gone.pop(offer.image_id, None)
            self._flash.begin(msgspec.structs.replace(memory, file_version=offer.file_version))
        elif isinstance(decisions[-1], Joined):
            self._flash.keep(memory)
        return self._said(decisions, offer.image_id)

    def take(self, chunk: ImageChunk) -> tuple[ImageWanted, Held | None]:
        """Take a piece of the arriving image; gives the answer, and the image if that is now stored."""
        held = self._slot.held
        if held is None or held.image_id != chunk.image_id:
            code = "discarded" if chunk.image_id in self._gone else "not-offered"
            why = self._gone.get(chunk.image_id, "this image was not offered, or another has taken its place")
            return self._wanted(chunk.image_id, 0, code, why), None
        if held.stage is Stage.STORED:
            return self._wanted(
                held.image_id, held.size, "repeated", "the image is stored", complete=True
            ), None
        objection = self._chunk_objection(chunk, held)
        if objection is not None:
            code, why = objection
            self._facts.say("hub", "chunk.refused", image=held.image_id, offset=chunk.offset, why=why)
            return self._wanted(held.image_id, self._flash.received, code, why), None
        problem = _header_problem(chunk.data, held.size) if chunk.offset == 0 else None
        if problem is not None:
            return self._reject(held, problem), None
        received = self._flash.append(chunk.offset, chunk.data)
        self._facts.say("hub", "chunk.taken", image=held.image_id, offset=chunk.offset, size=len(chunk.data))
        if received < held.size:
            return self._wanted(held.image_id, received), None
        return self._store_or_discard()

    def stand(self) -> ImageWanted | None:
        """Where an unfinished arrival stands, to be told after a restart or to a sender that asks again."""
        held = self._slot.held
        if held is None:
            return None
        if held.stage is Stage.STORED:
            return self._wanted(held.image_id, held.size, complete=True)
        return self._wanted(held.image_id, self._flash.received)

    def begin(self, device: Eui64, image_id: str) -> None:
        """Note that a download of the image to a target has begun; that outlives a restart."""
        held = self._slot.held
        if held is not None and held.image_id == image_id and self._slot.begin(device):
            self._flash.keep(msgspec.structs.replace(self.memory, held=self._slot.held))

    def pause(self, device: Eui64, *, paused: bool) -> None:
        """Note that the user lets a target rest, or go on; that outlives a restart."""
        if self._slot.pause(device, paused=paused):
            self._flash.keep(msgspec.structs.replace(self.memory, held=self._slot.held))

    def conclude(self, device: Eui64, image_id: str, report: Report) -> bool:
        """Note what became of the image at a target and owe the alert; False if that was known already."""
        held = self._slot.held
        if held is None or held.image_id != image_id:
            return False
        concluded = self._slot.conclude(device, report.fate)
        if concluded is None:
            return False
        memory = self._owe(self.memory, held, concluded, report)
        memory = _with_ended(memory, (concluded,), self._slot.held)
        self._flash.keep(msgspec.structs.replace(memory, held=self._slot.held))
        self._say_raised()
        self._facts.say(
            "hub",
            "slot.concluded",
            device=str(device),
            image=image_id,
            fate=report.fate.value,
            why=report.why,
        )
        return True

    def owe(self, alert: Alert, memory: Memory | None = None) -> bool:
        """Owe any other alert, with a change of memory in the same step; False if it was raised before."""
        base = self.memory if memory is None else memory
        after = self._with_alert(base, alert)
        self._flash.keep(after)
        self._say_raised()
        return after.raised != base.raised

    def acknowledged(self, alert_id: str) -> None:
        """The broker has this alert: it is owed no more."""
        rest = tuple(each for each in self.memory.alerts if each.id != alert_id)
        self._flash.change(alerts=rest)

    def change(self, **changes: object) -> None:
        """Keep other parts of the memory: devices, activations."""
        self._flash.change(**changes)

    def waits_for(self, device: Eui64) -> bool:
        """Whether a stored image waits to be fetched by this device."""
        held = self._slot.held
        if held is None or held.stage is not Stage.STORED:
            return False
        return any(each.device == device for each in held.unfinished)

    def wait(self) -> float:
        """Seconds until ``tick`` should be called."""
        return self._reckoning.wait(self._slot.timer())

    def tick(self) -> list[Decision]:
        """Compare the clocks; let the image go if the slot is set so and its time has come."""
        if self._slot.held is not None:
            self._reckoning.note()
        decisions = self._slot.tick(self._reckoning.seconds())
        if decisions:
            self._flash.clear(self._owe_for(decisions, self.memory))
        return self._said(decisions, "")

    def picture(self) -> HeldImage | None:
        """The slot as the head end is shown it."""
        held = self._slot.held
        if held is None:
            return None
        until = self._slot.retained_until()
        return HeldImage(
            image_id=held.image_id,
            file_version=self.memory.file_version,
            stage=held.stage.value,
            held_for=", ".join(dict.fromkeys(each.device_type for each in held.assignments)),
            received=held.size if held.stage is Stage.STORED else self._flash.received,
            size=held.size,
            unfinished=tuple(str(each.device) for each in held.unfinished),
            retained_until=None if until is None else self._reckoning.utc(until),
        )

    def _objection(self, offer: ImageOffer) -> Refused | None:
        if offer.request_id in self.memory.ended:
            return Refused(f"request {offer.request_id} has ended here: use a new one", "ended")
        if offer.size < LARGEST_HEADER:
            return Refused(f"an upgrade file has more than {offer.size} octets", "invalid-image")
        known = {each.eui64: each.device_type for each in self.memory.devices}
        for target in offer.targets:
            refused = _target_objection(target, offer.service_request, known)
            if refused is not None:
                return refused
        return None

    def _chunk_objection(self, chunk: ImageChunk, held: Held) -> tuple[str, str] | None:
        received = self._flash.received
        if not 0 < len(chunk.data) <= messages.MAXIMUM_CHUNK:
            return "out-of-order", f"a chunk has 1 to {messages.MAXIMUM_CHUNK} octets, not {len(chunk.data)}"
        if hashlib.sha256(chunk.data).hexdigest() != chunk.sha256:
            return "bad-hash", "the chunk's octets do not have its hash"
        if chunk.offset < received:
            return "repeated", f"{received} octets are here already"
        if chunk.offset > received:
            return "out-of-order", f"the next octet wanted is {received}, not {chunk.offset}"
        if chunk.offset + len(chunk.data) > held.size:
            return "out-of-order", f"the chunk ends beyond the {held.size} octets that were offered"
        return None

    def _store_or_discard(self) -> tuple[ImageWanted, Held | None]:
        held = self._slot.held
        assert held is not None, "only a held image arrives"
        data = self._flash.arrived_image()
        if not self._flash.is_whole():
            return self._reject(
                held, "the octets that arrived do not have the SHA-256 of the image offered"
            ), None
        problem = _header_problem(data, held.size)
        if problem is not None:
            return self._reject(held, problem), None
        stored = self._slot.complete(self._reckoning.seconds())
        version = f"{Header.parse(data).file_version:08X}"
        self._flash.store(msgspec.structs.replace(self.memory, held=stored, file_version=version))
        self._facts.say("hub", "slot.stored", image=held.image_id, size=held.size, version=version)
        return self._wanted(held.image_id, held.size, complete=True), stored

    def _reject(self, held: Held, problem: str) -> ImageWanted:
        """What arrived is no upgrade file: let it go, and tell for each target."""
        self._slot.discard()
        memory = self.memory
        for each in held.unfinished:
            memory = self._owe(memory, held, each, discarded(f"not a valid upgrade file: {problem}"))
        self._flash.clear(_with_ended(memory, held.unfinished, None))
        self._say_raised()
        self._gone[held.image_id] = problem
        self._facts.say("hub", "slot.discarded", image=held.image_id, why=problem)
        return self._wanted(held.image_id, 0, "invalid-image", problem)

    def _owe_for(self, decisions: Iterable[Decision], memory: Memory) -> Memory:
        """Add the discard alerts for whoever had to go."""
        for decision in decisions:
            if isinstance(decision, Preempted):
                victim, why = decision.victim, decision.why
            elif isinstance(decision, Expired):
                victim, why = decision.image, "its retention had passed"
            else:
                continue
            self._gone[victim.image_id] = why
            for each in victim.unfinished:
                memory = self._owe(memory, victim, each, discarded(why))
            memory = _with_ended(memory, victim.unfinished, None)
        return memory

    def _owe(self, memory: Memory, held: Held, to: Assignment, report: Report) -> Memory:
        now = self._now()
        version = self.memory.file_version or UNKNOWN_VERSION
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
            image_id=held.image_id,
            request_id=to.request_id,
            **self._envelopes.stamp(alert_id(self._hub, "CCS08", held.image_id, to.request_id, to.device)),
        )
        return self._with_alert(memory, alert)

    def _with_alert(self, memory: Memory, alert: Alert) -> Memory:
        if alert.id in memory.raised:
            return memory
        self._unsaid.append(alert)
        queued = QueuedAlert(
            id=alert.id, topic=messages.topic_of(self._hub, alert), payload=messages.encode(alert)
        )
        return msgspec.structs.replace(
            memory, alerts=(*memory.alerts, queued), raised=remember(memory.raised, alert.id)
        )

    def _say_raised(self) -> None:
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

    def _wanted(
        self, image_id: str, offset: int, code: str = "ok", why: str = "", *, complete: bool = False
    ) -> ImageWanted:
        return msgspec.convert(
            {
                "image_id": image_id,
                "offset": offset,
                "complete": complete,
                "code": code,
                "reason": why[:512],
                **self._envelopes.stamp(),
            },
            ImageWanted,
        )

    def _said(self, decisions: list[Decision], image_id: str) -> list[Decision]:
        self._say_raised()
        for decision in decisions:
            match decision:
                case Accepted(image=image):
                    self._facts.say("hub", "slot.accepted", image=image.image_id, size=image.size)
                case Joined(image=image, added=added):
                    devices = [str(each.device) for each in added]
                    self._facts.say("hub", "slot.joined", image=image.image_id, added=devices)
                case Preempted(victim=victim, by=by, why=why, stage=stage):
                    self._facts.say(
                        "hub",
                        "slot.preempted",
                        image=victim.image_id,
                        by=by,
                        stage=stage.value,
                        unfinished=[str(each.device) for each in victim.unfinished],
                        why=why,
                    )
                case Refused(why=why, code=code):
                    self._facts.say("hub", "slot.refused", image=image_id, why=why, code=code)
                case Expired(image=image):
                    self._facts.say("hub", "slot.expired", image=image.image_id)
        return decisions


def alert_id(hub: Eui64, kind: str, *about: object) -> str:
    """The same for the same cause, whoever computes it and when."""
    named = "|".join([hub.hex, kind, *(str(each) for each in about)])
    return f"{kind}-{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def _with_ended(memory: Memory, concluded: Iterable[Assignment], held: Held | None) -> Memory:
    """Remember the requests of which no target waits any more."""
    waiting = {each.request_id for each in held.unfinished} if held is not None else set()
    ended = memory.ended
    for each in concluded:
        if each.request_id not in waiting:
            ended = remember(ended, each.request_id)
    return msgspec.structs.replace(memory, ended=ended)


def _target_objection(target: Target, service_request: str, known: Mapping[Eui64, str]) -> Refused | None:
    device, kind = Eui64.parse(target.device), target.device_type
    if kind == "IHD":
        why = f"{device} is an IHD: IHDs are outside the firmware update over the air"
    elif (kind == "PPMID") != (service_request == "11.4"):
        why = f"{service_request} is not for a {kind} ({device})"
    elif device not in known:
        return Refused(f"{device} was never admitted to this HAN: join it first", "unknown-device")
    elif known[device] != kind:
        why = f"{device} is a {known[device]} here, not a {kind}"
    else:
        return None
    return Refused(why, "unsupported-device-type")


def _header_problem(data: bytes, size: int) -> str | None:
    """Why no upgrade file of that size starts so; None if one may, or the octets are too few to tell."""
    if len(data) < min(size, LARGEST_HEADER):
        return None
    try:
        header = Header.parse(data)
    except ImageFormatError as error:
        return str(error)
    if header.total_size != size:
        return f"total_size: the header says {header.total_size} octets, the offer {size}"
    return None
