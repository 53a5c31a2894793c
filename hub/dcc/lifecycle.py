"""The life of a Service Request for one device: from accepted to exactly one outcome.

Read TRANSITIONS aloud: in this stage, when that happens, the next stage or the outcome follows. What is
absent does not concern the request any more; the caller notes it in the story and changes nothing. Updates
go by the milestone at which they are complete (control 1), because that is a setting: an 11.1 may be told to
wait for its activation, an 11.4 to end with the transfer.

Alerts may come in any order, late, or without what should have come before them: a Firmware Transfer Alert
shows that the image had reached the hub, an activation alert that it had been transferred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from hub.dcc.controls import InProgress, Milestone, Retries, Service


class Stage(StrEnum):
    """Where an open request stands for a device."""

    ACCEPTED = "accepted"  # on its way to the Communications Hub
    DELIVERED = "delivered"  # the hub has the image, or has passed the command on
    SCHEDULED = "scheduled"  # the device has accepted the command, to be executed later
    STOPPED = "stopped"  # the hub does not take the image any more and owes the alert that says so
    TRANSFERRED = "transferred"  # the device has the image
    ENDED = "ended"


class Result(StrEnum):
    """How a request ended for a device; the value is what people read."""

    TRANSFERRED = "transferred"
    ACTIVATED = "activated"
    UNREPORTED = "transferred, activation unreported"
    DISCARDED = "image discarded"
    HARDWARE_MISMATCH = "hardware version mismatch"
    TRANSFER_FAILED = "file transfer failure"
    NOT_DELIVERED = "not delivered to the Communications Hub"
    EXPIRED = "expired"
    ACTIVATION_FAILED = "activation failed"
    NO_IMAGE_HELD = "no image held"
    HASH_MISMATCH = "hash mismatch"
    CANCELLED = "cancelled"
    CANCELLATION_ACCEPTED = "cancellation accepted"
    VERSION_READ = "version read"
    UNREACHABLE = "device not reached"
    REMOVED = "device removed"
    NO_OUTCOME = "no outcome reported"

    @property
    def is_success(self) -> bool:
        """Whether the Service User got what was asked for, as far as anybody reported."""
        return self in _SUCCESSES


_SUCCESSES = frozenset(
    {
        Result.TRANSFERRED,
        Result.ACTIVATED,
        Result.UNREPORTED,
        Result.CANCELLATION_ACCEPTED,
        Result.VERSION_READ,
    }
)


class Happening(Enum):
    """What the head end may learn about a request and a device."""

    DELIVERED = "delivered"
    STOPPED = "stopped"
    NOT_DELIVERED = "not delivered"
    TRANSFERRED = "transferred"
    DISCARDED = "discarded"
    HARDWARE_MISMATCH = "hardware mismatch"
    TRANSFER_FAILED = "transfer failed"
    ACTIVATED = "activated"
    ACTIVATION_FAILED = "activation failed"
    NO_IMAGE_HELD = "no image held"
    HASH_MISMATCH = "hash mismatch"
    SCHEDULED = "scheduled"
    CANCELLATION_ACCEPTED = "cancellation accepted"
    REPLACED = "replaced"
    REMOVED = "removed"
    VERSION_READ = "version read"
    UNREACHABLE = "unreachable"
    TIME_UP = "time up"


Next = Stage | Result
Table = Mapping[Stage, Mapping[Happening, Next]]

_FAILED_TRANSFER: Mapping[Happening, Next] = {
    Happening.DISCARDED: Result.DISCARDED,
    Happening.HARDWARE_MISMATCH: Result.HARDWARE_MISMATCH,
    Happening.TRANSFER_FAILED: Result.TRANSFER_FAILED,
}
_ACTIVATION: Mapping[Happening, Next] = {
    Happening.ACTIVATED: Result.ACTIVATED,
    Happening.ACTIVATION_FAILED: Result.ACTIVATION_FAILED,
    Happening.NO_IMAGE_HELD: Result.NO_IMAGE_HELD,
    Happening.HASH_MISMATCH: Result.HASH_MISMATCH,
}
_ANSWERED: Mapping[Happening, Next] = {
    Happening.SCHEDULED: Stage.SCHEDULED,
    Happening.CANCELLATION_ACCEPTED: Result.CANCELLATION_ACCEPTED,
    Happening.REPLACED: Result.CANCELLED,
    Happening.REMOVED: Result.REMOVED,
    **_ACTIVATION,
}
"""What a device makes of a command, or of a later one that takes its place."""


def _update(on_the_han: Mapping[Happening, Next], after_transfer: Mapping[Happening, Next]) -> Table:
    """An update's table; the ways to the hub and their failures are the same for all."""
    return {
        Stage.ACCEPTED: {
            Happening.DELIVERED: Stage.DELIVERED,
            Happening.STOPPED: Stage.STOPPED,
            Happening.NOT_DELIVERED: Result.NOT_DELIVERED,
            Happening.TIME_UP: Result.EXPIRED,
            **on_the_han,
        },
        Stage.DELIVERED: {
            Happening.STOPPED: Stage.STOPPED,
            Happening.TIME_UP: Result.EXPIRED,
            **on_the_han,
        },
        Stage.STOPPED: {
            Happening.TIME_UP: Result.NO_OUTCOME,
            **on_the_han,
        },
        Stage.TRANSFERRED: after_transfer,
    }


