"""Any frame at all: strategies for everything that han.sim.wire reads and writes, and real frames."""

import json
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from han.sim.wire import aps, aps_commands, mac, nwk, nwk_commands, zdo
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

VECTORS = Path(__file__).parents[2] / "fixtures" / "vectors"

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
eui64 = st.integers(0, 2**64 - 1).map(Eui64)
key = st.binary(min_size=16, max_size=16)
octets = st.binary(max_size=60)


def some(of, most=6):
    return st.lists(of, max_size=most).map(tuple)


def bits(count):
    return st.integers(0, 2**count - 1)


def _mac(destination, source, compressed):
    return st.builds(
        mac.MacFrame,
        type=st.sampled_from(mac.FrameType),
        sequence=u8,
        pan_id=st.none() if destination is None else u16,
        destination=st.none() if destination is None else destination,
        source=st.none() if source is None else source,
        payload=octets,
        ack_request=st.booleans(),
        frame_pending=st.booleans(),
        source_pan_id=st.none() if source is None or compressed else u16,
        version=st.integers(0, 1),
    )


mac_frames = st.one_of(
    *(
        _mac(destination, source, compressed)
        for destination in (None, u16, eui64)
        for source in (None, u16, eui64)
        for compressed in ((False, True) if destination is not None and source is not None else (False,))
    )
)

nwk_frames = st.builds(
    nwk.NwkFrame,
    type=st.sampled_from([nwk.FrameType.DATA, nwk.FrameType.COMMAND]),
    destination=u16,
    source=u16,
    radius=u8,
    sequence=u8,
    payload=octets,
    security=st.booleans(),
    discover_route=bits(2),
    destination_ieee=st.none() | eui64,
    source_ieee=st.none() | eui64,
    source_route=st.none() | st.builds(nwk.SourceRoute, u8, some(u16)),
    multicast_control=st.none() | u8,
    end_device_initiator=st.booleans(),
)


def _aps(type_, delivery=aps.Delivery.UNICAST, ack_format=False, fragment=None):  # noqa: FBT002 - one frame's bits
    addressed = type_ is not aps.FrameType.COMMAND and not ack_format
    group = addressed and delivery is aps.Delivery.GROUP
    return st.builds(
        aps.ApsFrame,
        type=st.just(type_),
        counter=u8,
        destination_endpoint=u8 if addressed and not group else st.just(0),
        cluster=u16 if addressed else st.just(0),
        profile=u16 if addressed else st.just(0),
        source_endpoint=u8 if addressed else st.just(0),
        payload=octets,
        delivery=st.just(delivery),
        group=u16 if group else st.none(),
        security=st.booleans(),
        ack_request=st.booleans(),
        ack_format=st.just(ack_format),
        fragment=st.none() if fragment is None else fragment,
    )


_fragment = st.builds(aps.Fragment, st.sampled_from(aps.FragmentKind), u8)
_fragment_ack = st.builds(aps.Fragment, st.sampled_from(aps.FragmentKind), u8, u8)

aps_frames = st.one_of(
    _aps(aps.FrameType.DATA),
    _aps(aps.FrameType.DATA, fragment=_fragment),
    _aps(aps.FrameType.DATA, aps.Delivery.BROADCAST),
    _aps(aps.FrameType.DATA, aps.Delivery.GROUP),
    _aps(aps.FrameType.ACK),
    _aps(aps.FrameType.ACK, fragment=_fragment_ack),
    _aps(aps.FrameType.ACK, ack_format=True),
    _aps(aps.FrameType.COMMAND),
)

