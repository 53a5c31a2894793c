"""What a node's flash memory keeps: keys, addresses, children, and counters that must never repeat.

A sender's frame counter may never be used twice under one key, not even when power fails. Writing flash at
every frame would wear it out, so a counter's *limit* is kept, ahead of the counter; after a reboot counting
goes on from the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from han.sim.node.service import NetworkParameters
from ota.eui64 import Eui64

COUNTER_JUMP = 1024
"""How many frame counters are reserved at a time."""
COUNTER_END = 0xFFFFFFFF
"""A counter that has come this far is used up: frames that carry it are refused (Zigbee 4.3.1.1)."""


@dataclass(slots=True)
class LinkKey:
    """A key shared with one partner. ``heard`` is the least frame counter still accepted from it."""

    key: bytes = field(repr=False)
    heard: int = 0


@dataclass(slots=True)
class Child:
    """A device that joined through us.

    ``timeout`` is what it asked for (0: ten seconds, n: 2^n minutes), None if it asked for nothing.
    """

    nwk: int
    capability: int
    index: int
    timeout: int | None = None

    @property
    def is_end_device(self) -> bool:
        """Whether it depends on its parent."""
        return self.capability & 0x02 == 0

    @property
    def sleeps(self) -> bool:
        """Whether its radio is off while idle, so that what is sent to it has to wait."""
        return self.capability & 0x0A == 0


class FrameCounter:
    """An outgoing frame counter that never repeats. ``limit`` is what flash remembers of it."""

    __slots__ = ("_on_change", "limit", "next")

    def __init__(self, limit: int, on_change: Callable[[], None]) -> None:
        self.limit = limit
        self.next = limit
        """The counter of the next frame."""
        self._on_change = on_change

    def take(self) -> int:
        """The counter for one frame, to be used once."""
        value = self.next
        self.next = value + 1
        if value >= self.limit:
            self.limit = value + COUNTER_JUMP
            self._on_change()
        return value

    def reboot(self) -> None:
        """Power was lost: go on where nothing can have been sent yet."""
        self.next = self.limit

    def set(self, value: int) -> None:
        """Go on from ``value``, as a host asks that restores a backup."""
        self.limit = self.next = value
        self._on_change()


class NodeStore:
    """The flash memory of a node. It outlives ``crash``; ``to_dict`` gives it as plain JSON values.

    ``on_change`` is called when something was written that must survive (not for every frame received).
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        self.network: NetworkParameters | None = None
        self.alternate_keys: dict[int, bytes] = {}
        """Network keys other than the active one, by key sequence number."""
        self.parent: int | None = None
        self.depth = 0
        """How many hops from the coordinator we joined; 0: we are it."""
        self.trust_centre: Eui64 | None = None
        self.addresses: dict[Eui64, int] = {}
        self.children: dict[Eui64, Child] = {}
        self.link_keys: dict[Eui64, LinkKey] = {}
        self.heard: dict[Eui64, int] = {}
        """The least network frame counter still accepted from each sender, under the active key."""
        self.network_counter = FrameCounter(0, self._changed)
        self.link_counter = FrameCounter(0, self._changed)

    def _changed(self) -> None:
        self.on_change()

    def reboot(self) -> None:
        """Read flash after power was lost."""
        self.network_counter.reboot()
        self.link_counter.reboot()

    def enter(self, network: NetworkParameters) -> None:
        """Remember a network that was formed or joined."""
        self.network = network
        self.alternate_keys.clear()
        self.heard.clear()
        self._changed()

    def keep_key(self, key_sequence: int, key: bytes) -> None:
        """Keep a network key that is going to be used; an older one that waited gives way."""
        self.alternate_keys = {key_sequence: key}
        self._changed()

    def switch_key(self, key_sequence: int) -> bool:
        """Make a stored network key the active one; False if it is not there. Frame counters start anew."""
        network = self.network
        if network is None or key_sequence not in self.alternate_keys:
            return False
        self.alternate_keys[network.key_sequence] = network.network_key
        self.network = replace(
            network, network_key=self.alternate_keys.pop(key_sequence), key_sequence=key_sequence
        )
        self.heard.clear()
        self.network_counter.set(0)
        return True

    def forget(self) -> None:
        """Forget the network and everyone in it, but no outgoing counter: the same keys may be met again."""
        self.network = None
        self.alternate_keys.clear()
        self.parent = None
        self.depth = 0
        self.trust_centre = None
        self.addresses.clear()
        self.children.clear()
        self.link_keys.clear()
        self.heard.clear()
        self._changed()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values. Holds keys: keep it from other people's eyes."""
        network = self.network
        return {
            "network": None
            if network is None
            else {
                "channel": network.channel,
                "pan_id": network.pan_id,
                "extended_pan_id": network.extended_pan_id.hex,
                "network_key": network.network_key.hex(),
                "key_sequence": network.key_sequence,
                "nwk_update_id": network.nwk_update_id,
                "tc_link_key": None if network.tc_link_key is None else network.tc_link_key.hex(),
                "nwk": network.nwk,
            },
            "alternate_keys": {str(number): key.hex() for number, key in self.alternate_keys.items()},
            "parent": self.parent,
            "depth": self.depth,
            "trust_centre": None if self.trust_centre is None else self.trust_centre.hex,
            "addresses": {eui64.hex: nwk for eui64, nwk in self.addresses.items()},
            "children": {
                eui64.hex: [child.nwk, child.capability, child.index, child.timeout]
                for eui64, child in self.children.items()
            },
            "link_keys": {
                eui64.hex: [entry.key.hex(), entry.heard] for eui64, entry in self.link_keys.items()
            },
            "heard": {eui64.hex: counter for eui64, counter in self.heard.items()},
            "network_counter": self.network_counter.limit,
            "link_counter": self.link_counter.limit,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], on_change: Callable[[], None] = lambda: None) -> Self:
        """What ``to_dict`` gave, read back as after a reboot.

        Raises:
            KeyError, ValueError, TypeError: if it is not what ``to_dict`` gives.
        """
        store = cls(on_change)
        if (network := data["network"]) is not None:
            tc_link_key = network["tc_link_key"]
            store.network = NetworkParameters(
                channel=network["channel"],
                pan_id=network["pan_id"],
                extended_pan_id=Eui64.parse(network["extended_pan_id"]),
                network_key=bytes.fromhex(network["network_key"]),
                key_sequence=network["key_sequence"],
                nwk_update_id=network["nwk_update_id"],
                tc_link_key=None if tc_link_key is None else bytes.fromhex(tc_link_key),
                nwk=network["nwk"],
            )
        store.alternate_keys = {
            int(number): bytes.fromhex(key) for number, key in data["alternate_keys"].items()
        }
        store.parent = data["parent"]
        store.depth = data["depth"]
        store.trust_centre = None if data["trust_centre"] is None else Eui64.parse(data["trust_centre"])
        store.addresses = {Eui64.parse(eui64): nwk for eui64, nwk in data["addresses"].items()}
        store.children = {Eui64.parse(eui64): Child(*child) for eui64, child in data["children"].items()}
        store.link_keys = {
            Eui64.parse(eui64): LinkKey(bytes.fromhex(key), heard)
            for eui64, (key, heard) in data["link_keys"].items()
        }
        store.heard = {Eui64.parse(eui64): counter for eui64, counter in data["heard"].items()}
        store.network_counter = FrameCounter(data["network_counter"], store._changed)
        store.link_counter = FrameCounter(data["link_counter"], store._changed)
        return store
