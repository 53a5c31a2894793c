"""The hub's own list of its devices, kept on the flash. No key and no install code is in it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from han.coordinator import DeviceJoined, DeviceLeft, DeviceMoved
from hub.custody import Custody
from hub.memory import KnownDevice
from hub.messages import DeviceEntry
from ota.eui64 import Eui64


class Devices:
    """Who was admitted, where it is, what it runs.

    Args:
        custody: keeps the list.
        changed: called when what the head end is shown has changed.
    """

    def __init__(self, custody: Custody, changed: Callable[[], None]) -> None:
        self._custody = custody
        self._changed = changed

    def find(self, eui64: Eui64) -> KnownDevice | None:
        """The device, if it was admitted."""
        return next((each for each in self._custody.memory.devices if each.eui64 == eui64), None)

    def admitted(self, eui64: Eui64, device_type: str) -> None:
        """The network was opened for this device; one that is in it already stays joined."""
        known = self.find(eui64)
        if known is None:
            self._put(KnownDevice(eui64=eui64, device_type=device_type))
        else:
            self._put(msgspec.structs.replace(known, device_type=device_type))

    def moved(self, event: DeviceJoined | DeviceMoved | DeviceLeft) -> None:
        """A device came, went, or has a new short address."""
        known = self.find(event.eui64)
        if known is None:
            return
        if isinstance(event, DeviceLeft):
            self._put(msgspec.structs.replace(known, nwk=None, state="left"))
        else:
            self._put(msgspec.structs.replace(known, nwk=event.nwk, state="joined"))

    def runs(self, eui64: Eui64, file_version: int) -> None:
        """A device has told which version it runs."""
        known = self.find(eui64)
        if known is not None and known.file_version != file_version:
            self._put(msgspec.structs.replace(known, file_version=file_version))

    def entries(self) -> tuple[DeviceEntry, ...]:
        """The list as the head end is shown it, in the order of admission."""
        return tuple(
            DeviceEntry(
                device=str(each.eui64),
                device_type=each.device_type,
                state=each.state,
                file_version=None if each.file_version is None else f"{each.file_version:08X}",
            )
            for each in self._custody.memory.devices
        )

    def _put(self, device: KnownDevice) -> None:
        devices = self._custody.memory.devices
        if self.find(device.eui64) is None:
            after = (*devices, device)
        else:
            after = tuple(device if each.eui64 == device.eui64 else each for each in devices)
        if after != devices:
            self._custody.change(devices=after)
            self._changed()
