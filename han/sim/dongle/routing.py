"""The dongle as a concentrator, and its tables of neighbours, routes and source routes.

The stack beneath routes by itself. A host only says whether it is to be a concentrator, may look into the
tables, and is told what a concentrator learns: who told the way to it, and which way has broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

from han.sim.dongle import configuration as config
from han.sim.dongle.configuration import Configuration
from han.sim.dongle.dialect import Command, Dialect, Fields
from han.sim.dongle.errors import Refused
from han.sim.dongle.ezsp import Ezsp
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.node.concentrator import ConcentratorSettings
from han.sim.node.service import RouteFailed, RouteRecorded
from ota.eui64 import Eui64

LOW_RAM: Final = 0xFFF8
HIGH_RAM: Final = 0xFFF9
DISCOVERY_OFF: Final = 0
DISCOVERY_NOW: Final = 2
NEVER: Final = 0xFFFF_FFFF
OURSELVES: Final = 0xFF
"""Where the chain of a source route table's rows ends."""
UNUSED: Final = 0xFFFF
_STATUS_HANDLER_SINCE: Final = 10
"""Up to version 9 the same frame id was that of another callback."""
_ROUTE_ERRORS: Final = {
    0x06: Status.MAC_INDIRECT_TIMEOUT,
    0x0B: Status.SOURCE_ROUTE_FAILURE,
    0x0C: Status.MANY_TO_ONE_ROUTE_FAILURE,
}
_CONCENTRATOR_TYPES: Final = {0: 0, 1: 2, 2: 1}
"""From a many-to-one field (1: keeps routes) to EmberRouteTableEntry's concentratorType (2: high RAM)."""
_NEIGHBOUR: Final = Struct("<HBBBBQ")
"""EmberNeighborTableEntry: short address, average LQI, cost in and out, age, EUI-64."""
_ROUTE: Final = Struct("<HHBBBB")
"""EmberRouteTableEntry: destination, next hop, status, age, concentrator type, route record state."""
_ACTIVE, _UNUSED_ROW = 0x00, 0x03
_RECORD_NEEDED, _RECORD_NOT_NEEDED = 2, 0


