from __future__ import annotations

import pytest
from node_neighbourhood import OTA, SMART_ENERGY, Neighbourhood

from han.sim.node.service import SendRequest, SimpleDescriptor
from han.sim.wire import zdo
from ota.eui64 import Eui64


@pytest.fixture
def street() -> Neighbourhood:
    street = Neighbourhood()
    street.hub_node, street.device = street.hub(), street.node("ppmid")
    street.hub_node.endpoints[1] = SimpleDescriptor(SMART_ENERGY, 0x0500, 0, (0x0000, OTA), ())
    assert street.join(street.hub_node, street.device).ok
    street.zdo["ppmid"].clear()
    return street


def ask(street: Neighbourhood, command: zdo.ZdoCommand, to: int = 0x0000, payload: bytes | None = None):
    """Let the device ask; the answers that came, with their sequence numbers."""
    request = SendRequest(
        to, 0, zdo.cluster_of(command), 0, 0, zdo.encode(0x5A, command) if payload is None else payload
    )
    street.device.send(request, lambda status: None)
    street.timeline.run(street.timeline.now + 10.0)
    return [zdo.decode(heard.cluster, heard.payload) for heard in street.zdo["ppmid"]]


def test_a_device_finds_the_ota_server_by_match_descriptor(street):
    question = zdo.MatchDescriptorRequest(0x0000, SMART_ENERGY, input_clusters=(OTA,))
    assert ask(street, question) == [(0x5A, zdo.MatchDescriptorResponse(zdo.Status.SUCCESS, 0, (1,)))]


def test_a_broadcast_match_finds_it_too(street):
    question = zdo.MatchDescriptorRequest(0xFFFD, SMART_ENERGY, input_clusters=(OTA,))
    assert ask(street, question, to=0xFFFD) == [
        (0x5A, zdo.MatchDescriptorResponse(zdo.Status.SUCCESS, 0, (1,)))
    ]


@pytest.mark.parametrize(
    ("profile", "inputs", "outputs"),
    [(0x0104, (OTA,), ()), (SMART_ENERGY, (0x0702,), ()), (SMART_ENERGY, (), (OTA,))],
)
def test_what_does_not_match_is_an_empty_list_to_one_and_silence_to_all(street, profile, inputs, outputs):
    question = zdo.MatchDescriptorRequest(0x0000, profile, inputs, outputs)
    assert ask(street, question) == [(0x5A, zdo.MatchDescriptorResponse(zdo.Status.SUCCESS, 0, ()))]
    street.zdo["ppmid"].clear()
    assert ask(street, zdo.MatchDescriptorRequest(0xFFFD, profile, inputs, outputs), to=0xFFFD) == []


def test_addresses_are_told(street):
    hub = street.hub_node
    assert ask(street, zdo.IeeeAddressRequest(0)) == [(0x5A, zdo.IeeeAddressResponse(0, hub.eui64, 0))]
    street.zdo["ppmid"].clear()
    answers = ask(street, zdo.NwkAddressRequest(hub.eui64), to=0xFFFD)
    assert answers == [(0x5A, zdo.NwkAddressResponse(0, hub.eui64, 0))]


def test_a_search_for_somebody_else_is_not_answered(street):
    assert ask(street, zdo.NwkAddressRequest(Eui64(42)), to=0xFFFD) == []


def test_descriptors_are_told(street):
    [(_, node)] = ask(street, zdo.NodeDescriptorRequest(0))
    assert node.descriptor.logical_type is zdo.LogicalType.COORDINATOR
    street.zdo["ppmid"].clear()
    assert ask(street, zdo.ActiveEndpointsRequest(0)) == [(0x5A, zdo.ActiveEndpointsResponse(0, 0, (1,)))]
    street.zdo["ppmid"].clear()
    [(_, simple)] = ask(street, zdo.SimpleDescriptorRequest(0, 1))
    assert simple.descriptor == zdo.SimpleDescriptor(1, SMART_ENERGY, 0x0500, 0, (0x0000, OTA), ())


@pytest.mark.parametrize(
    ("nwk", "endpoint", "status"),
    [
        (0x0000, 0, zdo.Status.INVALID_ENDPOINT),
        (0x0000, 255, zdo.Status.INVALID_ENDPOINT),
        (0x0000, 9, zdo.Status.NOT_ACTIVE),
        (0x4242, 1, zdo.Status.DEVICE_NOT_FOUND),
    ],
)
def test_a_simple_descriptor_that_is_not_there_has_its_reason(street, nwk, endpoint, status):
    assert ask(street, zdo.SimpleDescriptorRequest(nwk, endpoint)) == [
        (0x5A, zdo.SimpleDescriptorResponse(status, nwk))
    ]


def test_a_request_that_is_not_modelled_is_answered_not_supported(street):
    [(_, answer)] = ask(street, zdo.Unknown(0x0030, b"\x00"))
    assert answer == zdo.Unknown(0x8030, bytes((zdo.Status.NOT_SUPPORTED,)))


def test_what_is_left_to_the_user_is_not_answered_but_passed_up(street):
    street.hub_node.zdo.left_to_user = frozenset({zdo.MatchDescriptorRequest.CLUSTER})
    street.zdo["hub"].clear()
    assert ask(street, zdo.MatchDescriptorRequest(0, SMART_ENERGY, (OTA,))) == []
    assert [heard.cluster for heard in street.zdo["hub"]] == [zdo.MatchDescriptorRequest.CLUSTER]


@pytest.mark.parametrize("cluster", [0x0000, 0x0001, 0x0002, 0x0004, 0x0005, 0x0006, 0x0013, 0x0034, 0x0036])
def test_a_request_cut_at_any_length_is_dropped(street, cluster):
    for size in range(5):
        ask(
            street,
            zdo.Unknown(cluster, b""),
            payload=bytes(size)[: size if cluster != 0x0036 else min(size, 2)],
        )
    assert street.device.nwk is not None
    assert street.hub_node.nwk == 0x0000
    assert street.why()


def test_mgmt_permit_opens_a_network(street):
    street.hub_node.permit(0)
    assert ask(street, zdo.MgmtPermitJoiningRequest(60)) == [(0x5A, zdo.MgmtPermitJoiningResponse(0))]
    assert street.hub_node.permits_joining


def test_mgmt_leave_is_answered_before_the_node_goes(street):
    device = street.device
    command = zdo.MgmtLeaveRequest(device.eui64)
    street.hub_node.send(
        SendRequest(device.nwk, 0, command.CLUSTER, 0, 0, zdo.encode(1, command)), lambda status: None
    )
    street.zdo["hub"].clear()
    street.timeline.run(street.timeline.now + 2.0)
    assert device.nwk is None
    assert zdo.MgmtLeaveResponse.CLUSTER in [heard.cluster for heard in street.zdo["hub"]]
