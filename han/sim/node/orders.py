"""What others tell a node about the network and its place in it, and whom it obeys.

The Trust Centre is obeyed in everything that concerns keys and membership, a parent when it sends its child
away, a device when it speaks of itself. Everything else is dropped, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from han.sim.node.children import Children
from han.sim.node.join import Joiner
from han.sim.node.nwk import Nwk
from han.sim.node.parent import Parent
from han.sim.node.service import DeviceLeft, DeviceUpdate, KeySwitched, NodeEvent
from han.sim.node.station import Station
from han.sim.node.trust import TrustCentre
from han.sim.wire.aps_commands import (
    ApsCommand,
    RemoveDevice,
    SwitchKey,
    TransportNetworkKey,
    Tunnel,
    UpdateDevice,
)
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import COORDINATOR, NwkFrame
from han.sim.wire.nwk_commands import (
    EndDeviceTimeoutRequest,
    EndDeviceTimeoutResponse,
    Leave,
    RejoinRequest,
    RejoinResponse,
    parse_command,
)
from ota.eui64 import Eui64

_UPDATES = {int(update): update for update in DeviceUpdate}


class LeaveAction(Protocol):
    """Makes the node leave its network, for good or to come back."""

    def __call__(self, *, rejoin: bool = False) -> None:
        """Leave, unless the node is on its way into a network."""
        ...


class Orders:
    """Hears the commands of both layers for one node, and hands each to the part that it concerns."""

    def __init__(
        self,
        station: Station,
        nwk: Nwk,
        *,
        joiner: Joiner,
        parent: Parent,
        children: Children,
        trust: TrustCentre,
        leave: LeaveAction,
        on_event: Callable[[NodeEvent], object],
    ) -> None:
        self._station = station
        self._store = station.store
        self._nwk = nwk
        self._joiner = joiner
        self._parent = parent
        self._children = children
        self._trust = trust
        self._leave = leave
        self._on_event = on_event

    # The support layer's

    def hear_command(
        self,
        command: ApsCommand,
        source: int,
        network_secured: bool,  # noqa: FBT001 - the shape of an OnCommand
        link_secured: bool,  # noqa: FBT001 - the shape of an OnCommand
    ) -> None:
        """An APS command arrived, opened."""
        match command:
            case TransportNetworkKey() if not network_secured:
                self._joiner.hear_key(command, link_secured=link_secured)
            case TransportNetworkKey() if source == COORDINATOR:
                self._hear_next_key(command)
            case SwitchKey() if network_secured and source == COORDINATOR:
                self._hear_switch(command)
            case UpdateDevice() if network_secured and command.status in _UPDATES:
                self._hear_update(command, source)
            case Tunnel() if network_secured and source == COORDINATOR:
                self._parent.relay(command)
            case RemoveDevice() if network_secured and source == COORDINATOR:
                self._obey_removal(command.target)
            case _:
                self._station.drop("aps", "a command that is not for us to obey", source=source)

    def _hear_next_key(self, command: TransportNetworkKey) -> None:
        network = self._store.network
        if network is None or command.key_sequence == network.key_sequence:
            return  # the key of today, told again
        self._store.keep_key(command.key_sequence, command.key)
        self._nwk.take_keys()

    def _hear_switch(self, command: SwitchKey) -> None:
        if self._store.switch_key(command.key_sequence):
            self._nwk.take_keys()
            self._station.facts.say(
                self._station.name, "network.key_switched", sequence=command.key_sequence, how="told"
            )
            self._on_event(KeySwitched(command.key_sequence))

    def _hear_update(self, command: UpdateDevice, parent: int) -> None:
        status = _UPDATES[command.status]
        if status is not DeviceUpdate.DEVICE_LEFT:
            self._children.forget(command.device)  # it has another parent now
        self._trust.device_came(command.device, command.network_address, parent, status)

    def _obey_removal(self, target: Eui64) -> None:
        if target == self._station.eui64:
            self._leave()
        elif not self._parent.remove(target):
            self._station.drop("aps", "a removal of no child of ours", device=str(target))

    # The network layer's

    def hear_network_command(self, frame: NwkFrame, sealer: Eui64 | None) -> None:
        """A network command arrived, in plain; the mesh has kept its own ones to itself."""
        try:
            command = parse_command(frame.payload)
        except WireError as error:
            self._station.drop("nwk", str(error), source=frame.source)
            return
        match command:
            case Leave(request=True) if frame.source in (COORDINATOR, self._store.parent):
                self._leave(rejoin=command.rejoin)
            case Leave(request=False):
                self._hear_farewell(frame, sealer, rejoin=command.rejoin)
            case RejoinRequest():
                self._parent.rejoin(command, frame, sealer)
            case RejoinResponse():
                self._joiner.hear_rejoin_response(command)
            case EndDeviceTimeoutRequest():
                self._children.agree_timeout(command, frame, sealer)
            case EndDeviceTimeoutResponse():
                self._station.facts.say(self._station.name, "node.timeout_agreed", ok=command.status == 0)
            case _:
                self._station.drop("nwk", "a command that is not modelled", source=frame.source)

    def _hear_farewell(self, frame: NwkFrame, sealer: Eui64 | None, *, rejoin: bool) -> None:
        if sealer is None or frame.source_ieee not in (None, sealer):
            self._station.drop("nwk", "a farewell in somebody else's name", source=frame.source)
            return
        self._on_event(DeviceLeft(sealer, frame.source, rejoin))
        if not rejoin:
            self._parent.child_left(sealer)
            self._nwk.forget(sealer)
