"""The house as the hub needs it: who can be admitted, what can be sent, what it is told.

`han.coordinator.Coordinator` is one; the tests have another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from han.admission import Admitted, DeviceState
from han.coordinator import Coordinator, Event, Posted, SecuritySettings
from han.errors import HanError
from han.facts import Facts
from han.radio import NetworkSettings, RadioSettings
from han.stack import DongleDetails
from hub.memory import Memory
from ota.eui64 import Eui64


class House(Protocol):
    """A home area network with the hub's radio in its middle."""

    @property
    def eui64(self) -> Eui64:
        """The Communications Hub's own address."""
        ...

    @property
    def suites(self) -> int:
        """A bit for each cryptographic suite in which the hub can establish link keys."""
        ...

    @property
    def dongle(self) -> DongleDetails | None:
        """What the radio says of itself; None while there is none."""
        ...

    async def admit(
        self,
        eui64: Eui64,
        install_code: bytes,
        device_type: str,
        seconds: int = 254,
        *,
        establishes_keys: bool | None = None,
    ) -> Admitted:
        """Open the network for this device and its install code (CRC included)."""
        ...

    async def remove(self, eui64: Eui64) -> None:
        """Ask this device to leave, forget its keys, and keep it out until it is admitted anew."""
        ...

    async def switch_network_key(self, *, by_broadcast: bool = False) -> list[Eui64]:
        """Give the network a new key; gives those devices to which it was sent."""
        ...

    def post(
        self,
        to: Eui64,
        cluster: int,
        zcl: bytes,
        then: Callable[[HanError | None], None],
        *,
        aps_ack: bool = True,
        fragments: bool = True,
    ) -> Posted:
        """Send a ZCL frame, protected as its cluster wants, and go on.

        ``then`` is called later: with None when the device's radio has it, else with the reason why not.
        ``aps_ack``: whether it has to acknowledge that; ``fragments``: whether several frames may be taken.
        """
        ...

    async def broadcast(self, cluster: int, zcl: bytes) -> None:
        """Send a ZCL frame to every device that listens all the time; returns when the radio has it."""
        ...

    async def close(self) -> None:
        """Let go of the radio; the network stays."""
        ...


@dataclass(frozen=True, slots=True)
class Ears:
    """Whom a house tells. Both are called from the event loop and do not raise."""

    message: Callable[[Eui64, int, bytes, bool], None]
    event: Callable[[Event], None]


OpenHouse = Callable[[Memory, Ears], Awaitable[House]]
"""Connects to the radio and brings the network up, with the devices that are remembered."""


def coordinator_at(
    radio: RadioSettings, network: NetworkSettings, security: SecuritySettings, facts: Facts
) -> OpenHouse:
    """The house behind a radio: bellows on a dongle, real or virtual."""

    async def open_house(memory: Memory, ears: Ears) -> House:
        admitted = [
            Admitted(
                each.eui64,
                each.device_type,
                nwk=each.nwk,
                endpoint=each.endpoint,
                state=DeviceState(each.state),
                establishes_keys=each.establishes_keys,
                is_secured=each.is_secured,
            )
            for each in memory.devices
        ]
        return await Coordinator.start(
            radio,
            network=network,
            devices=admitted,
            facts=facts,
            on_message=ears.message,
            on_event=ears.event,
            security=security,
            removed=memory.removed,
        )

    return open_house
