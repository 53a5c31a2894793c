"""Wireshark reads our frames as we meant them. It was written by others from the same standards."""

import random

import pytest

from han.security.mmo import transport_key, verify_hash
from han.sim.air.capture import KeyFile, PcapWriter, read_pcap
from han.sim.air.rebuild import rebuild_images
from han.sim.wire import aps, aps_commands, mac, nwk, nwk_commands, zdo
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

pytestmark = pytest.mark.oracle

NETWORK_KEY = bytes.fromhex("00112233445566778899aabbccddeeff")
LINK_KEY = bytes.fromhex("66b6900981e1ee3ca4206b6b861c02bb")
HUB = Eui64.parse("00-DB-12-34-56-78-90-A4")
METER = Eui64.parse("00-DB-12-34-56-78-90-A5")
HUB_NWK, METER_NWK, PAN = 0x0000, 0x1234, 0x1A62
EPOCH = 1_767_571_200  # 2026-01-05T00:00:00Z
CAPABILITY = 0x8E


class Air:
    """A capture that grows frame by frame, with counters that never repeat."""

    def __init__(self, folder):
        self.path, self.keys = folder / "air.pcap", folder / "air.keys"
        self._file = self.path.open("wb")
        self._writer = PcapWriter(self._file, 15, epoch=EPOCH)
        self._counter = 0
        with KeyFile(self.keys) as keys:
            keys.add(NETWORK_KEY, "network key 0")
            keys.add(LINK_KEY, f"link key of {METER}")

    def count(self):
        self._counter += 1
        return self._counter

    def mac(self, frame):
        self._writer.write(self.count() * 0.01, frame.to_psdu(), -47.5, 212)
        if frame.ack_request:
            self._writer.write(self._counter * 0.01 + 0.003, mac.ack_psdu(frame.sequence), -48.0, 210)

    def nwk(self, frame, *, secured=True, sender=HUB):
        payload = nwk.seal(frame, NETWORK_KEY, 0, self.count(), sender) if secured else frame.to_bytes()
        broadcast = frame.destination >= nwk.BROADCAST_LOWEST
        self.mac(
            mac.MacFrame(
                mac.FrameType.DATA,
                self.count() % 256,
                PAN,
                mac.BROADCAST if broadcast else frame.destination,
                frame.source,
                payload,
                ack_request=not broadcast,
            )
        )

    def down(self, payload, *, secured=True, **fields):
        self.nwk(
            nwk.NwkFrame(nwk.FrameType.DATA, METER_NWK, HUB_NWK, 30, self.count() % 256, payload, **fields),
            secured=secured,
        )

    def up(self, payload, **fields):
        self.nwk(
            nwk.NwkFrame(nwk.FrameType.DATA, HUB_NWK, METER_NWK, 30, self.count() % 256, payload, **fields),
            sender=METER,
        )

    def command(self, command, **fields):
        self.nwk(
            nwk.NwkFrame(
                nwk.FrameType.COMMAND,
                HUB_NWK,
                METER_NWK,
                1,
                self.count() % 256,
                command.to_bytes(),
                source_ieee=METER,
                **fields,
            ),
            sender=METER,
        )

    def zdo(self, command, *, up=False):
        frame = aps.ApsFrame(
            aps.FrameType.DATA,
            self.count() % 256,
            0,
            zdo.cluster_of(command),
            zdo.PROFILE,
            0,
            zdo.encode(self._counter % 256, command),
        )
        (self.up if up else self.down)(frame.to_bytes())

    def block(self, data, *, aps_security):
        count = self.count() % 256
        frame = aps.ApsFrame(
            aps.FrameType.DATA, count, 1, 0x0019, 0x0109, 1, data, ack_request=True, security=aps_security
        )
        self.down(aps.seal(frame, LINK_KEY, self.count(), HUB) if aps_security else frame.to_bytes())

    def close(self):
        self._file.close()


@pytest.fixture
def air(tmp_path):
    air = Air(tmp_path)
    yield air
    air.close()