class Routing:
    """The routing commands and callbacks of one running firmware."""

    def __init__(self, *, dialect: Dialect, ezsp: Ezsp, configuration: Configuration, node: Stack) -> None:
        self._dialect = dialect
        self._ezsp = ezsp
        self._configuration = configuration
        self._node = node
        self._settings = ConcentratorSettings()
        # A restart forgets that the host made us a concentrator.
        node.concentrate(None)

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        return self._dialect.commands(
            {
                "setConcentrator": self._set_concentrator,
                "setSourceRouteDiscoveryMode": self._set_discovery_mode,
                "sendManyToOneRouteRequest": self._ask_once,
                "setSourceRoute": self._set_source_route,
                "getSourceRouteTableTotalSize": self._total_size,
                "getSourceRouteTableFilledSize": self._filled_size,
                "getSourceRouteTableEntry": self._source_route_row,
                "neighborCount": lambda _: {"value": len(self._node.neighbours())},
                "getNeighbor": self._neighbour_row,
                "getRouteTableEntry": self._route_row,
            }
        )

    def recorded(self, event: RouteRecorded) -> None:
        """A device told the way to us."""
        self._ezsp.callback(
            "incomingRouteRecordHandler",
            source=event.nwk,
            sourceEui=event.eui64 or Eui64(0),
            lastHopLqi=event.lqi,
            lastHopRssi=event.rssi,
            relayList=bytes((len(event.relays),))
            + b"".join(relay.to_bytes(2, "little") for relay in event.relays),
        )

    def failed(self, event: RouteFailed) -> None:
        """A frame went no further; a router reported it, or it was for a sleeping child of the dongle's."""
        status = _ROUTE_ERRORS.get(event.status)
        if status is not None:
            self._ezsp.callback("incomingRouteErrorHandler", status=status, target=event.nwk)
        if self._dialect.version >= _STATUS_HANDLER_SINCE:
            self._ezsp.callback("incomingNetworkStatusHandler", errorCode=event.status, target=event.nwk)

    def _set_concentrator(self, fields: Fields) -> Fields:
        if not fields["on"]:
            self._node.concentrate(None)
            return {"status": Status.OK}
        kind, least, longest = (
            int(fields["concentratorType"]),
            int(fields["minTime"]),
            int(fields["maxTime"]),
        )
        if kind not in (LOW_RAM, HIGH_RAM):
            raise Refused(Status.BAD_ARGUMENT, f"0x{kind:04X} is no type of concentrator")
        if not 0 < least <= longest:
            raise Refused(Status.BAD_ARGUMENT, f"from {least} to {longest} s is no span of time")
        self._settings = ConcentratorSettings(
            least=float(least),
            longest=float(longest),
            route_errors=int(fields["routeErrorThreshold"]),
            delivery_failures=int(fields["deliveryFailureThreshold"]),
            radius=int(fields["maxHops"]),
            keeps_routes=kind == HIGH_RAM,
            capacity=self._configuration[config.SOURCE_ROUTE_TABLE_SIZE],
        )
        self._node.concentrate(self._settings)
        return {"status": Status.OK}

    def _set_discovery_mode(self, fields: Fields) -> Fields:
        """Gives the milliseconds until everyone is asked next; never, while that is off."""
        mode = int(fields["mode"])
        if mode == DISCOVERY_OFF:
            self._node.concentrate(None)
        elif mode == DISCOVERY_NOW:
            self._node.ask_everyone()
        left = self._node.seconds_to_asking
        return {"remainingTime": NEVER if left is None else int(left * 1000)}

    def _ask_once(self, fields: Fields) -> Fields:
        if self._node.nwk is None:
            raise Refused(Status.NETWORK_DOWN, "the network is down")
        if int(fields["concentratorType"]) not in (LOW_RAM, HIGH_RAM):
            raise Refused(Status.BAD_ARGUMENT, "no such type of concentrator")
        self._node.ask_everyone()
        return {"status": Status.OK}

    def _set_source_route(self, fields: Fields) -> Fields:
        relays = tuple(int(relay) for relay in fields["relayList"])
        if not self._node.learn_source_route(int(fields["destination"]), relays):
            raise Refused(Status.BAD_ARGUMENT, "these relays are no way: too many, or one of them twice")
        return {"status": Status.OK}

    # Looking into the tables.

    def _total_size(self, _fields: Fields) -> Fields:
        size = self._configuration[config.SOURCE_ROUTE_TABLE_SIZE]
        return {"sourceRouteTableTotalSize": min(size, 0xFF)}

    def _filled_size(self, _fields: Fields) -> Fields:
        return {"sourceRouteTableFilledSize": min(len(self._closer()), 0xFF)}

    def _source_route_row(self, fields: Fields) -> Fields:
        rows = self._closer()
        index = int(fields["index"])
        if index >= len(rows):
            return {"status": Status.NOT_FOUND, "destination": UNUSED, "closerIndex": OURSELVES}
        destination, closer = rows[index]
        return {"status": Status.OK, "destination": destination, "closerIndex": closer}

    def _closer(self) -> list[tuple[int, int]]:
        """Every address in the source routes, and the row of the one that is a relay closer to us."""
        next_hop: dict[int, int | None] = {}
        for destination, relays in self._node.source_routes().items():
            chain = (destination, *relays)
            for place, nwk in enumerate(chain):
                next_hop[nwk] = chain[place + 1] if place + 1 < len(chain) else None
        rows = {nwk: row for row, nwk in enumerate(next_hop)}
        return [(nwk, OURSELVES if hop is None else rows[hop]) for nwk, hop in next_hop.items()]

    def _neighbour_row(self, fields: Fields) -> Fields:
        rows, index = self._node.neighbours(), int(fields["index"])
        if index >= len(rows):
            return {"status": Status.INDEX_OUT_OF_RANGE, "value": _NEIGHBOUR.pack(UNUSED, 0, 0, 0, 0, 0)}
        row = rows[index]
        value = _NEIGHBOUR.pack(
            row.nwk, row.lqi, row.incoming_cost, row.outgoing_cost or 0, 0, row.eui64 or Eui64(0)
        )
        return {"status": Status.OK, "value": value}

    def _route_row(self, fields: Fields) -> Fields:
        rows, index = self._node.routes(), int(fields["index"])
        if index >= self._configuration[config.ROUTE_TABLE_SIZE]:
            status, value = Status.INDEX_OUT_OF_RANGE, (UNUSED, UNUSED, _UNUSED_ROW, 0, 0, 0)
        elif index >= len(rows):
            status, value = Status.OK, (UNUSED, UNUSED, _UNUSED_ROW, 0, 0, 0)
        else:
            row = rows[index]
            record = _RECORD_NEEDED if row.record_needed else _RECORD_NOT_NEEDED
            kind = _CONCENTRATOR_TYPES[row.many_to_one]
            status, value = Status.OK, (row.destination, row.next_hop, _ACTIVE, 0, kind, record)
        return {"status": status, "value": _ROUTE.pack(*value)}
