"""What a node says of its neighbours and routes when somebody asks: Mgmt_Lqi and Mgmt_Rtg (2.4.4.3)."""

from __future__ import annotations

from typing import Final

from han.sim.node.service import NeighbourEntry, RouteEntry
from han.sim.node.store import NodeStore
from han.sim.wire import zdo
from han.sim.wire.nwk import COORDINATOR
from han.sim.wire.nwk_commands import ManyToOne

DEPTH_UNKNOWN: Final = 0x0F
_UNKNOWN, _YES, _NO = 2, 1, 0
_HEADER: Final = 5
"""Octets of a response before its rows: sequence number, status, total, start index, count."""


def neighbours_answer(
    entries: list[NeighbourEntry], store: NodeStore, start: int, room: int
) -> zdo.MgmtLqiResponse:
    """The rows from ``start`` on, as many as fit ``room`` octets of payload."""
    count = max(1, (room - _HEADER) // zdo.Neighbour.SIZE)
    rows = tuple(_neighbour(entry, store) for entry in entries[start : start + count])
    return zdo.MgmtLqiResponse(zdo.Status.SUCCESS, len(entries), start, rows)


def routes_answer(entries: list[RouteEntry], start: int, room: int) -> zdo.MgmtRtgResponse:
    """The rows from ``start`` on, as many as fit ``room`` octets of payload."""
    count = max(1, (room - _HEADER) // zdo.RoutingEntry.SIZE)
    rows = tuple(
        zdo.RoutingEntry(
            entry.destination,
            zdo.RouteStatus.ACTIVE,
            entry.next_hop,
            memory_constrained=entry.many_to_one == ManyToOne.WITHOUT_ROUTE_RECORD,
            many_to_one=entry.many_to_one != ManyToOne.NO,
            record_required=entry.record_needed,
        )
        for entry in entries[start : start + count]
    )
    return zdo.MgmtRtgResponse(zdo.Status.SUCCESS, len(entries), start, rows)


def _neighbour(entry: NeighbourEntry, store: NodeStore) -> zdo.Neighbour:
    network = store.network
    assert network is not None
    child = None if entry.eui64 is None else store.children.get(entry.eui64)
    kind, listens = zdo.LogicalType.END_DEVICE, _UNKNOWN
    if entry.nwk == COORDINATOR:
        kind, listens = zdo.LogicalType.COORDINATOR, _YES
    elif entry.is_router:
        kind, listens = zdo.LogicalType.ROUTER, _YES
    elif child is not None:
        listens = _YES if child.capability & 0x08 else _NO
    relationship, depth = zdo.Relationship.NONE, DEPTH_UNKNOWN
    if child is not None:
        relationship, depth = zdo.Relationship.CHILD, store.depth + 1
    elif entry.nwk == store.parent:
        relationship, depth = zdo.Relationship.PARENT, store.depth - 1
    elif entry.nwk == COORDINATOR:
        depth = 0
    return zdo.Neighbour(
        extended_pan_id=network.extended_pan_id,
        # An address of which nobody has told the owner yet.
        ieee=entry.eui64 or zdo.NOBODY,
        nwk=entry.nwk,
        logical_type=kind,
        receiver_on=listens,
        relationship=relationship,
        permit_joining=_UNKNOWN,
        depth=max(0, min(depth, DEPTH_UNKNOWN)),
        lqi=entry.lqi,
    )
