"""A slot and its place on the flash, kept in step: one image, from its offer until it goes.

Every method makes one decision and keeps it on the flash in one step, alerts included, before anybody hears
of it. A berth knows nothing of the other.
"""

from __future__ import annotations

import hashlib

import msgspec

from han.facts import Facts
from hub import messages
from hub.alerts import Alerts, Report
from hub.flash import Flash, ImageDamagedError
from hub.memory import Kept, Memory
from hub.messages import Envelopes, HeldImage, ImageChunk, ImageWanted
from hub.reckoning import Reckoning
from hub.slot import (
    Accepted,
    Assignment,
    Candidate,
    Decision,
    Expired,
    Held,
    Joined,
    Lost,
    MovedToMemory,
    Preempted,
    Refused,
    Slot,
    SlotName,
    SlotSettings,
    Stage,
)
from ota.eui64 import Eui64
from ota.gbcs_image import replaces
from ota.image import LARGEST_HEADER, Header, ImageFormatError

LOST = "it was in memory only, after its time in flash, and the hub restarted"


class Berth:
    """One slot.

    Args:
        name: which slot.
        settings: of all slots.
        flash: where its image is kept; also what was in it before a restart.
        alerts: writes what is owed when an image goes.
        facts: where "chunk.*" and "slot.*" are said.
        envelopes: for the answers to chunks.
        reckoning: the steady time that the slot lives by.
    """

    def __init__(
        self,
        name: SlotName,
        settings: SlotSettings,
        flash: Flash,
        alerts: Alerts,
        *,
        facts: Facts,
        envelopes: Envelopes,
        reckoning: Reckoning,
    ) -> None:
        self.name = name
        self._flash = flash
        self._slot = Slot(settings.of(name), flash.memory.slot(name).held)
        self._alerts = alerts
        self._facts = facts
        self._envelopes = envelopes
        self._reckoning = reckoning
        self._gone: dict[str, str] = {}
        self._in_memory: bytes | None = None  # the stored image, once flash has let it go
        self._restarted()
        if self._flash.is_whole(name):  # a power cut came between the last octet and the storing of it
            self._store_or_reject()
        elif self._slot.held is not None:
            self._let_go_if_damaged(self._slot.held)

    @property
    def held(self) -> Held | None:
        """The image in the slot."""
        return self._slot.held

    def holds(self, image_id: str) -> bool:
        """Whether this is the image in the slot, arriving or stored."""
        return self._slot.held is not None and self._slot.held.image_id == image_id

    def is_needed(self) -> bool:
        """Whether a target still waits for the image, within its retention."""
        return self._slot.is_needed(self._reckoning.seconds())

    def why_gone(self, image_id: str) -> str | None:
        """Why this image was let go, if it was since the start."""
        return self._gone.get(image_id)

    def image(self) -> bytes | None:
        """The stored image's octets, if one is stored."""
        return self._in_memory if self._slot.is_in_memory else self._flash.image(self.name)

    def offer(self, candidate: Candidate, file_version: str | None) -> list[Decision]:
        """Decide about an image that asks for the slot: it is accepted, joined or refused."""
        decisions = self._slot.offer(candidate, self._reckoning.seconds())
        memory, gone = self._flash.memory, None
        if isinstance(decisions[0], Preempted):
            gone = decisions[0].victim
            memory = self._alerts.let_go(memory, gone, decisions[0].why)
            self._gone[gone.image_id] = decisions[0].why
        unfinished = () if gone is None else gone.unfinished
        if isinstance(decisions[-1], Accepted):
            self._gone.pop(candidate.image_id, None)
            memory = memory.with_slot(self.name, Kept(held=self._slot.held, file_version=file_version))
            self._flash.begin(self.name, self._reckoning.marked(memory.ending(unfinished)))
        elif isinstance(decisions[-1], Joined):
            self._keep(self._reckoning.marked(memory) if decisions[-1].added else memory)
        return self._said(decisions, candidate.image_id)

    def make_room(self, by: str, why: str) -> list[Decision]:
        """Let go of the image, for one that this slot is not for."""
        gone = Preempted(self._slot.discard(), by, why)
        self._clear(gone.victim, why)
        return self._said([gone], by)

    def take(self, chunk: ImageChunk) -> tuple[ImageWanted, Held | None]:
        """Take a piece of the slot's image; gives the answer, and the image if that is now stored."""
        held = self._occupied()
        if held.stage is Stage.STORED:
            return self._wanted(held, held.size, "repeated", "the image is stored", complete=True), None
        received = self._flash.received(self.name)
        objection = _chunk_objection(chunk, held, received)
        if objection is not None:
            code, why = objection
            self._facts.say("hub", "chunk.refused", image=held.image_id, offset=chunk.offset, why=why)
            return self._wanted(held, received, code, why), None
        problem = _header_problem(chunk.data, held.size) if chunk.offset == 0 else None
        if problem is not None:
            return self._reject(held, problem), None
        received = self._flash.append(self.name, chunk.offset, chunk.data)
        self._facts.say("hub", "chunk.taken", image=held.image_id, offset=chunk.offset, size=len(chunk.data))
        if received < held.size:
            return self._wanted(held, received), None
        return self._store_or_reject()

    def stand(self) -> ImageWanted | None:
        """Where the image stands, to be told after a restart or to a sender that asks again."""
        held = self._slot.held
        if held is None:
            return None
        if held.stage is Stage.STORED:
            return self._wanted(held, held.size, complete=True)
        return self._wanted(held, self._flash.received(self.name))

    def begin(self, device: Eui64) -> None:
        """Note that a download of the image to a target has begun; that outlives a restart."""
        if self._slot.begin(device):
            self._keep(self._flash.memory)

    def pause(self, device: Eui64, *, paused: bool) -> None:
        """Note that the user lets a target rest, or go on; that outlives a restart."""
        if self._slot.pause(device, paused=paused):
            self._keep(self._flash.memory)

    def conclude(self, device: Eui64, report: Report) -> bool:
        """Note what became of the image at a target and owe the alert; False if that was known already."""
        held = self._occupied()
        concluded = self._slot.conclude(device, report.fate)
        if concluded is None:
            return False
        memory = self._alerts.report(self._flash.memory, held.image_id, concluded, report)
        self._keep(memory, (concluded,))
        self._alerts.say()
        self._facts.say(
            "hub",
            "slot.concluded",
            device=str(device),
            image=held.image_id,
            fate=report.fate.value,
            why=report.why,
        )
        return True

    def waits_for(self, device: Eui64) -> bool:
        """Whether a stored image waits to be fetched by this device."""
        held = self._slot.held
        if held is None or held.stage is not Stage.STORED:
            return False
        return any(each.device == device for each in held.unfinished)

    def timer(self) -> float | None:
        """When ``tick`` would have something to do, as a steady second."""
        return self._slot.timer()

    def tick(self) -> list[Decision]:
        """Let the image go if the slot is set so and its time has come."""
        decisions = self._slot.tick(self._reckoning.seconds())
        for decision in decisions:
            match decision:
                case Expired(image=image):
                    self._clear(image, "its retention had passed")
                case MovedToMemory():
                    self._in_memory = self._flash.image(self.name)
                    kept = msgspec.structs.replace(self._flash.memory.slot(self.name), held=self._slot.held)
                    self._flash.release(self._flash.memory.with_slot(self.name, kept))
                case _:
                    pass
        return self._said(decisions, "")

    def picture(self) -> HeldImage | None:
        """The slot as the head end is shown it."""
        held = self._slot.held
        if held is None:
            return None
        until = self._slot.retained_until()
        return HeldImage(
            image_id=held.image_id,
            file_version=self._flash.memory.slot(self.name).file_version,
            stage=held.stage.value,
            held_for=", ".join(dict.fromkeys(each.device_type for each in held.assignments)),
            received=held.size if held.stage is Stage.STORED else self._flash.received(self.name),
            size=held.size,
            unfinished=tuple(str(each.device) for each in held.unfinished),
            retained_until=None if until is None else self._reckoning.utc(until),
            in_memory=held.is_in_memory,
        )

    def _restarted(self) -> None:
        decisions = self._slot.restarted()
        for decision in decisions:
            if isinstance(decision, Lost):
                self._clear(decision.image, LOST)
        self._said(decisions, "")

    def _occupied(self) -> Held:
        held = self._slot.held
        assert held is not None, "only of a held image"
        return held

    def _keep(self, memory: Memory, concluded: tuple[Assignment, ...] = ()) -> None:
        """Keep a memory with the slot as it is now."""
        kept = msgspec.structs.replace(memory.slot(self.name), held=self._slot.held)
        self._flash.keep(memory.with_slot(self.name, kept).ending(concluded))

    def _clear(self, gone: Held, why: str) -> None:
        """Keep that an image has left the slot, and that its targets are to be told."""
        memory = self._alerts.let_go(self._flash.memory, gone, why)
        memory = memory.with_slot(self.name, Kept()).ending(gone.unfinished)
        self._flash.clear(self.name, memory)
        self._gone[gone.image_id] = why
        self._alerts.say()

    def _store_or_reject(self) -> tuple[ImageWanted, Held | None]:
        held = self._occupied()
        data = self._flash.arrived_image(self.name)
        if not self._flash.is_whole(self.name):
            return self._reject(
                held, "the octets that arrived do not have the SHA-256 of the image offered"
            ), None
        problem = _header_problem(data, held.size) or self._force_problem(data, held)
        if problem is not None:
            return self._reject(held, problem), None
        stored = self._slot.complete(self._reckoning.seconds())
        version = f"{Header.parse(data).file_version:08X}"
        kept = Kept(held=stored, file_version=version)
        memory = self._flash.memory.with_slot(self.name, kept)
        self._flash.store(self.name, self._reckoning.marked(memory))
        self._facts.say(
            "hub", "slot.stored", image=held.image_id, slot=self.name.value, size=held.size, version=version
        )
        return self._wanted(held, held.size, complete=True), stored

    def _force_problem(self, data: bytes, held: Held) -> str | None:
        """Why the image should not have come as it was offered, as far as the force-replace octet goes."""
        says = any(replaces(data, each.device_type) for each in held.assignments)
        if says is held.force_replace or not self._slot.settings.honours_force_replace:
            return None
        return f"force_replace: the file says {says}, the offer {held.force_replace}"

    def _reject(self, held: Held, problem: str) -> ImageWanted:
        """What arrived is no upgrade file: let it go, and tell for each target."""
        self._slot.discard()
        self._clear(held, f"not a valid upgrade file: {problem}")
        self._gone[held.image_id] = problem
        self._facts.say("hub", "slot.discarded", image=held.image_id, why=problem)
        return self._wanted(held, 0, "invalid-image", problem)

    def _let_go_if_damaged(self, held: Held) -> None:
        """An image that rotted while the hub was off helps nobody: each target is told, as of a discard."""
        try:
            self._flash.image(self.name)
        except ImageDamagedError as damage:
            self._slot.discard()
            self._clear(held, str(damage))
            self._facts.say("hub", "slot.discarded", image=held.image_id, why=str(damage))

    def _wanted(
        self, image: Held, offset: int, code: str = "ok", why: str = "", *, complete: bool = False
    ) -> ImageWanted:
        return wanted(self._envelopes, image.image_id, offset, code, why, complete=complete)

    def _said(self, decisions: list[Decision], image_id: str) -> list[Decision]:
        self._alerts.say()
        slot = self.name.value
        for decision in decisions:
            match decision:
                case Accepted(image=image):
                    self._facts.say("hub", "slot.accepted", image=image.image_id, slot=slot, size=image.size)
                case Joined(image=image, added=added):
                    devices = [str(each.device) for each in added]
                    self._facts.say("hub", "slot.joined", image=image.image_id, slot=slot, added=devices)
                case Preempted(victim=victim, by=by, why=why, stage=stage):
                    self._facts.say(
                        "hub",
                        "slot.preempted",
                        image=victim.image_id,
                        slot=slot,
                        by=by,
                        stage=stage.value,
                        unfinished=[str(each.device) for each in victim.unfinished],
                        why=why,
                    )
                case Refused(why=why, code=code):
                    self._facts.say("hub", "slot.refused", image=image_id, slot=slot, why=why, code=code)
                case Expired(image=image):
                    self._facts.say("hub", "slot.expired", image=image.image_id, slot=slot)
                case MovedToMemory(image=image):
                    self._facts.say("hub", "slot.moved-to-memory", image=image.image_id, slot=slot)
                case Lost(image=image):
                    unfinished = [str(each.device) for each in image.unfinished]
                    self._facts.say(
                        "hub",
                        "slot.lost",
                        image=image.image_id,
                        slot=slot,
                        unfinished=unfinished,
                        why=LOST,
                    )
        return decisions


def wanted(
    envelopes: Envelopes, image_id: str, offset: int, code: str, why: str, *, complete: bool = False
) -> ImageWanted:
    """An answer to a chunk."""
    # Converted, not constructed: the code is one of the contract's, or it fails here.
    return msgspec.convert(
        {
            "image_id": image_id,
            "offset": offset,
            "complete": complete,
            "code": code,
            "reason": why[:512],
            **envelopes.stamp(),
        },
        ImageWanted,
    )


def _chunk_objection(chunk: ImageChunk, held: Held, received: int) -> tuple[str, str] | None:
    """Why these are not the next octets, as code and words."""
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