mac_commands = st.one_of(
    st.builds(mac.AssociationRequest, u8),
    st.builds(mac.AssociationResponse, u16, u8),
    st.builds(mac.DisassociationNotification, u8),
    st.just(mac.DataRequest()),
    st.just(mac.PanIdConflict()),
    st.just(mac.OrphanNotification()),
    st.just(mac.BeaconRequest()),
    st.builds(mac.UnknownCommand, st.integers(8, 255), octets),
)
beacons = st.builds(
    mac.Beacon,
    payload=octets,
    association_permit=st.booleans(),
    pan_coordinator=st.booleans(),
    battery_life_extension=st.booleans(),
    pending=some(u16, 7),
)
beacon_payloads = st.builds(
    nwk.BeaconPayload,
    extended_pan_id=eui64,
    router_capacity=st.booleans(),
    end_device_capacity=st.booleans(),
    device_depth=bits(4),
    update_id=u8,
    stack_profile=bits(4),
    protocol_version=bits(4),
    tx_offset=bits(24),
)
nwk_commands_ = st.one_of(
    st.builds(nwk_commands.RouteRequest, u8, u16, u8, bits(2), st.none() | eui64),
    st.builds(nwk_commands.RouteReply, u8, u16, u16, u8, st.none() | eui64, st.none() | eui64),
    st.builds(nwk_commands.NetworkStatus, u8, u16),
    st.builds(nwk_commands.Leave, st.booleans(), st.booleans(), st.booleans()),
    st.builds(nwk_commands.RouteRecord, some(u16)),
    st.builds(nwk_commands.RejoinRequest, u8),
    st.builds(nwk_commands.RejoinResponse, u16, u8),
    st.builds(
        nwk_commands.LinkStatus,
        some(st.builds(nwk_commands.Link, u16, bits(3), bits(3))),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(nwk_commands.EndDeviceTimeoutRequest, u8, u8),
    st.builds(nwk_commands.EndDeviceTimeoutResponse, u8, u8),
    st.builds(nwk_commands.UnknownCommand, st.integers(0x0D, 0xFF), octets),
)
aps_commands_ = st.one_of(
    st.builds(aps_commands.TransportNetworkKey, key, u8, eui64, eui64),
    st.builds(aps_commands.TransportTrustCentreLinkKey, key, eui64, eui64),
    st.builds(aps_commands.TransportApplicationLinkKey, key, eui64, st.booleans()),
    st.builds(aps_commands.UpdateDevice, eui64, u16, u8),
    st.builds(aps_commands.RemoveDevice, eui64),
    st.builds(aps_commands.RequestKey, st.just(aps_commands.KeyType.TRUST_CENTRE_LINK)),
    st.builds(aps_commands.RequestKey, st.just(aps_commands.KeyType.APPLICATION_LINK_REQUESTED), eui64),
    st.builds(aps_commands.SwitchKey, u8),
    st.builds(aps_commands.Tunnel, eui64, octets),
    st.builds(aps_commands.VerifyKey, u8, eui64, key),
    st.builds(aps_commands.ConfirmKey, u8, u8, eui64),
    st.builds(aps_commands.UnknownCommand, st.integers(0x11, 0xFF), octets),
)

_node_descriptors = st.builds(
    zdo.NodeDescriptor,
    logical_type=st.sampled_from(zdo.LogicalType),
    mac_capability=u8,
    manufacturer=u16,
    maximum_buffer=u8,
    maximum_incoming_transfer=u16,
    server_mask=u16,
    maximum_outgoing_transfer=u16,
    descriptor_capability=u8,
    aps_flags=bits(3),
    frequency_band=bits(5),
)
_simple_descriptors = st.builds(zdo.SimpleDescriptor, u8, u16, u16, bits(4), some(u16), some(u16))
_routes = st.builds(
    zdo.RoutingEntry, u16, st.integers(0, 7), u16, st.booleans(), st.booleans(), st.booleans()
)
_neighbours = st.builds(zdo.Neighbour, eui64, eui64, u16, bits(2), bits(2), bits(3), bits(2), u8, u8)
_failed = st.integers(1, 255)


def _address_response(response):
    return st.one_of(
        st.builds(response, u8, eui64, u16),
        st.builds(response, u8, eui64, u16, st.just(())),
        st.builds(response, u8, eui64, u16, st.lists(u16, min_size=1, max_size=6).map(tuple), u8),
    )


zdo_commands = st.one_of(
    st.builds(zdo.NwkAddressRequest, eui64, u8, u8),
    st.builds(zdo.IeeeAddressRequest, u16, u8, u8),
    _address_response(zdo.NwkAddressResponse),
    _address_response(zdo.IeeeAddressResponse),
    st.builds(zdo.NodeDescriptorRequest, u16),
    st.builds(zdo.NodeDescriptorResponse, st.just(zdo.Status.SUCCESS), u16, _node_descriptors),
    st.builds(zdo.NodeDescriptorResponse, _failed, u16),
    st.builds(zdo.SimpleDescriptorRequest, u16, u8),
    st.builds(zdo.SimpleDescriptorResponse, u8, u16, st.none() | _simple_descriptors),
    st.builds(zdo.ActiveEndpointsRequest, u16),
    st.builds(zdo.ActiveEndpointsResponse, u8, u16, some(u8)),
    st.builds(zdo.MatchDescriptorRequest, u16, u16, some(u16), some(u16)),
    st.builds(zdo.MatchDescriptorResponse, u8, u16, some(u8)),
    st.builds(zdo.DeviceAnnounce, u16, eui64, u8),
    st.builds(zdo.MgmtLqiRequest, u8),
    st.builds(zdo.MgmtLqiResponse, st.just(zdo.Status.SUCCESS), u8, u8, some(_neighbours, 3)),
    st.builds(zdo.MgmtLqiResponse, _failed),
    st.builds(zdo.MgmtRtgRequest, u8),
    st.builds(zdo.MgmtRtgResponse, st.just(zdo.Status.SUCCESS), u8, u8, some(_routes, 3)),
    st.builds(zdo.MgmtRtgResponse, _failed),
    st.builds(zdo.MgmtLeaveRequest, eui64, st.booleans(), st.booleans()),
    st.builds(zdo.MgmtLeaveResponse, u8),
    st.builds(zdo.MgmtPermitJoiningRequest, u8, st.booleans()),
    st.builds(zdo.MgmtPermitJoiningResponse, u8),
    st.builds(zdo.Unknown, st.sampled_from([0x0003, 0x0021, 0x8021, 0xFFFF]), octets),
)

nwk_auxiliaries = st.builds(nwk.NwkAuxiliary, u32, eui64, u8)
aps_auxiliaries = st.one_of(
    st.builds(
        aps.ApsAuxiliary,
        st.sampled_from([KeyIdentifier.DATA, KeyIdentifier.KEY_TRANSPORT, KeyIdentifier.KEY_LOAD]),
        u32,
        st.none() | eui64,
        st.none(),
    ),
    st.builds(aps.ApsAuxiliary, st.just(KeyIdentifier.NETWORK), u32, st.none() | eui64, u8),
)


class Sniffed(NamedTuple):
    """A frame that somebody else's radio heard from somebody else's devices, and what must come out of it."""

    name: str
    mac: bytes
    nwk_key: bytes
    nwk_plaintext: bytes
    nwk_secured: bool
    aps_key: bytes | None
    aps_key_identifier: int | None
    aps_plaintext: bytes | None


def sniffed() -> list[Sniffed]:
    """The ten real frames of the vector file. Their last two octets are a sniffer's, not a check sequence."""
    frames = json.loads((VECTORS / "ccm_star.json").read_text())["frames"]
    return [
        Sniffed(
            name=frame["name"],
            mac=bytes.fromhex(frame["mac_frame_with_fcs_placeholder"])[:-2],
            nwk_key=bytes.fromhex(frame["nwk_key"]),
            nwk_plaintext=bytes.fromhex(frame["nwk_plaintext"]),
            nwk_secured=frame.get("nwk_secured", True),
            aps_key=bytes.fromhex(frame["aps_key_used"]) if "aps_key_used" in frame else None,
            aps_key_identifier=frame.get("aps_key_identifier"),
            aps_plaintext=bytes.fromhex(frame["aps_plaintext"]) if "aps_plaintext" in frame else None,
        )
        for frame in frames
    ]