def joining(air):
    """A meter looks for the network, associates, gets the network key and says that it is there."""
    air.mac(
        mac.MacFrame(
            mac.FrameType.COMMAND, 1, mac.BROADCAST, mac.BROADCAST, payload=mac.BeaconRequest().to_bytes()
        )
    )
    beacon = mac.Beacon(
        nwk.BeaconPayload(extended_pan_id=HUB).to_bytes(), association_permit=True, pan_coordinator=True
    )
    air.mac(
        mac.MacFrame(mac.FrameType.BEACON, 2, source=HUB_NWK, source_pan_id=PAN, payload=beacon.to_bytes())
    )
    air.mac(
        mac.MacFrame(
            mac.FrameType.COMMAND,
            3,
            PAN,
            HUB_NWK,
            METER,
            mac.AssociationRequest(CAPABILITY).to_bytes(),
            ack_request=True,
            source_pan_id=mac.BROADCAST,
        )
    )
    air.mac(
        mac.MacFrame(
            mac.FrameType.COMMAND, 4, PAN, HUB_NWK, METER, mac.DataRequest().to_bytes(), ack_request=True
        )
    )
    response = mac.AssociationResponse(METER_NWK, mac.AssociationStatus.SUCCESS)
    air.mac(mac.MacFrame(mac.FrameType.COMMAND, 5, PAN, METER, HUB, response.to_bytes(), ack_request=True))
    key = aps_commands.TransportNetworkKey(NETWORK_KEY, 0, METER, HUB)
    sealed = aps.seal(
        aps.ApsFrame(aps.FrameType.COMMAND, 6, payload=key.to_bytes()),
        transport_key(LINK_KEY),
        air.count(),
        HUB,
        key_identifier=KeyIdentifier.KEY_TRANSPORT,
        extended_nonce=True,
    )
    air.down(sealed, secured=False)
    announce = aps.ApsFrame(
        aps.FrameType.DATA,
        7,
        0,
        zdo.DeviceAnnounce.CLUSTER,
        zdo.PROFILE,
        0,
        zdo.encode(1, zdo.DeviceAnnounce(METER_NWK, METER, CAPABILITY)),
        delivery=aps.Delivery.BROADCAST,
    )
    air.nwk(
        nwk.NwkFrame(
            nwk.FrameType.DATA, nwk.BROADCAST_RX_ON, METER_NWK, 30, 1, announce.to_bytes(), source_ieee=METER
        ),
        sender=METER,
    )


def test_the_sniffers_own_fields_are_read(tshark, air):
    joining(air)
    rows = tshark.rows(
        air.path, ["frame.time_epoch", "wpan-tap.ch_num", "wpan-tap.rss", "wpan-tap.lqi", "wpan.fcs_ok"]
    )

    assert rows[0] == {
        "frame.time_epoch": [f"{EPOCH}.010000000"],
        "wpan-tap.ch_num": ["15"],
        "wpan-tap.rss": ["-47.5"],
        "wpan-tap.lqi": ["212"],
        "wpan.fcs_ok": ["1"],
    }
    assert [float(row["frame.time_epoch"][0]) for row in rows] == pytest.approx(
        [at for at, _ in read_pcap(air.path.open("rb"))], abs=1e-6
    )


def test_a_join_is_read_without_a_fault(tshark, air):
    joining(air)

    assert tshark.faults(air.path, air.keys) == []
    (key,) = tshark.rows(
        air.path,
        ["zbee_aps.cmd.key", "zbee_aps.cmd.dst", "zbee.sec.key_id", "wpan.dst16"],
        keys=air.keys,
        where="zbee_aps.cmd.key",
    )
    assert key["zbee_aps.cmd.key"] == [NETWORK_KEY.hex()]
    assert key["zbee_aps.cmd.dst"] == [str(METER).replace("-", ":").lower()]
    (announce,) = tshark.rows(
        air.path, ["zbee_zdp.ext_addr", "zbee_zdp.nwk_addr"], keys=air.keys, where="zbee_zdp"
    )
    assert announce["zbee_zdp.ext_addr"] == [str(METER).replace("-", ":").lower()]
    assert announce["zbee_zdp.nwk_addr"] == [f"0x{METER_NWK:04x}"]
    (beacon,) = tshark.rows(air.path, ["wpan.assoc_permit", "zbee_beacon.ext_panid"], where="zbee_beacon")
    assert beacon["zbee_beacon.ext_panid"] == [str(HUB).replace("-", ":").lower()]


def test_a_frame_whose_key_is_missing_is_a_fault(tshark, air, tmp_path):
    joining(air)
    with KeyFile(tmp_path / "other.keys") as keys:
        keys.add(b"\x55" * 16, "another network's")

    assert len(tshark.faults(air.path, tmp_path / "other.keys")) == 2


def test_a_spoilt_and_a_malformed_frame_are_faults(tshark, air):
    joining(air)
    spoilt = bytearray(mac.ack_psdu(9))
    spoilt[-1] ^= 1
    air._writer.write(9.0, bytes(spoilt))
    air.zdo(zdo.Unknown(zdo.DeviceAnnounce.CLUSTER, b"\x34"))

    assert len(tshark.faults(air.path, air.keys)) == 2


