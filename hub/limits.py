"""How much a hub takes on while its alerts cannot leave: bounds on what waits on the flash. Pure.

Alerts are kept until the broker has them, for days if need be, and in order. What may be kept is bounded at
its sources: with too many alerts waiting the hub takes no new image and no new command, and of one device
only so many of its own alerts wait. An alert about what was taken before, a Firmware Transfer Alert above
all, is never dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from hub.memory import REMEMBERED, Memory
from hub.messages import FirmwareVerificationAlert, PpmidActivationAlert
from ota.eui64 import Eui64

_OF_A_DEVICE: Final = (PpmidActivationAlert.TOPIC, FirmwareVerificationAlert.TOPIC)
"""What a device may send without having been asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds. None has a source.

    Attributes:
        alerts_waiting: with so many waiting for the broker nothing new is begun. The memory is written anew
            for every change, and some 1.2 KB of it are an alert: 256 of them make a third of a megabyte.
            What is taken already may add one alert for each of its targets.
        alerts_of_device: so many alerts of a device's own wait, of PPMID activations and receipts. An update
            brings one of each; a device that goes on beyond that is ill or hostile, and what it adds is
            dropped, since its radio has heard an acknowledgement before anybody could look.
        commands_of_device: so many commands wait for one device's outcomes. A device obeys the latest.
    """

    alerts_waiting: int = 256
    alerts_of_device: int = 16
    commands_of_device: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.alerts_waiting <= REMEMBERED:
            raise ValueError(
                f"alerts_waiting is {self.alerts_waiting}: give 1 to {REMEMBERED}, as many as are recognised"
                " when they repeat"
            )


class _About(msgspec.Struct):
    """Whom an alert is about."""

    device: str


def overload(limits: Limits, memory: Memory) -> str | None:
    """Why nothing new may be begun now; None if it may."""
    waiting = len(memory.alerts)
    if waiting < limits.alerts_waiting:
        return None
    return f"{waiting} alerts wait for the broker: ask again when they have left"


def flood(limits: Limits, memory: Memory, device: Eui64) -> str | None:
    """Why no further alert of this device's own is taken now; None if it is."""
    of_it = [
        each
        for each in memory.alerts
        if each.topic.endswith(_OF_A_DEVICE)
        and msgspec.json.decode(each.payload, type=_About).device == str(device)
    ]
    if len(of_it) < limits.alerts_of_device:
        return None
    return f"dropped: {len(of_it)} alerts of this device wait for the broker already"


def backlog(limits: Limits, memory: Memory, device: Eui64) -> str | None:
    """Why no further command for this device is taken now; None if it is."""
    pending = sum(each.device == device for each in memory.activations)
    if pending < limits.commands_of_device:
        return None
    return f"{pending} commands for {device} have no outcome yet: ask again later"
