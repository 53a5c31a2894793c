"""The hub's own list of its devices, kept on the flash. No key and no install code is in it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from han.admission import REMEMBERED_REMOVALS, Admitted
from han.coordinator import (
    DeviceInTrouble,
    DeviceJoined,
    DeviceLeft,
    DeviceMoved,
    DeviceSecured,
    DeviceUnsecured,
)
from hub.custody import Custody
from hub.memory import KnownDevice
from hub.messages import DeviceEntry, TransferEntry
from hub.terms import Terms
from ota.eui64 import Eui64

DeviceEvent = DeviceJoined | DeviceMoved | DeviceLeft | DeviceSecured | DeviceUnsecured | DeviceInTrouble


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

    def admitted(self, device: Admitted) -> None:
        """The network was opened for this device; one that is in it already stays joined."""
        known = self.find(device.eui64) or KnownDevice(eui64=device.eui64, device_type=device.device_type)
        changed = msgspec.structs.replace(
            known,
            device_type=device.device_type,
            establishes_keys=device.establishes_keys,
            is_secured=device.is_secured,
            trouble="",
        )
        removed = tuple(each for each in self._custody.memory.removed if each != device.eui64)
        self._put(changed, removed=removed)

    def removed(self, eui64: Eui64) -> None:
        """The device was struck off."""
        memory = self._custody.memory
        rest = tuple(each for each in memory.devices if each.eui64 != eui64)
        before = [each for each in memory.removed if each != eui64]
        removed = (*before, eui64)[-REMEMBERED_REMOVALS:]
        self._custody.change(devices=rest, removed=removed)
        self._changed()

    def heard(self, event: DeviceEvent) -> None:
        """A device came, went, moved, got or lost its link key, or fails to."""
        known = self.find(event.eui64)
        if known is None:
            return
        changes: dict[str, object]
        match event:
            case DeviceLeft():
                changes = {"nwk": None, "state": "left", "is_secured": False}
            case DeviceJoined() | DeviceMoved():
                changes = {"nwk": event.nwk, "state": "joined"}
                if isinstance(event, DeviceJoined):
                    changes["trouble"] = ""
            case DeviceSecured():
                changes = {"is_secured": True, "trouble": ""}
            case DeviceUnsecured():
                changes = {"is_secured": False}
            case DeviceInTrouble():
                changes = {"trouble": event.why[:512]}
        self._put(msgspec.structs.replace(known, **changes))

    def runs(self, eui64: Eui64, file_version: int) -> None:
        """A device has told which version it runs."""
        known = self.find(eui64)
        if known is not None and known.file_version != file_version:
            self._put(msgspec.structs.replace(known, file_version=file_version))

    def configured(self, eui64: Eui64, terms: Terms) -> None:
        """The user has said on what terms the device is served."""
        known = self.find(eui64)
        if known is not None:
            self._put(msgspec.structs.replace(known, terms=terms))

    def entries(self, transfer: Callable[[Eui64], TransferEntry | None]) -> tuple[DeviceEntry, ...]:
        """The list as the head end is shown it, in the order of admission.

        ``transfer`` says how a device stands with the image that is meant for it.
        """
        return tuple(
            DeviceEntry(
                device=str(each.eui64),
                device_type=each.device_type,
                state=each.state,
                file_version=None if each.file_version is None else f"{each.file_version:08X}",
                secured=each.is_secured,
                trouble=each.trouble,
                transfer=transfer(each.eui64),
            )
            for each in self._custody.memory.devices
        )

    def _put(self, device: KnownDevice, **changes: object) -> None:
        devices = self._custody.memory.devices
        if self.find(device.eui64) is None:
            after = (*devices, device)
        else:
            after = tuple(device if each.eui64 == device.eui64 else each for each in devices)
        if after != devices or changes:
            self._custody.change(devices=after, **changes)
            self._changed()
