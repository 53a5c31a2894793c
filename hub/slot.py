"""The hub's image slots: one image for ESMEs, one for GSME, PPMID and HCALCS together.

What happens in one slot is nothing to the other. In each, three rules hold; every decision comes back as a
value, and this file writes nothing and tells nobody.

* A GSME image takes the slot from any other at any moment, whatever that one is doing.
* An image that is still needed is safe from images of lower priority. Needed means: a target of it has
  neither finished nor failed, and its retention (14 days from the moment it was complete) has not passed.
  Between images of equal priority a policy decides, unless the new one's file says that it is to replace
  what is there (the force-replace octet).
* An image that is no longer needed may go, but stays until the space is wanted: the retention is a minimum.
  `DeleteWhen` can say otherwise.

Times are steady seconds (see `hub.steady`), given as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Final, Protocol

from hub.errors import OurError
from ota.eui64 import Eui64

DAY: Final = 86_400.0
MINIMUM_RETENTION: Final = 14 * DAY
"""SECMP0007 as adopted: at least two weeks in flash; afterwards the image may be deleted, and need not be."""
WITHDRAWN_RETENTION: Final = 7 * DAY
"""Of the policy that the working group withdrew (28 July 2020): one week in flash, then in memory until a
restart or until another image overwrites it."""


class SlotName(StrEnum):
    """The slots of a hub."""

    SHARED = "shared"
    ESME = "esme"


SLOT_TYPES: Final[Mapping[SlotName, tuple[str, ...]]] = {
    SlotName.SHARED: ("GSME", "PPMID", "HCALCS"),
    SlotName.ESME: ("ESME",),
}
"""The device types whose images each slot is for. That PPMID and HCALCS share the GSME's is SECMP0007."""


class Priority(IntEnum):
    """Who may take the slot from whom. The gas meter wakes for seconds, so its image goes first."""

    ORDINARY = 0
    GAS = 1


class Stage(StrEnum):
    """How far an image has come on its way into the slot."""

    ARRIVING = "arriving"
    STORED = "stored"


