"""The Trust Centre: who may have the network key, and under which key it travels.

A device gets the network key only under a link key that is known for it by name: from its install code
(``transient``) or from an earlier meeting (``link_keys``). The key that everybody knows opens nothing,
unless the policy says so in words.

The network key is changed in two steps: each device gets the next one, then everybody is told to switch. Who
slept through it comes back by an unsecured rejoin and gets the network key of today under its link key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from han.sim.node.commands import ApsCommands
from han.sim.node.nwk import Nwk
from han.sim.node.service import DeviceJoined, DeviceUpdate, JoinDecision, KeySwitched, NodeEvent
from han.sim.node.station import Station
from han.sim.node.store import LinkKey
from han.sim.wire.aps_commands import RemoveDevice, SwitchKey, TransportNetworkKey, Tunnel
from han.sim.wire.nwk import BROADCAST_ALL
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

_EVERYBODY = Eui64(0)


@dataclass(frozen=True, slots=True)
class JoinPolicy:
    """Whom the Trust Centre lets in."""

    allow_joins: bool = True
    allow_unsecured_rejoins: bool = False
    """Whether a device that lost the network key gets it again under a link key that it shares with us."""
    default_link_key: bytes | None = field(default=None, repr=False)
    """A key for devices without one of their own. None: they are refused."""


class TrustCentre:
    """The Trust Centre of the network that its node formed; of no effect on other nodes."""

    def __init__(
        self, station: Station, nwk: Nwk, commands: ApsCommands, on_event: Callable[[NodeEvent], object]
    ) -> None:
        self._station = station
        self._nwk = nwk
        self._commands = commands
        self._on_event = on_event
        self.policy = JoinPolicy()
        self.transient: dict[Eui64, bytes] = {}
        """Link keys of devices that are expected, until they have joined. Not kept over a reboot."""
        self._told: dict[Eui64, bytes] = {}

    @property
    def link_keys(self) -> dict[Eui64, LinkKey]:
        """The keys shared with devices; one from ``transient`` comes here once its device has shown it."""
        return self._station.store.link_keys

    @property
    def is_here(self) -> bool:
        """Whether this node is its network's Trust Centre."""
        return self._station.store.trust_centre == self._station.eui64

    def stop(self) -> None:
        """Power was lost: expected devices are forgotten."""
        self.transient.clear()
        self._told.clear()

    def device_came(self, eui64: Eui64, nwk: int, parent: int, status: DeviceUpdate) -> None:
        """A parent, perhaps ourselves, reports a device."""
        if not self.is_here:
            return
        if status is DeviceUpdate.DEVICE_LEFT:
            self._on_event(DeviceJoined(eui64, nwk, parent, status, JoinDecision.NO_ACTION))
            return
        self._nwk.learn(eui64, nwk)
        if status is DeviceUpdate.SECURED_REJOIN:
            self._on_event(DeviceJoined(eui64, nwk, parent, status, JoinDecision.NO_ACTION))
            return
        link_key, why = self._judge(eui64, status)
        if link_key is None:
            self._say_refused(eui64, why)
            self._on_event(DeviceJoined(eui64, nwk, parent, status, JoinDecision.DENY_JOIN))
            return
        if status is DeviceUpdate.UNSECURED_JOIN:
            self._expect_counters_anew(eui64)
        self._send_network_key(eui64, nwk, parent, link_key)
        self._on_event(DeviceJoined(eui64, nwk, parent, status, JoinDecision.USE_PRECONFIGURED_KEY))

    def device_spoke(self, eui64: Eui64) -> None:
        """A device spoke under the network key: it could open what we sent, so it holds its link key."""
        link_key = self._told.pop(eui64, None)
        if link_key is None:
            return
        if eui64 not in self.link_keys:
            self.link_keys[eui64] = LinkKey(link_key)
            self._station.store.on_change()
        self._station.facts.say(self._station.name, "join.authorised", device=str(eui64))

    def remove(self, eui64: Eui64, through: int) -> bool:
        """Let a router send a device away, its child or itself; False if we are no Trust Centre."""
        if not self.is_here:
            return False
        router = self._nwk.eui64_of(through)
        entry = None if router is None else self.link_keys.get(router)
        command = RemoveDevice(eui64)
        if entry is None:
            octets = self._commands.plain(command)
        else:
            octets = self._commands.sealed(command, entry.key, KeyIdentifier.DATA)
        self._commands.send(through, octets, network_secured=True)
        return True

    # The next network key

    def broadcast_next_key(self, key: bytes) -> None:
        """Give everybody the next network key, under the one of today. It is not used before the switch."""
        command = TransportNetworkKey(
            key, self._keep_next_key(key), destination=_EVERYBODY, source=self._station.eui64
        )
        self._commands.send(BROADCAST_ALL, self._commands.plain(command), network_secured=True)
        self._station.facts.say(self._station.name, "network.next_key_sent", device="everybody")

    def send_next_key(self, eui64: Eui64, nwk: int, key: bytes) -> bool:
        """Give one device the next network key, under its link key; False if it shares none with us."""
        entry = self.link_keys.get(eui64)
        if entry is None:
            return False
        command = TransportNetworkKey(
            key, self._keep_next_key(key), destination=eui64, source=self._station.eui64
        )
        octets = self._commands.sealed(command, entry.key, KeyIdentifier.KEY_TRANSPORT)
        self._commands.send(nwk, octets, network_secured=True)
        self._station.facts.say(self._station.name, "network.next_key_sent", device=str(eui64))
        return True

    def switch_key(self) -> bool:
        """Tell everybody to use the next network key, and use it; False if none was given out."""
        waiting = self._station.store.alternate_keys
        sequence = self._next_sequence()
        if sequence not in waiting:
            return False
        self._commands.send(
            BROADCAST_ALL,
            self._commands.plain(SwitchKey(sequence)),
            network_secured=True,
            on_done=lambda _: self._switched(sequence),
        )
        return True

    def _switched(self, sequence: int) -> None:
        if not self._station.store.switch_key(sequence):
            return
        self._nwk.take_keys()
        self._station.facts.say(self._station.name, "network.key_switched", sequence=sequence, how="ordered")
        self._on_event(KeySwitched(sequence))

    def _next_sequence(self) -> int:
        network = self._station.store.network
        assert network is not None
        return (network.key_sequence + 1) & 0xFF

    def _keep_next_key(self, key: bytes) -> int:
        sequence = self._next_sequence()
        self._station.store.keep_key(sequence, key)
        return sequence

    def _judge(self, eui64: Eui64, status: DeviceUpdate) -> tuple[bytes | None, str]:
        known = self.link_keys.get(eui64)
        if status is DeviceUpdate.UNSECURED_REJOIN:
            if not self.policy.allow_unsecured_rejoins:
                return None, "rejoining without the network key is not allowed"
            return None if known is None else known.key, "it shares no link key with us: let it join anew"
        if not self.policy.allow_joins:
            return None, "the Trust Centre lets nobody in"
        if known is not None:
            return known.key, ""
        link_key = self.transient.get(eui64) or self.policy.default_link_key
        return link_key, "no link key is known for this device: give its install code first"

    def _expect_counters_anew(self, eui64: Eui64) -> None:
        """Who joins as if new may have lost its counters; a real stack makes a fresh entry for it."""
        self._station.store.heard.pop(eui64, None)
        known = self.link_keys.get(eui64)
        if known is not None:
            known.heard = 0

    def _say_refused(self, eui64: Eui64, why: str) -> None:
        self._station.facts.say(self._station.name, "join.refused", device=str(eui64), why=why)

    def _send_network_key(self, eui64: Eui64, nwk: int, parent: int, link_key: bytes) -> None:
        network = self._station.store.network
        assert network is not None
        command = TransportNetworkKey(
            network.network_key, network.key_sequence, destination=eui64, source=self._station.eui64
        )
        octets = self._commands.sealed(command, link_key, KeyIdentifier.KEY_TRANSPORT)
        self._told[eui64] = link_key
        if parent == self._nwk.address:
            self._commands.send(nwk, octets, network_secured=False)
        else:
            self._commands.send(parent, self._commands.plain(Tunnel(eui64, octets)), network_secured=True)
        self._station.facts.say(self._station.name, "join.key_sent", device=str(eui64), parent=parent)