def test_every_network_command_is_read_without_a_fault(tshark, air):
    joining(air)
    commands = [
        nwk_commands.RouteRequest(7, METER_NWK, 3),
        nwk_commands.RouteRequest(8, 0xFFFC, 0, nwk_commands.ManyToOne.WITH_ROUTE_RECORD),
        nwk_commands.RouteReply(7, METER_NWK, HUB_NWK, 3, METER, HUB),
        nwk_commands.NetworkStatus(nwk_commands.NetworkStatusCode.NO_ROUTE_AVAILABLE, METER_NWK),
        nwk_commands.Leave(request=True, rejoin=True),
        nwk_commands.RouteRecord((0x1111, 0x2222)),
        nwk_commands.RejoinRequest(CAPABILITY),
        nwk_commands.RejoinResponse(METER_NWK, 0),
        nwk_commands.LinkStatus((nwk_commands.Link(HUB_NWK, 1, 3), nwk_commands.Link(0x2222, 7, 0))),
        nwk_commands.EndDeviceTimeoutRequest(8),
        nwk_commands.EndDeviceTimeoutResponse(0, 2),
    ]
    for command in commands:
        air.command(command, destination_ieee=HUB)

    assert tshark.faults(air.path, air.keys) == []
    rows = tshark.rows(
        air.path,
        ["zbee_nwk.cmd.id", "zbee_nwk.cmd.leave.rejoin", "zbee_nwk.cmd.relay_device"],
        keys=air.keys,
        where="zbee_nwk.cmd.id",
    )
    assert [int(row["zbee_nwk.cmd.id"][0], 16) for row in rows] == [
        command.COMMAND_ID for command in commands
    ]
    assert rows[4]["zbee_nwk.cmd.leave.rejoin"] == ["1"]
    assert rows[5]["zbee_nwk.cmd.relay_device"] == ["0x1111", "0x2222"]


def test_every_application_support_command_is_read_without_a_fault(tshark, air):
    joining(air)
    tunnelled = aps.seal(
        aps.ApsFrame(
            aps.FrameType.COMMAND,
            9,
            payload=aps_commands.TransportNetworkKey(NETWORK_KEY, 0, METER, HUB).to_bytes(),
        ),
        transport_key(LINK_KEY),
        air.count(),
        HUB,
        key_identifier=KeyIdentifier.KEY_TRANSPORT,
        extended_nonce=True,
    )
    commands = [
        aps_commands.UpdateDevice(METER, METER_NWK, aps_commands.JoinStatus.UNSECURED_JOIN),
        aps_commands.RemoveDevice(METER),
        aps_commands.RequestKey(aps_commands.KeyType.TRUST_CENTRE_LINK),
        aps_commands.RequestKey(aps_commands.KeyType.APPLICATION_LINK_REQUESTED, HUB),
        aps_commands.SwitchKey(1),
        aps_commands.VerifyKey(aps_commands.KeyType.TRUST_CENTRE_LINK, METER, verify_hash(LINK_KEY)),
        aps_commands.ConfirmKey(0, aps_commands.KeyType.TRUST_CENTRE_LINK, METER),
        aps_commands.Tunnel(METER, tunnelled),
    ]
    for command in commands:
        frame = aps.ApsFrame(aps.FrameType.COMMAND, air.count() % 256, payload=command.to_bytes())
        air.down(frame.to_bytes())

    assert tshark.faults(air.path, air.keys) == []
    rows = tshark.rows(air.path, ["zbee_aps.cmd.id"], keys=air.keys, where="zbee_aps.cmd.id")
    seen = [int(row["zbee_aps.cmd.id"][0], 16) for row in rows]
    assert seen == [
        aps_commands.TransportNetworkKey.COMMAND_ID,
        *(command.COMMAND_ID for command in commands),
    ]


