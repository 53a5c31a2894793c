"""Who may be in the network, where each of them is, and who was let in but never speaks. Pure.

A device proves that it is in the network by its announcement or by its first message. That the Trust Centre
sent it the network key proves nothing: a device with another install code cannot read it, and the Trust
Centre cannot tell. Such a device knocks, is sent the key, and stays silent. `Doorstep` notices that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from han.clusters import needs_link_key
from ota.eui64 import Eui64

REMEMBERED_REMOVALS = 15
"""How many removed devices are remembered, as many as in the log of a GB Communications Hub. An older one is
a stranger: refused as well, only not asked to leave."""


class DeviceState(StrEnum):
    """How far a device has come."""

    ADMITTED = "admitted"
    JOINED = "joined"
    LEFT = "left"


@dataclass(slots=True)
class Admitted:
    """A device that may be in the network: what the hub keeps of it over a restart. Holds no key.

    Attributes:
        endpoint: the one with its OTA client, None while nobody knows.
        establishes_keys: whether it has to agree a link key with the hub before protected clusters are open
            to it. One that does not, a device of the laboratory, speaks them without APS security until it
            has one all the same.
        is_secured: whether the hub and the device share such a key.
    """

    eui64: Eui64
    device_type: str
    nwk: int | None = None
    endpoint: int | None = None
    state: DeviceState = DeviceState.ADMITTED
    establishes_keys: bool = True
    is_secured: bool = False

    def protects(self, cluster: int) -> bool:
        """Whether what is said to and by this device about a cluster is under its link key."""
        return (self.establishes_keys or self.is_secured) and needs_link_key(cluster)

    def objection(self, cluster: int, *, aps_secured: bool) -> str | None:
        """Why a message of this device about a cluster is not taken, or None.

        The dongle tells that a message was under a link key, not under which: before a key was agreed with
        its sender it can only be that of the install code.
        """
        if not self.protects(cluster):
            return None
        if not self.is_secured:
            return "no link key has been established with it"
        return None if aps_secured else "it came without APS security"


class Roll:
    """All admitted devices, in the order of their admission, and where they are."""

    def __init__(self, devices: Sequence[Admitted], removed: Sequence[Eui64]) -> None:
        self._devices = {device.eui64: device for device in devices}
        self._by_nwk = {device.nwk: device for device in devices if device.nwk is not None}
        self._removed = dict.fromkeys(removed)

    @property
    def devices(self) -> list[Admitted]:
        """All of them."""
        return list(self._devices.values())

    @property
    def removed(self) -> tuple[Eui64, ...]:
        """Those that were removed last, the latest at the end."""
        return tuple(self._removed)

    def find(self, eui64: Eui64) -> Admitted | None:
        """The device, if it was admitted."""
        return self._devices.get(eui64)

    def at(self, nwk: int) -> Admitted | None:
        """The device with this short address."""
        return self._by_nwk.get(nwk)

    def was_removed(self, eui64: Eui64) -> bool:
        """Whether the device was removed and not admitted anew."""
        return eui64 in self._removed

    def admit(self, eui64: Eui64, device_type: str, *, establishes_keys: bool) -> Admitted:
        """Enter a device; one that is there already stays where it is."""
        self._removed.pop(eui64, None)
        device = self._devices.setdefault(eui64, Admitted(eui64, device_type))
        device.device_type = device_type
        device.establishes_keys = establishes_keys
        return device

    def remove(self, device: Admitted) -> None:
        """Strike a device off, and remember that."""
        self._unplace(device)
        del self._devices[device.eui64]
        self._removed[device.eui64] = None
        for eui64 in self.removed[:-REMEMBERED_REMOVALS]:
            del self._removed[eui64]

    def place(self, device: Admitted, nwk: int) -> None:
        """Note where a device is; whoever was thought to be there is somewhere else."""
        self._unplace(device)
        previous = self._by_nwk.get(nwk)
        if previous is not None:
            previous.nwk = None
        device.nwk = nwk
        self._by_nwk[nwk] = device

    def left(self, device: Admitted) -> None:
        """Note that a device is in the network no more."""
        self._unplace(device)
        device.state = DeviceState.LEFT
        device.is_secured = False

    def _unplace(self, device: Admitted) -> None:
        if device.nwk is not None and self._by_nwk.get(device.nwk) is device:
            del self._by_nwk[device.nwk]
        device.nwk = None


SILENCE = 10.0
"""Seconds for a device to speak after it was sent the network key. It waits some five for the key itself."""


class Doorstep:
    """Those who were sent the network key and have yet to show that they could read it."""

    def __init__(self) -> None:
        self._since: dict[Eui64, float] = {}

    def knocked(self, eui64: Eui64, now: float) -> None:
        """It was sent the key. Doing so again while it is waited for gives it no more time."""
        self._since.setdefault(eui64, now)

    def spoke(self, eui64: Eui64) -> None:
        """It is inside, or nobody waits for it any more."""
        self._since.pop(eui64, None)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        return min(self._since.values()) + SILENCE if self._since else None

    def tick(self, now: float) -> list[Eui64]:
        """Those whose time is over."""
        silent = [eui64 for eui64, since in self._since.items() if since + SILENCE <= now]
        for eui64 in silent:
            del self._since[eui64]
        return silent
