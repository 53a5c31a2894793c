"""A node as a parent: beacons, association, rejoining, and telling the Trust Centre who came and went."""

from __future__ import annotations

from collections.abc import Callable

from han.sim.air.timeline import Handle
from han.sim.node.children import Children
from han.sim.node.commands import ApsCommands
from han.sim.node.mac import Mac
from han.sim.node.nwk import Nwk
from han.sim.node.service import DeviceUpdate
from han.sim.node.station import Station
from han.sim.node.trust import TrustCentre
from han.sim.wire.aps_commands import Tunnel, UpdateDevice
from han.sim.wire.errors import WireError
from han.sim.wire.mac import (
    BROADCAST,
    AssociationRequest,
    AssociationResponse,
    AssociationStatus,
    Beacon,
    BeaconRequest,
    FrameType,
    MacFrame,
    parse_command,
)
from han.sim.wire.nwk import COORDINATOR, BeaconPayload, NwkFrame
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk_commands import RejoinRequest, RejoinResponse
from ota.eui64 import Eui64

BEACON_JITTER = 0.02
"""Seconds over which parents spread their beacons, so that they do not all fall on one another."""
FOR_EVER = 0xFF
_HEARS_WHEN_IDLE = 0x08


class Parent:
    """The parent's side of joining, on the coordinator and on routers in a network."""

    def __init__(
        self,
        station: Station,
        mac: Mac,
        nwk: Nwk,
        *,
        commands: ApsCommands,
        trust: TrustCentre,
        children: Children,
    ) -> None:
        self._station = station
        self._mac = mac
        self._nwk = nwk
        self._commands = commands
        self._trust = trust
        self._children = children
        self._closing: Handle | None = None
        self.is_open = False

    def stop(self) -> None:
        """Power was lost, or the network left."""
        self.permit(0)

    def permit(self, seconds: int) -> None:
        """Let devices associate for this long; 0 closes at once, 255 stays open."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        was_open, self.is_open = self.is_open, seconds > 0
        if 0 < seconds < FOR_EVER:
            self._closing = self._station.timeline.after(float(seconds), self.permit, 0)
        if self.is_open or was_open:
            self._station.facts.say(self._station.name, "join.permitted", seconds=seconds)

    def receive(self, frame: MacFrame) -> None:
        """A MAC command arrived."""
        if not (self._station.is_router and self._nwk.authorised):
            return
        try:
            command = parse_command(frame.payload)
        except WireError as error:
            self._station.drop("mac", str(error))
            return
        if isinstance(command, BeaconRequest):
            delay = self._station.dice.random() * BEACON_JITTER
            self._station.timeline.after(delay, self._send_beacon)
        elif isinstance(command, AssociationRequest) and isinstance(frame.source, Eui64):
            self._station.counters.join_indication += 1
            self._answer(frame.source, command.capability)

    def _send_beacon(self) -> None:
        network, address = self._station.store.network, self._nwk.address
        if network is None or address is None:
            return
        room = not self._children.are_full
        payload = BeaconPayload(
            network.extended_pan_id,
            router_capacity=room,
            end_device_capacity=room,
            device_depth=self._station.store.depth,
            update_id=network.nwk_update_id,
        )
        beacon = Beacon(payload.to_bytes(), self.is_open, address == COORDINATOR)
        self._mac.send(
            MacFrame(
                FrameType.BEACON, 0, source=address, source_pan_id=network.pan_id, payload=beacon.to_bytes()
            ),
            _ignore,
        )

    def _answer(self, eui64: Eui64, capability: int) -> None:
        if not self.is_open:
            self._refuse(eui64, AssociationStatus.PAN_ACCESS_DENIED, "joining is not permitted now")
            return
        if not self._children.has_room_for(eui64):
            self._refuse(eui64, AssociationStatus.PAN_AT_CAPACITY, "no room for another child")
            return
        nwk = self._address_for(eui64)
        self._respond(
            eui64,
            AssociationResponse(nwk, AssociationStatus.SUCCESS),
            lambda ok: self._associated(eui64, nwk, capability) if ok else None,
        )

    def _refuse(self, eui64: Eui64, status: AssociationStatus, why: str) -> None:
        self._station.facts.say(self._station.name, "join.refused", device=str(eui64), why=why)
        self._respond(eui64, AssociationResponse(BROADCAST, status), _ignore)

    def _respond(
        self, eui64: Eui64, response: AssociationResponse, on_done: Callable[[bool], object]
    ) -> None:
        frame = MacFrame(
            FrameType.COMMAND,
            0,
            self._mac.pan_id,
            eui64,
            self._station.eui64,
            response.to_bytes(),
            ack_request=True,
        )
        self._mac.hold(eui64, frame, on_done)

    def _associated(self, eui64: Eui64, nwk: int, capability: int) -> None:
        self._take_in(eui64, nwk, capability, is_proven=False)
        self._report(eui64, nwk, DeviceUpdate.UNSECURED_JOIN)

    def _take_in(self, eui64: Eui64, nwk: int, capability: int, *, is_proven: bool) -> None:
        self._station.facts.say(self._station.name, "join.associated", device=str(eui64), nwk=nwk)
        self._children.take_in(eui64, nwk, capability, is_proven=is_proven)

    def _report(self, eui64: Eui64, nwk: int, status: DeviceUpdate) -> None:
        address = self._nwk.address
        assert address is not None
        if self._trust.is_here:
            self._trust.device_came(eui64, nwk, address, status)
        else:
            command = UpdateDevice(eui64, nwk, status)
            self._commands.send(COORDINATOR, self._commands.plain(command), network_secured=True)

    def relay(self, tunnel: Tunnel) -> None:
        """The Trust Centre hands us a sealed frame for a child that has no network key yet."""
        child = self._children.get(tunnel.destination)
        if child is None:
            self._station.drop(
                "aps", "a tunnel for a child that we do not have", device=str(tunnel.destination)
            )
            return
        self._commands.send(child.nwk, tunnel.frame, network_secured=False)

    def rejoin(self, request: RejoinRequest, frame: NwkFrame, sealer: Eui64 | None) -> None:
        """A device wants us as its parent: one that holds the network key, or, in plain, one that lost it."""
        eui64 = frame.source_ieee
        proven = eui64 == sealer or sealer is None
        if eui64 is None or not proven or not (self._station.is_router and self._nwk.authorised):
            self._station.drop(
                "nwk", "a rejoin request that does not say or prove whose it is", source=frame.source
            )
            return
        nwk = self._address_at_return(eui64, frame)
        status = AssociationStatus.SUCCESS
        if not self._children.has_room_for(eui64):
            nwk, status = BROADCAST, AssociationStatus.PAN_AT_CAPACITY
            why = "no room for another child"
            self._station.facts.say(self._station.name, "join.refused", device=str(eui64), why=why)
        response = RejoinResponse(nwk, status)
        if not request.capability & _HEARS_WHEN_IDLE:
            self._mac.sleepers.add(frame.source)  # it asks for the answer
        self._nwk.send(
            frame.source,
            response.to_bytes(),
            lambda ok: self._answered_rejoin(request, frame, eui64, nwk, ok=ok),
            frame_type=NwkFrameType.COMMAND,
            radius=1,
            named=True,
            destination_ieee=eui64,
            secured=frame.security,
        )

    def _answered_rejoin(
        self, request: RejoinRequest, frame: NwkFrame, eui64: Eui64, nwk: int, *, ok: bool
    ) -> None:
        if frame.source != nwk or not ok:
            self._children.note_sleepers()
        if not ok or nwk == BROADCAST:
            return
        # What a child said under the network key is not changed by somebody who says it in plain.
        if frame.security or self._children.get(eui64) is None:
            self._take_in(eui64, nwk, request.capability, is_proven=frame.security)
        update = DeviceUpdate.SECURED_REJOIN if frame.security else DeviceUpdate.UNSECURED_REJOIN
        self._report(eui64, nwk, update)

    def _address_at_return(self, eui64: Eui64, frame: NwkFrame) -> int:
        """Where a device that comes back is to be found: where it says, unless that is somebody else's."""
        child = self._children.get(eui64)
        if child is not None and not frame.security:
            return child.nwk
        owner = self._nwk.eui64_of(frame.source)
        return frame.source if owner in (None, eui64) else self._address_for(eui64)

    def remove(self, eui64: Eui64, *, rejoin: bool = False) -> bool:
        """Send a child away (a Leave that it has to obey); False if it is none of ours."""
        child = self._children.get(eui64)
        if child is None:
            return False
        self._children.tell_to_leave(child.nwk, eui64, rejoin=rejoin)
        return True

    def child_left(self, eui64: Eui64) -> None:
        """A device says that it leaves."""
        child = self._children.forget(eui64)
        if child is not None:
            self._report(eui64, child.nwk, DeviceUpdate.DEVICE_LEFT)

    def _address_for(self, eui64: Eui64) -> int:
        known = self._station.store.addresses.get(eui64)
        return self.unused_address() if known is None else known

    def unused_address(self) -> int:
        """A random short address that nobody has, as far as known (stochastic addressing, 3.6.1.7)."""
        while True:
            nwk = self._station.dice.randrange(0x0001, 0xFFF8)
            if self._nwk.eui64_of(nwk) is None and nwk != self._nwk.address:
                return nwk


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """A beacon or a refusal that is lost is asked for again."""