class Fate(StrEnum):
    """What became of an image at one target."""

    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One target of an image, and the request in whose name it gets it."""

    device: Eui64
    device_type: str
    request_id: str
    service_request: str
    fate: Fate = Fate.WAITING
    has_begun: bool = False
    """Whether a download to this device has ever begun."""
    is_paused: bool = False
    """Whether the user lets it rest."""


@dataclass(frozen=True, slots=True)
class Held:
    """The image in the slot: ``since`` is when it was complete, or, while it arrives, when it was offered."""

    image_id: str
    size: int
    stage: Stage
    since: float
    assignments: tuple[Assignment, ...]
    force_replace: bool = False
    """What its file says, or while it arrives, what the offer says that the file says."""
    is_in_memory: bool = False
    """Whether flash has let it go, so that it lasts until the next restart: see ``then_in_memory``."""

    @property
    def priority(self) -> Priority:
        """The highest that any of its targets gives it."""
        return _priority(self.assignments)

    @property
    def unfinished(self) -> tuple[Assignment, ...]:
        """The targets that have neither finished nor failed."""
        return tuple(each for each in self.assignments if each.fate is Fate.WAITING)

    def assignment(self, device: Eui64) -> Assignment | None:
        """What this image has to do with the device, if anything."""
        return next((each for each in self.assignments if each.device == device), None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that asks for the slot."""

    image_id: str
    size: int
    assignments: tuple[Assignment, ...]
    force_replace: bool = False
    """Whether its file says that it is to replace a stored image at once."""

    @property
    def priority(self) -> Priority:
        """The highest that any of its targets gives it."""
        return _priority(self.assignments)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The slot is its: the image may arrive."""

    image: Held


@dataclass(frozen=True, slots=True)
class Joined:
    """The slot has this very image already, or it is arriving; ``added`` targets now wait for it too."""

    image: Held
    added: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Preempted:
    """An image had to go. Each unfinished target is owed one discard alert."""

    victim: Held
    by: str
    why: str

    @property
    def stage(self) -> Stage:
        """Whether it was still arriving, or lay in the slot."""
        return self.victim.stage

    @property
    def unfinished(self) -> tuple[Assignment, ...]:
        """The targets that will not get it."""
        return self.victim.unfinished


@dataclass(frozen=True, slots=True)
class Refused:
    """The slot stays as it was; ``code`` is the contract's word for why."""

    why: str
    code: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The retention has passed and the slot is set to let go then."""

    image: Held


@dataclass(frozen=True, slots=True)
class MovedToMemory:
    """The retention has passed, and the slot keeps images in memory then: flash has it no more."""

    image: Held


@dataclass(frozen=True, slots=True)
class Lost:
    """A restart has emptied the memory that the image was in. Each unfinished target is owed an alert."""

    image: Held


Decision = Accepted | Joined | Preempted | Refused | Expired | MovedToMemory | Lost


class EqualPriorityPolicy(Protocol):
    """Decides between two images of the same priority when the held one is still needed."""

    def gives_way(self, held: Held, candidate: Candidate, now: float) -> bool:
        """Whether the held image makes room."""
        ...


class KeepTheWaiting:
    """The default: whoever came first keeps the slot while needed; the other is told "too busy".

    Retention is promised for at least 14 days, and the promise would be worth little if the next supplier's
    image could end it. The working group's "too busy" answer and its retries exist for this case.
    """

    def gives_way(self, held: Held, candidate: Candidate, now: float) -> bool:  # noqa: ARG002 - the protocol's
        """Never."""
        return False


class LatestWins:
    """The newer offer always takes the slot from one of the same priority."""

    def gives_way(self, held: Held, candidate: Candidate, now: float) -> bool:  # noqa: ARG002 - the protocol's
        """Always."""
        return True


class DeleteWhen(StrEnum):
    """When an image goes that a target still waits for though its retention has passed.

    One for which nobody waits any more always makes room: no promise covers it, and no user could withdraw
    it.
    """

    NEVER = "never"
    """Not before every target has finished, failed, been aborted or been removed."""
    SPACE_IS_NEEDED = "when-space-is-needed"
    """When another image is offered."""
    AT_EXPIRY = "at-expiry"
    """At once, whether anybody wants the space or not."""


@dataclass(frozen=True, slots=True)
class SlotSettings:
    """What the standards leave open about the slot.

    Attributes:
        capacity: octets; 750 KB was the forecast maximum, here in its larger reading.
        esme_capacity: octets of the ESME slot; None: as many as the shared slot has.
        retention: seconds for which a needed image is safe; at least 14 days.
        delete_when: what happens then. A GSME image takes the slot from others whatever this says.
        then_in_memory: whether a stored image leaves the flash when its retention has passed and stays in
            memory until a restart, or until another image wants the slot. With a retention of one week this
            is the policy that SECMP0007 withdrew in 2020. It overrides ``delete_when``.
        equal_priority: who wins between images of the same priority.
        honours_force_replace: whether an image whose file says so takes the slot from one of the same or of
            lower priority at once. From a GSME's image only another GSME's may.
    """

    capacity: int = 750 * 1024
    esme_capacity: int | None = None
    retention: float = MINIMUM_RETENTION
    delete_when: DeleteWhen = DeleteWhen.SPACE_IS_NEEDED
    then_in_memory: bool = False
    equal_priority: EqualPriorityPolicy = field(default_factory=KeepTheWaiting)
    honours_force_replace: bool = True

    def of(self, slot: SlotName) -> SlotSettings:
        """What counts for one slot."""
        if slot is SlotName.SHARED or self.esme_capacity is None:
            return self
        return replace(self, capacity=self.esme_capacity)


def slot_for(device_types: Iterable[str]) -> SlotName | Refused:
    """The one slot for an image that is meant for devices of these types, or why there is none."""
    found: dict[SlotName, str] = {}
    for device_type in device_types:
        slot = next((name for name, types in SLOT_TYPES.items() if device_type in types), None)
        if slot is None:
            known = ", ".join(each for types in SLOT_TYPES.values() for each in types)
            return Refused(
                f"there is no slot for an {device_type}'s image, only for {known}", "unsupported-device-type"
            )
        found.setdefault(slot, device_type)
    if len(found) != 1:
        shown = ", ".join(f"{device_type} in the {slot} slot" for slot, device_type in found.items())
        return Refused(
            f"these targets belong to different slots ({shown or 'none'}): send an offer for each slot",
            "unsupported-device-type",
        )
    return next(iter(found))


class Slot:
    """One place for one image.

    Args:
        settings: capacity, retention, policy.
        held: what lay in it before a restart.
    """

    def __init__(self, settings: SlotSettings, held: Held | None = None) -> None:
        self.settings = settings
        self._held = held

    @property
    def held(self) -> Held | None:
        """The image in the slot, arriving or stored."""
        return self._held

    @property
    def is_in_memory(self) -> bool:
        """Whether the held image would not survive a restart though it is stored."""
        return self._held is not None and self._held.is_in_memory

    def retained_until(self) -> float | None:
        """When the promise to keep the held image ends."""
        return None if self._held is None else self._held.since + self.settings.retention

    def is_needed(self, now: float) -> bool:
        """Whether a target still waits for the held image and the image is kept for it."""
        if self._held is None or not self._held.unfinished:
            return False
        is_kept = self.settings.delete_when is DeleteWhen.NEVER and not self.settings.then_in_memory
        return is_kept or now < self._held.since + self.settings.retention

    def offer(self, candidate: Candidate, now: float) -> list[Decision]:
        """Ask for the slot; gives what happens, in order. Only Accepted and Joined change the slot."""
        refusal = self._unfit(candidate)
        if refusal is not None:
            return [refusal]
        if self._held is not None and self._held.image_id == candidate.image_id:
            return [self._join(self._held, candidate, now)]
        if self._held is None:
            return [self._accept(candidate, now)]
        yields = self._yields(self._held, candidate, now)
        if isinstance(yields, Refused):
            return [yields]
        return [Preempted(self._held, by=candidate.image_id, why=yields), self._accept(candidate, now)]

    def complete(self, now: float) -> Held:
        """The arriving image is whole and safe: its retention begins."""
        self._held = replace(self._occupied(), stage=Stage.STORED, since=now)
        return self._held

    def begin(self, device: Eui64) -> bool:
        """A download to a target has begun; False if one had before, or the device is no target."""
        held = self._occupied()
        before = held.assignment(device)
        if before is None or before.has_begun:
            return False
        self._exchange(before, replace(before, has_begun=True))
        return True

    def pause(self, device: Eui64, *, paused: bool) -> bool:
        """Let a target rest, or go on; False if it is so already, has finished or failed, or is no target."""
        before = None if self._held is None else self._held.assignment(device)
        if before is None or before.fate is not Fate.WAITING or before.is_paused is paused:
            return False
        self._exchange(before, replace(before, is_paused=paused))
        return True

    def conclude(self, device: Eui64, fate: Fate) -> Assignment | None:
        """A target has finished or failed. Gives its assignment, or None if that was already so."""
        held = self._occupied()
        before = held.assignment(device)
        if before is None or before.fate is not Fate.WAITING:
            return None
        after = replace(before, fate=fate)
        self._exchange(before, after)
        return after

    def discard(self) -> Held:
        """Empty the slot, for instance because what arrived is no image; gives what was in it."""
        held, self._held = self._occupied(), None
        return held

    def timer(self) -> float | None:
        """When ``tick`` would have something to say."""
        if self.settings.then_in_memory:
            is_on_flash = self._held is not None and self._held.stage is Stage.STORED
            return self.retained_until() if is_on_flash and not self.is_in_memory else None
        return self.retained_until() if self.settings.delete_when is DeleteWhen.AT_EXPIRY else None

    def tick(self, now: float) -> list[Decision]:
        """Let the image go, or out of the flash, if the slot is set so and the retention has passed."""
        due = self.timer()
        if due is None or now < due:
            return []
        if self.settings.then_in_memory:
            self._held = replace(self._occupied(), is_in_memory=True)
            return [MovedToMemory(self._held)]
        return [Expired(self.discard())]

    def restarted(self) -> list[Decision]:
        """The hub was off: what was in memory is gone."""
        return [Lost(self.discard())] if self.is_in_memory else []

    def _unfit(self, candidate: Candidate) -> Refused | None:
        if candidate.size > self.settings.capacity:
            why = f"the image has {candidate.size} octets, the slot {self.settings.capacity}"
            return Refused(why, "too-large")
        return None

    def _yields(self, held: Held, candidate: Candidate, now: float) -> str | Refused:
        """Why the held image makes room, or the refusal."""
        if not held.unfinished:
            return "every target had finished or failed"
        if not self.is_needed(now):
            return "its retention had passed"
        if candidate.priority > held.priority:
            return "a GSME image takes the slot"
        is_forced = candidate.force_replace and self.settings.honours_force_replace
        if is_forced and candidate.priority == held.priority:
            return "the new image's force-replace octet says so"
        if candidate.priority == held.priority and self.settings.equal_priority.gives_way(
            held, candidate, now
        ):
            return "the policy for equal priority gave way"
        waiting = len(held.unfinished)
        rank = "a GSME image" if held.priority > candidate.priority else "an image of the same priority"
        return Refused(
            f"the slot holds {rank} that {waiting} target(s) still need: offer again later", "too-busy"
        )

    def _accept(self, candidate: Candidate, now: float) -> Accepted:
        self._held = Held(
            candidate.image_id,
            candidate.size,
            Stage.ARRIVING,
            now,
            candidate.assignments,
            candidate.force_replace,
        )
        return Accepted(self._held)

    def _join(self, held: Held, candidate: Candidate, now: float) -> Decision:
        """A repeated offer changes nothing; a new request for the same image adds its targets, from new."""
        if candidate.size != held.size:
            why = f"this image is known with {held.size} octets, not {candidate.size}"
            return Refused(why, "invalid-image")
        if candidate.force_replace is not held.force_replace:
            told = "with" if held.force_replace else "without"
            return Refused(
                f"this image is known {told} force-replace: one file says one thing", "invalid-image"
            )
        added = tuple(
            each
            for each in candidate.assignments
            if (known := held.assignment(each.device)) is None or known.request_id != each.request_id
        )
        if added:
            renewed = {each.device for each in added}
            kept = tuple(each for each in held.assignments if each.device not in renewed)
            # A new request is promised the whole retention, whenever the image itself came. Memory promises
            # nothing.
            since = held.since if held.is_in_memory else now
            self._held = replace(held, assignments=kept + added, since=since)
        return Joined(self._occupied(), added)

    def _exchange(self, before: Assignment, after: Assignment) -> None:
        held = self._occupied()
        self._held = replace(
            held, assignments=tuple(after if each is before else each for each in held.assignments)
        )

    def _occupied(self) -> Held:
        if self._held is None:
            raise OurError("the slot is empty: only a held image can be completed, concluded or discarded")
        return self._held


def _priority(assignments: Sequence[Assignment]) -> Priority:
    gas = any(each.device_type == "GSME" for each in assignments)
    return Priority.GAS if gas else Priority.ORDINARY
