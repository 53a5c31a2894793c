"""The house as the hub needs it: who can be admitted, what can be sent, what it is told.

`han.coordinator.Coordinator` is one; the tests have another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from han.coordinator import Admitted, Coordinator, DeviceState, Event
from han.facts import Facts
from han.radio import NetworkSettings, RadioSettings
from hub.memory import KnownDevice
from ota.eui64 import Eui64


class House(Protocol):
    """A home area network with the hub's radio in its middle."""

    @property
    def eui64(self) -> Eui64:
        """The Communications Hub's own address."""
        ...

    async def admit(self, eui64: Eui64, install_code: bytes, device_type: str, seconds: int = 254) -> None:
        """Open the network for this device and its install code (CRC included)."""
        ...

    async def send(
        self, to: Eui64, cluster: int, zcl: bytes, *, aps_ack: bool = True, aps_security: bool = False
    ) -> None:
        """Send a ZCL frame; returns when the device's radio has acknowledged it."""
        ...

    async def close(self) -> None:
        """Let go of the radio; the network stays."""
        ...


@dataclass(frozen=True, slots=True)
class Ears:
    """Whom a house tells. Both are called from the event loop and do not raise."""

    message: Callable[[Eui64, int, bytes, bool], None]
    event: Callable[[Event], None]


OpenHouse = Callable[[Sequence[KnownDevice], Ears], Awaitable[House]]
"""Connects to the radio and brings the network up, with the devices that are known already."""


def coordinator_at(radio: RadioSettings, network: NetworkSettings, facts: Facts) -> OpenHouse:
    """The house behind a radio: bellows on a dongle, real or virtual."""

    async def open_house(devices: Sequence[KnownDevice], ears: Ears) -> House:
        admitted = [
            Admitted(
                each.eui64,
                each.device_type,
                nwk=each.nwk,
                endpoint=each.endpoint,
                state=DeviceState(each.state),
            )
            for each in devices
        ]
        return await Coordinator.start(
            radio,
            network=network,
            devices=admitted,
            facts=facts,
            on_message=ears.message,
            on_event=ears.event,
        )

    return open_house
