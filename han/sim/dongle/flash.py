"""What the dongle itself keeps across resets and hosts: network settings, security settings, key rows.

The Zigbee stack's own memory (keys, counters, children) is the node's `NodeStore`; this is what the EZSP
firmware keeps beside it. Both are plain values that a house holds while no host is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True)
class FormedNetwork:
    """EmberNetworkParameters beyond what a node needs to know."""

    tx_power: int
    join_method: int
    manager: int
    channels: int


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """EmberInitialSecurityState, as the host set it before it formed the network."""

    bitmask: int
    trust_centre: Eui64
    preconfigured_key: bytes = field(repr=False)
    network_key: bytes = field(repr=False)
    network_key_sequence: int


class Flash:
    """The firmware's own non-volatile memory. ``on_change`` is called after each change."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        self.network: FormedNetwork | None = None
        self.security: SecuritySettings | None = None
        self.link_keys: dict[int, Eui64] = {}
        """Which index of the key table belongs to which partner; the keys are in the node's store."""
        self.unheeded: dict[Eui64, bytes] = {}
        """Keys of the table in whose place the stack uses one that it derives; see `Personality`."""
        self.boots = 0

    def changed(self) -> None:
        """Say that something was written."""
        self.on_change()

    def forget_network(self) -> None:
        """What a token factory reset forgets."""
        self.network = None
        self.security = None
        self.link_keys.clear()
        self.unheeded.clear()
        self.changed()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values. Holds keys: keep it from other people's eyes."""
        security = self.security
        return {
            "network": None if self.network is None else asdict(self.network),
            "security": None
            if security is None
            else {
                "bitmask": security.bitmask,
                "trust_centre": security.trust_centre.hex,
                "preconfigured_key": security.preconfigured_key.hex(),
                "network_key": security.network_key.hex(),
                "network_key_sequence": security.network_key_sequence,
            },
            "link_keys": {str(index): partner.hex for index, partner in self.link_keys.items()},
            "boots": self.boots,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What ``to_dict`` gave.

        Raises:
            KeyError, ValueError, TypeError, AttributeError: if it is not what ``to_dict`` gives.
        """
        flash = cls()
        if (network := data["network"]) is not None:
            flash.network = FormedNetwork(**network)
        if (security := data["security"]) is not None:
            flash.security = SecuritySettings(
                bitmask=security["bitmask"],
                trust_centre=Eui64.parse(security["trust_centre"]),
                preconfigured_key=bytes.fromhex(security["preconfigured_key"]),
                network_key=bytes.fromhex(security["network_key"]),
                network_key_sequence=security["network_key_sequence"],
            )
        flash.link_keys = {int(index): Eui64.parse(partner) for index, partner in data["link_keys"].items()}
        flash.boots = data["boots"]
        return flash
