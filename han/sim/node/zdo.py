"""A node's Device Objects: it tells others about itself, and hears who announces itself."""

from __future__ import annotations

from collections.abc import Callable

from han.sim.node.aps import Aps, largest_payload
from han.sim.node.nwk import Nwk
from han.sim.node.service import Received, SendRequest, SendStatus, SimpleDescriptor
from han.sim.node.station import Station
from han.sim.node.topology import neighbours_answer, routes_answer
from han.sim.wire import zdo as wire
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import BROADCAST_LOWEST, BROADCAST_RX_ON
from ota.eui64 import Eui64

LEAVE_AFTER = 0.1
"""Seconds between saying yes to Mgmt_Leave and going, so that the answer gets out first."""
_OURSELVES = Eui64(0)


class Zdo:
    """The Device Objects of one node.

    ``left_to_user`` holds the request clusters that the node does not answer itself, because a host on top
    of it does; ``answers_unknown`` says whether a request that is not modelled is answered NOT_SUPPORTED.
    ``on_leave(rejoin=...)`` makes the node leave, ``on_remove(eui64, rejoin=...)`` sends a child away.
    """

    def __init__(
        self,
        station: Station,
        nwk: Nwk,
        aps: Aps,
        endpoints: dict[int, SimpleDescriptor],
        *,
        on_announced: Callable[[wire.DeviceAnnounce], object],
        on_permit: Callable[[int], object],
        on_leave: Callable[..., object],
        on_remove: Callable[..., bool],
    ) -> None:
        self._station = station
        self._nwk = nwk
        self._aps = aps
        self._endpoints = endpoints
        self._on_announced = on_announced
        self._on_permit = on_permit
        self._on_leave = on_leave
        self._on_remove = on_remove
        self._sequence = station.dice.randrange(256)
        self.left_to_user: frozenset[int] = frozenset()
        self.answers_unknown = True
        self.manufacturer = 0x0000
        """The manufacturer code of the node descriptor."""
        self.longest = (wire.ONE_FRAME, wire.ONE_FRAME)
        """Octets of the longest message that can be received, and sent, as the node descriptor tells."""

    def announce(self) -> None:
        """Tell everyone our addresses (Device_annce)."""
        address = self._nwk.address
        if address is not None:
            self._say(
                BROADCAST_RX_ON, wire.DeviceAnnounce(address, self._station.eui64, self._station.capability)
            )

    def receive(self, message: Received) -> None:
        """A ZDO message arrived; answer it if it is a request that is ours to answer."""
        try:
            sequence, command = wire.decode(message.cluster, message.payload)
        except WireError as error:
            self._station.drop("zdo", str(error), source=message.source, cluster=message.cluster)
            return
        if isinstance(command, wire.DeviceAnnounce):
            self._on_announced(command)
            return
        if message.cluster & wire.RESPONSE or message.cluster in self.left_to_user:
            return
        answer = self._answer(command, message)
        if answer is not None:
            self._say(message.source, answer, sequence)

    def _say(self, destination: int, command: wire.ZdoCommand, sequence: int | None = None) -> None:
        if sequence is None:
            self._sequence = sequence = (self._sequence + 1) & 0xFF
        request = SendRequest(
            destination, wire.PROFILE, wire.cluster_of(command), 0, 0, wire.encode(sequence, command)
        )
        self._aps.send(request, _ignore)

    def _answer(self, command: wire.ZdoCommand, message: Received) -> wire.ZdoCommand | None:
        broadcast = message.broadcast
        match command:
            case wire.NwkAddressRequest() | wire.IeeeAddressRequest():
                return self._answer_address(command)
            case wire.MatchDescriptorRequest():
                return self._answer_match(command, broadcast=broadcast)
            case wire.Unknown():
                return None if broadcast or not self.answers_unknown else wire.not_supported(command)
            case (
                wire.NodeDescriptorRequest() | wire.ActiveEndpointsRequest() | wire.SimpleDescriptorRequest()
            ):
                return self._describe(command)
            case wire.MgmtLqiRequest() | wire.MgmtRtgRequest():
                return None if broadcast else self._show(command, message.source)
            case _:
                return self._manage(command, broadcast=broadcast)

    def _describe(
        self,
        command: wire.NodeDescriptorRequest | wire.ActiveEndpointsRequest | wire.SimpleDescriptorRequest,
    ) -> wire.ZdoCommand:
        nwk = command.nwk
        status = wire.Status.SUCCESS if self._is_us(nwk) else wire.Status.DEVICE_NOT_FOUND
        ok = status is wire.Status.SUCCESS
        match command:
            case wire.NodeDescriptorRequest():
                return wire.NodeDescriptorResponse(status, nwk, self._descriptor() if ok else None)
            case wire.ActiveEndpointsRequest():
                return wire.ActiveEndpointsResponse(status, nwk, tuple(self._endpoints) if ok else ())
            case wire.SimpleDescriptorRequest():
                return self._answer_simple(command, status)

    def _manage(self, command: wire.ZdoCommand, *, broadcast: bool) -> wire.ZdoCommand | None:
        match command:
            case wire.MgmtPermitJoiningRequest():
                self._on_permit(command.duration)
                return None if broadcast else wire.MgmtPermitJoiningResponse(wire.Status.SUCCESS)
            case wire.MgmtLeaveRequest():
                return self._answer_leave(command)
            case _:
                return None

    def _show(self, command: wire.MgmtLqiRequest | wire.MgmtRtgRequest, to: int) -> wire.ZdoCommand:
        """A part of a table, as much as fits one frame on the way to whoever asks."""
        mesh = self._nwk.mesh
        room = largest_payload(aps_security=False) - mesh.overhead(to)
        if isinstance(command, wire.MgmtLqiRequest):
            entries = mesh.neighbour_entries()
            return neighbours_answer(entries, self._station.store, command.start_index, room)
        if not self._station.is_router:
            return wire.MgmtRtgResponse(wire.Status.NOT_SUPPORTED)
        return routes_answer(mesh.route_entries(), command.start_index, room)

    def _is_us(self, nwk: int) -> bool:
        return nwk == self._nwk.address or nwk >= BROADCAST_LOWEST

    def _descriptor(self) -> wire.NodeDescriptor:
        if self._station.is_router:
            # The coordinator is known by its address alone.
            kind = wire.LogicalType.ROUTER if self._nwk.address else wire.LogicalType.COORDINATOR
        else:
            kind = wire.LogicalType.END_DEVICE
        incoming, outgoing = self.longest
        return wire.NodeDescriptor(
            kind,
            self._station.capability,
            self.manufacturer,
            maximum_incoming_transfer=incoming,
            maximum_outgoing_transfer=outgoing,
        )

    def _answer_address(
        self, command: wire.NwkAddressRequest | wire.IeeeAddressRequest
    ) -> wire.ZdoCommand | None:
        address = self._nwk.address
        assert address is not None
        if isinstance(command, wire.NwkAddressRequest):
            # Usually a broadcast: whoever is not meant keeps silent.
            if command.ieee != self._station.eui64:
                return None
            return wire.NwkAddressResponse(wire.Status.SUCCESS, self._station.eui64, address)
        if not self._is_us(command.nwk):
            return wire.IeeeAddressResponse(wire.Status.DEVICE_NOT_FOUND, Eui64(0), command.nwk)
        return wire.IeeeAddressResponse(wire.Status.SUCCESS, self._station.eui64, address)

    def _answer_simple(
        self, command: wire.SimpleDescriptorRequest, status: wire.Status
    ) -> wire.SimpleDescriptorResponse:
        nwk, endpoint = command.nwk, command.endpoint
        if status is wire.Status.SUCCESS and not 1 <= endpoint <= 254:
            status = wire.Status.INVALID_ENDPOINT
        elif status is wire.Status.SUCCESS and endpoint not in self._endpoints:
            status = wire.Status.NOT_ACTIVE
        found = self._simple(endpoint) if status is wire.Status.SUCCESS else None
        return wire.SimpleDescriptorResponse(status, nwk, found)

    def _simple(self, endpoint: int) -> wire.SimpleDescriptor:
        ours = self._endpoints[endpoint]
        return wire.SimpleDescriptor(
            endpoint,
            ours.profile,
            ours.device_id,
            ours.device_version,
            tuple(ours.input_clusters),
            tuple(ours.output_clusters),
        )

    def _answer_match(
        self, command: wire.MatchDescriptorRequest, *, broadcast: bool
    ) -> wire.ZdoCommand | None:
        address = self._nwk.address
        assert address is not None
        if not self._is_us(command.nwk):
            return (
                None if broadcast else wire.MatchDescriptorResponse(wire.Status.DEVICE_NOT_FOUND, command.nwk)
            )
        found = tuple(endpoint for endpoint in self._endpoints if self._simple(endpoint).matches(command))
        if broadcast and not found:
            return None
        return wire.MatchDescriptorResponse(wire.Status.SUCCESS, address, found)

    def _answer_leave(self, command: wire.MgmtLeaveRequest) -> wire.ZdoCommand:
        if command.device in (_OURSELVES, self._station.eui64):
            self._station.timeline.after(LEAVE_AFTER, self._leave, command.rejoin)
            return wire.MgmtLeaveResponse(wire.Status.SUCCESS)
        is_child = self._on_remove(command.device, rejoin=command.rejoin)
        return wire.MgmtLeaveResponse(wire.Status.SUCCESS if is_child else wire.Status.DEVICE_NOT_FOUND)

    def _leave(self, rejoin: bool) -> None:  # noqa: FBT001 - called by the timeline
        self._on_leave(rejoin=rejoin)


def _ignore(status: SendStatus) -> None:
    """Who did not get an answer asks again."""
