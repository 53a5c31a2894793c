"""What the hub answers for: the images in its slots, the fate of each target, the alerts that it owes.

Every method makes one decision and keeps it on the flash in one step, alerts included, before anybody hears
of it. What happens in one slot is nothing to the other; here is decided which of them is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from han.facts import Facts
from hub.alerts import Alerts, Report
from hub.berth import Berth, wanted
from hub.flash import Flash
from hub.limits import Limits, backlog, flood, overload
from hub.memory import Memory
from hub.messages import Alert, Envelopes, HeldImage, ImageChunk, ImageOffer, ImageWanted, Target
from hub.reckoning import Moment, Reckoning
from hub.slot import Assignment, Candidate, Decision, Fate, Held, Refused, SlotName, SlotSettings, slot_for
from hub.steady import SteadySettings
from ota.eui64 import Eui64
from ota.image import LARGEST_HEADER

NEW_WITH_SECMP0007: Final = frozenset({"PPMID", "HCALCS"})
"""The device types that a Communications Hub updates since then."""


class Custody:
    """The slots, the alerts and the flash, kept in step.

    Args:
        flash: where everything is kept; also what was known before a restart.
        settings: the slots'.
        limits: how much may wait for the broker.
        steady: how steps of the clock are told.
        predates_secmp0007: whether it takes no image for a PPMID or an HCALCS, and sends no CCS08.
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
        limits: Limits,
        steady: SteadySettings,
        predates_secmp0007: bool,
        hub: Eui64,
        facts: Facts,
        envelopes: Envelopes,
        now: Callable[[], Moment],
    ) -> None:
        self._flash = flash
        self._facts = facts
        self._envelopes = envelopes
        self._limits = limits
        self._predates_secmp0007 = predates_secmp0007
        self._alerts = Alerts(hub, facts, envelopes, now, tells_transfers=not predates_secmp0007)
        self._reckoning = reckoning = Reckoning(steady, flash, facts=facts, now=now)
        self._berths = {
            name: Berth(
                name, settings, flash, self._alerts, facts=facts, envelopes=envelopes, reckoning=reckoning
            )
            for name in SlotName
        }

    @property
    def memory(self) -> Memory:
        """What the flash keeps."""
        return self._flash.memory

    def images(self) -> Iterator[Held]:
        """The images in the slots, arriving or stored."""
        for berth in self._berths.values():
            if berth.held is not None:
                yield berth.held

    def held(self, image_id: str) -> Held | None:
        """This image, if it is in a slot."""
        return next((each for each in self.images() if each.image_id == image_id), None)

    def held_for(self, device: Eui64) -> tuple[Held, Assignment] | None:
        """The image that has to do with this device, and what; first one that it still waits for.

        A device has one type and so one slot, unless it was admitted anew as something else.
        """
        known = [
            (held, assignment)
            for held in self.images()
            if (assignment := held.assignment(device)) is not None
        ]
        waiting = [each for each in known if each[1].fate is Fate.WAITING]
        return next(iter(waiting + known), None)

    def image(self, image_id: str) -> bytes | None:
        """This image's octets, if it is stored."""
        berth = self._holding(image_id)
        return None if berth is None else berth.image()

    def offer(self, offer: ImageOffer) -> list[Decision]:
        """Decide about an offer: Accepted or Joined, perhaps after Preempted; or Refused."""
        if next(self.images(), None) is None:
            self._reckoning.believe()
        slot = self._objection(offer) or slot_for(each.device_type for each in offer.targets)
        elsewhere = self._holding(offer.image_id)
        if isinstance(slot, SlotName) and elsewhere is not None and elsewhere.name is slot:
            elsewhere = None
        if isinstance(slot, SlotName) and elsewhere is not None and elsewhere.is_needed():
            why = f"this image waits in the {elsewhere.name} slot for other targets: an image is for one slot"
            slot = Refused(why, "unsupported-device-type")
        if isinstance(slot, Refused):
            self._facts.say("hub", "slot.refused", image=offer.image_id, why=slot.why, code=slot.code)
            return [slot]
        gone = [] if elsewhere is None else elsewhere.make_room(offer.image_id, "nobody needed it any more")
        targets = tuple(
            Assignment(Eui64.parse(each.device), each.device_type, offer.request_id, offer.service_request)
            for each in offer.targets
        )
        candidate = Candidate(offer.image_id, offer.size, targets, offer.force_replace)
        return gone + self._berths[slot].offer(candidate, offer.file_version)

    def take(self, chunk: ImageChunk) -> tuple[ImageWanted, Held | None]:
        """Take a piece of an arriving image; gives the answer, and the image if that is now stored."""
        berth = self._holding(chunk.image_id)
        if berth is not None:
            return berth.take(chunk)
        whys = [each.why_gone(chunk.image_id) for each in self._berths.values()]
        why = next((each for each in whys if each is not None), None)
        if why is not None:
            return wanted(self._envelopes, chunk.image_id, 0, "discarded", why), None
        why = "this image was not offered, or another has taken its place"
        return wanted(self._envelopes, chunk.image_id, 0, "not-offered", why), None

    def stand(self, image_id: str) -> ImageWanted | None:
        """Where this image stands, to be told after a restart or to a sender that asks again."""
        berth = self._holding(image_id)
        return None if berth is None else berth.stand()

    def begin(self, device: Eui64, image_id: str) -> None:
        """Note that a download of the image to a target has begun; that outlives a restart."""
        berth = self._holding(image_id)
        if berth is not None:
            berth.begin(device)

    def pause(self, device: Eui64, *, paused: bool) -> None:
        """Note that the user lets a target rest, or go on; that outlives a restart."""
        for berth in self._berths.values():
            berth.pause(device, paused=paused)

    def conclude(self, device: Eui64, image_id: str, report: Report) -> bool:
        """Note what became of the image at a target and owe the alert; False if that was known already."""
        berth = self._holding(image_id)
        return berth is not None and berth.conclude(device, report)

    def overload(self) -> str | None:
        """Why nothing new may be begun while so many alerts wait for the broker; None if it may."""
        return overload(self._limits, self.memory)

    def backlog(self, device: Eui64) -> str | None:
        """Why no further command for this device may be taken now; None if it may."""
        return backlog(self._limits, self.memory, device)

    def flood(self, device: Eui64) -> str | None:
        """Why no further alert of this device's own may be taken now; None if it may."""
        return flood(self._limits, self.memory, device)

    def owe(self, alert: Alert, memory: Memory | None = None) -> bool:
        """Owe any other alert, with a change of memory in the same step; False if it was raised before."""
        base = self.memory if memory is None else memory
        after = self._alerts.owe(base, alert)
        self._flash.keep(after)
        self._alerts.say()
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
        return any(berth.waits_for(device) for berth in self._berths.values())

    def wait(self) -> float:
        """Seconds until ``tick`` should be called."""
        due = [berth.timer() for berth in self._berths.values()]
        return self._reckoning.wait(min((each for each in due if each is not None), default=None))

    def tick(self) -> list[Decision]:
        """Compare the clocks; let images go whose slot is set so and whose time has come."""
        if any(self.images()):
            self._reckoning.note()
        return [decision for berth in self._berths.values() for decision in berth.tick()]

    def picture(self, slot: SlotName) -> HeldImage | None:
        """A slot as the head end is shown it."""
        return self._berths[slot].picture()

    def _holding(self, image_id: str) -> Berth | None:
        return next((each for each in self._berths.values() if each.holds(image_id)), None)

    def _objection(self, offer: ImageOffer) -> Refused | None:
        if offer.request_id in self.memory.ended:
            return Refused(f"request {offer.request_id} has ended here: use a new one", "ended")
        if offer.size < LARGEST_HEADER:
            return Refused(f"an upgrade file has more than {offer.size} octets", "invalid-image")
        if offer.force_replace and offer.service_request == "11.4":
            return Refused("a PPMID's file has no force-replace octet", "invalid-image")
        known = {each.eui64: each.device_type for each in self.memory.devices}
        for target in offer.targets:
            refused = _target_objection(target, offer.service_request, known)
            if refused is not None:
                return refused
        return self._age_objection(offer) or self._load_objection(offer)

    def _age_objection(self, offer: ImageOffer) -> Refused | None:
        late = [each for each in offer.targets if each.device_type in NEW_WITH_SECMP0007]
        if not self._predates_secmp0007 or not late:
            return None
        why = f"this hub's firmware predates SECMP0007: it takes no image for a {late[0].device_type}"
        return Refused(f"{why} ({late[0].device})", "unsupported-device-type")

    def _load_objection(self, offer: ImageOffer) -> Refused | None:
        held = self.held(offer.image_id)
        if held is not None and any(each.request_id == offer.request_id for each in held.assignments):
            return None  # nothing new: it is only asked again
        why = self.overload()
        return None if why is None else Refused(why, "too-busy")


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
