"""ZDO requests that the host sends to its own dongle: answered by the stack without touching the air."""

from __future__ import annotations

from han.sim.dongle.stack import Stack
from han.sim.wire import zdo
from han.sim.wire.errors import WireError

COORDINATOR_CAPABILITY = 0x8F
SERVER_MASK = 0x0041
"""Primary Trust Centre, network manager."""


def answer(node: Stack, cluster: int, payload: bytes) -> tuple[int, bytes] | None:
    """Cluster and payload of the answer to a ZDO request, or None if there is nothing to say."""
    try:
        sequence, request = zdo.decode(cluster, payload)
    except WireError:
        return None
    nwk = node.nwk or 0
    response: zdo.ZdoCommand
    match request:
        case zdo.NodeDescriptorRequest():
            response = zdo.NodeDescriptorResponse(zdo.Status.SUCCESS, nwk, _node_descriptor(node))
        case zdo.ActiveEndpointsRequest():
            response = zdo.ActiveEndpointsResponse(zdo.Status.SUCCESS, nwk, tuple(node.endpoints))
        case zdo.SimpleDescriptorRequest():
            response = _simple_descriptor(node, nwk, request.endpoint)
        case zdo.MatchDescriptorRequest():
            matching = tuple(
                number for number in node.endpoints if _descriptor(node, number).matches(request)
            )
            response = zdo.MatchDescriptorResponse(zdo.Status.SUCCESS, nwk, matching)
        case zdo.Unknown() if not cluster & zdo.RESPONSE:
            response = zdo.not_supported(request)
        case _:
            return None
    return zdo.cluster_of(response), zdo.encode(sequence, response)


def _node_descriptor(node: Stack) -> zdo.NodeDescriptor:
    incoming, outgoing = node.zdo.longest
    return zdo.NodeDescriptor(
        logical_type=zdo.LogicalType.COORDINATOR,
        mac_capability=COORDINATOR_CAPABILITY,
        manufacturer=0x1049,
        maximum_incoming_transfer=incoming,
        maximum_outgoing_transfer=outgoing,
        server_mask=SERVER_MASK,
    )


def _descriptor(node: Stack, number: int) -> zdo.SimpleDescriptor:
    known = node.endpoints[number]
    return zdo.SimpleDescriptor(
        endpoint=number,
        profile=known.profile,
        device=known.device_id,
        device_version=known.device_version,
        input_clusters=known.input_clusters,
        output_clusters=known.output_clusters,
    )


def _simple_descriptor(node: Stack, nwk: int, endpoint: int) -> zdo.SimpleDescriptorResponse:
    if endpoint not in node.endpoints:
        return zdo.SimpleDescriptorResponse(zdo.Status.NOT_ACTIVE, nwk)
    return zdo.SimpleDescriptorResponse(zdo.Status.SUCCESS, nwk, _descriptor(node, endpoint))