TRANSITIONS: Mapping[Service | Milestone, Table] = {
    Milestone.TRANSFERRED: _update(
        {Happening.TRANSFERRED: Result.TRANSFERRED, **_FAILED_TRANSFER},
        # Entered only under the other setting, before a restart that changed it.
        {Happening.TIME_UP: Result.TRANSFERRED},
    ),
    Milestone.ACTIVATED: _update(
        {Happening.TRANSFERRED: Stage.TRANSFERRED, **_FAILED_TRANSFER, **_ACTIVATION},
        {Happening.TIME_UP: Result.UNREPORTED, **_ACTIVATION},
    ),
    Service.READ_FIRMWARE_VERSION: {
        Stage.ACCEPTED: {
            Happening.VERSION_READ: Result.VERSION_READ,
            Happening.UNREACHABLE: Result.UNREACHABLE,
            Happening.NOT_DELIVERED: Result.NOT_DELIVERED,
            Happening.TIME_UP: Result.NOT_DELIVERED,
        },
    },
    Service.ACTIVATE_FIRMWARE: {
        Stage.ACCEPTED: {
            Happening.DELIVERED: Stage.DELIVERED,
            Happening.UNREACHABLE: Result.UNREACHABLE,
            Happening.NOT_DELIVERED: Result.NOT_DELIVERED,
            Happening.TIME_UP: Result.NOT_DELIVERED,
            **_ANSWERED,
        },
        Stage.DELIVERED: {
            Happening.TIME_UP: Result.NO_OUTCOME,
            **_ANSWERED,
        },
        Stage.SCHEDULED: {
            Happening.REPLACED: Result.CANCELLED,
            Happening.REMOVED: Result.REMOVED,
            Happening.TIME_UP: Result.NO_OUTCOME,
            **_ACTIVATION,
        },
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each stage may last before its time is up; seconds.

    Attributes:
        alert_wait: for the alert that a hub owes after it stopped taking an image. It keeps its alerts until
            they are delivered, so only a hub that is gone for good lets this pass.
        outcome_wait: for the outcome of an activation, from the command's delivery or its execution time.
    """

    in_progress: InProgress
    retries: Retries
    alert_wait: float
    outcome_wait: float

    def deadline(self, service: Service, stage: Stage, accepted_at: float, now: float) -> float:
        """When the time of a request that enters this stage now is up."""
        expiry = self.in_progress.expires_at(accepted_at)
        match stage:
            case Stage.TRANSFERRED:
                return min(expiry, now + self.in_progress.activation_wait)
            case Stage.STOPPED:
                return min(expiry, now + self.alert_wait)
            case _ if service.is_update:
                return expiry
            case Stage.DELIVERED | Stage.SCHEDULED:
                return now + self.outcome_wait
            case _:
                # The errand gives up by itself at the horizon; this only outlasts it.
                return accepted_at + self.retries.horizon + self.retries.period


def table_for(service: Service, in_progress: InProgress) -> Table:
    """The transitions of a request of this kind under these settings."""
    return TRANSITIONS[in_progress.completes[service] if service.is_update else service]


def follow(table: Table, stage: Stage, happening: Happening) -> Next | None:
    """The next stage or the outcome; None if this does not concern a request in that stage."""
    return table.get(stage, {}).get(happening)