def test_every_zdo_command_is_read_without_a_fault(tshark, air):
    joining(air)
    descriptor = zdo.NodeDescriptor(zdo.LogicalType.ROUTER, CAPABILITY, 0x10D9)
    endpoint = zdo.SimpleDescriptor(1, 0x0109, 0x0500, 0, (0x0000, 0x0704), (0x0019,))
    neighbour = zdo.Neighbour(HUB, METER, METER_NWK, 1, 1, zdo.Relationship.CHILD, 0, 1, 255)
    commands = [
        zdo.NwkAddressRequest(METER),
        zdo.NwkAddressResponse(0, METER, METER_NWK),
        zdo.IeeeAddressRequest(METER_NWK, zdo.AddressRequestType.EXTENDED),
        zdo.IeeeAddressResponse(0, METER, METER_NWK, (0x1111, 0x2222), 0),
        zdo.NodeDescriptorRequest(METER_NWK),
        zdo.NodeDescriptorResponse(0, METER_NWK, descriptor),
        zdo.SimpleDescriptorRequest(METER_NWK, 1),
        zdo.SimpleDescriptorResponse(0, METER_NWK, endpoint),
        zdo.ActiveEndpointsRequest(METER_NWK),
        zdo.ActiveEndpointsResponse(0, METER_NWK, (1, 2)),
        zdo.MatchDescriptorRequest(METER_NWK, 0x0109, (0x0019,), (0x000A,)),
        zdo.MatchDescriptorResponse(0, METER_NWK, (1,)),
        zdo.MgmtLqiRequest(),
        zdo.MgmtLqiResponse(0, 1, 0, (neighbour,)),
        zdo.MgmtLeaveRequest(METER, rejoin=True),
        zdo.MgmtLeaveResponse(0),
        zdo.MgmtPermitJoiningRequest(60),
        zdo.MgmtPermitJoiningResponse(0),
        zdo.not_supported(zdo.Unknown(0x0021, b"")),
    ]
    for command in commands:
        air.zdo(command, up=zdo.cluster_of(command) & zdo.RESPONSE != 0)

    assert tshark.faults(air.path, air.keys) == []
    rows = tshark.rows(
        air.path,
        [
            "zbee_aps.zdp_cluster",
            "zbee_zdp.node.manufacturer",
            "zbee_zdp.in_cluster",
            "zbee_zdp.out_cluster",
            "zbee_zdp.status",
            "zbee_zdp.leave.rejoin",
        ],
        keys=air.keys,
        where="zbee_zdp",
    )[1:]
    assert [int(row["zbee_aps.zdp_cluster"][0], 16) for row in rows] == [
        zdo.cluster_of(command) for command in commands
    ]
    assert rows[5]["zbee_zdp.node.manufacturer"] == ["0x10d9"]
    assert rows[7]["zbee_zdp.in_cluster"] == ["0x0000", "0x0704"]
    assert rows[7]["zbee_zdp.out_cluster"] == ["0x0019"]
    assert rows[-1]["zbee_zdp.status"] == ["132"]


@pytest.mark.parametrize("aps_security", [False, True])
def test_the_blocks_of_an_image_are_read_octet_for_octet(tshark, air, aps_security):
    joining(air)
    image = random.Random(7).randbytes(2000)
    size = 56 if aps_security else 65
    for offset in range(0, len(image), size):
        data = image[offset : offset + size]
        fields = bytes.fromhex("00d910010004030201") + offset.to_bytes(4, "little") + bytes((len(data),))
        air.block(bytes((0x19, 0x07, 0x05)) + fields + data, aps_security=aps_security)
        air.up(aps.ApsFrame(aps.FrameType.ACK, air.count() % 256, 1, 0x0019, 0x0109, 1).to_bytes())

    assert tshark.faults(air.path, air.keys) == []
    rows = tshark.rows(
        air.path,
        [
            "zbee_zcl_general.ota.file.offset",
            "zbee_zcl_general.ota.data_size",
            "zbee_zcl_general.ota.image.data",
            "frame.len",
        ],
        keys=air.keys,
        where="zbee_zcl_general.ota.image.data",
    )
    seen = b"".join(bytes.fromhex(row["zbee_zcl_general.ota.image.data"][0].replace(":", "")) for row in rows)
    assert seen == image
    assert [int(row["zbee_zcl_general.ota.file.offset"][0], 0) for row in rows] == list(
        range(0, len(image), size)
    )
    assert {int(row["frame.len"][0]) - 36 for row in rows[:-1]} == {127}
    assert list(rebuild_images(read_pcap(air.path.open("rb")), [NETWORK_KEY, LINK_KEY]).values()) == [image]


def test_optional_headers_are_read(tshark, air):
    joining(air)
    message = aps.ApsFrame(aps.FrameType.DATA, 1, 1, 0x0019, 0x0109, 1, bytes.fromhex("1107000064"))
    air.down(message.to_bytes(), source_route=nwk.SourceRoute(1, (0x1111, 0x2222)))
    air.down(message.to_bytes(), source_ieee=HUB, destination_ieee=METER)
    air.up(
        aps.ApsFrame(
            aps.FrameType.ACK,
            2,
            1,
            0x0019,
            0x0109,
            1,
            fragment=aps.Fragment(aps.FragmentKind.LATER, 0, 0x01),
        ).to_bytes()
    )
    air.down(message._replace(delivery=aps.Delivery.GROUP, group=0x4321, destination_endpoint=0).to_bytes())

    assert tshark.faults(air.path, air.keys) == []
    rows = tshark.rows(
        air.path,
        ["zbee_nwk.relay", "zbee_nwk.relay.index", "zbee_nwk.dst64", "zbee_aps.group", "zbee_aps.block"],
        keys=air.keys,
        where="zbee_aps.profile == 0x0109",
    )
    assert rows[0]["zbee_nwk.relay"] == [str(0x1111), str(0x2222)]
    assert rows[0]["zbee_nwk.relay.index"] == ["1"]
    assert rows[1]["zbee_nwk.dst64"] == [str(METER).replace("-", ":").lower()]
    assert rows[2]["zbee_aps.block"] == ["0"]
    assert rows[3]["zbee_aps.group"] == ["0x4321"]
