"""Long messages through a dongle: its host cuts and reassembles, fragment by fragment, in any version."""

from __future__ import annotations

import bellows.types as t
import pytest
from dongle_world import LINK_KEY, OTA_CLUSTER, SE_PROFILE, Desk, Host, join_device

from han.fragments import FragmentSettings
from han.sim.dongle.personality import plain
from han.sim.node.service import SendRequest, SendStatus
from han.sim.wire.zdo import NodeDescriptor, NodeDescriptorRequest, decode, encode

LONG = bytes(range(200))
FRAGMENT, RETRY, ENCRYPTION = 0x8000, 0x0040, 0x0020


@pytest.fixture(params=[4, 8, 13, 14, 17, 19], ids=lambda version: f"v{version}")
def version(request) -> int:
    return request.param


@pytest.fixture
def host(version) -> Host:
    host = Host(Desk(plain(ezsp=version)), version).ready()
    host.expect_device()
    return host


def pick(version: int, ember: int, sl: int) -> int:
    """The status in the words of the version."""
    return ember if version < 14 else sl


def aps(*, group: int, sequence: int = 0, options: int = FRAGMENT | RETRY) -> t.EmberApsFrame:
    """A fragment's frame as a host writes it."""
    return t.EmberApsFrame(
        profileId=SE_PROFILE,
        clusterId=OTA_CLUSTER,
        sourceEndpoint=1,
        destinationEndpoint=1,
        options=t.EmberApsOption(options),
        groupId=group,
        sequence=sequence,
    )


def send(host: Host, to: int, frame: t.EmberApsFrame, payload: bytes, tag: int = 1):
    """SendUnicast, and its answer."""
    direct = t.EmberOutgoingMessageType.OUTGOING_DIRECT
    return host.answered(host.start(host.encode("sendUnicast", direct, to, frame, tag, payload)))


def heard_frame(host: Host, index: int = -1) -> t.EmberApsFrame:
    """The APS frame of an incoming message."""
    fields = host.named("incomingMessageHandler")[index].fields
    return fields["apsFrame" if host.version < 14 else "aps_frame"]


def send_long(host: Host, device, *, secured: bool = False) -> list[SendStatus]:
    """Let a device send its long message to the hub, and see what has become of it."""
    host.callbacks.clear()
    ended: list[SendStatus] = []
    request = SendRequest(0, SE_PROFILE, OTA_CLUSTER, 1, 1, LONG, aps_security=secured)
    device.send(request, ended.append)
    return ended


def reply(host: Host, device, *, group: int, sequence: int, options: int = FRAGMENT | RETRY):
    """SendReply, as bellows calls it."""
    return host.call("sendReply", device.nwk, aps(group=group, sequence=sequence, options=options), b"")


@pytest.mark.parametrize("secured", [False, True])
def test_a_message_in_fragments_of_the_host_arrives_whole(host, secured):
    device, heard = join_device(host.desk)
    options = FRAGMENT | RETRY | (ENCRYPTION if secured else 0)
    parts, sequence = [LONG[:71], LONG[71:142], LONG[142:]], 0
    for index, part in enumerate(parts):
        group = index or 3 << 8
        answer = send(host, device.nwk, aps(group=group, sequence=sequence, options=options), part, tag=index)
        assert answer.status == 0
        assert index == 0 or answer["sequence"] == sequence
        sequence = answer["sequence"]
        host.desk.run(0.5)

    assert [(one.payload, one.aps_secured) for one in heard] == [(LONG, secured)]
    assert len(host.named("messageSentHandler")) == 3


def test_each_fragment_of_a_device_reaches_the_host_by_itself_and_its_acknowledgement_brings_the_next(host):
    device, _ = join_device(host.desk)
    ended = send_long(host, device)
    for _ in range(3):
        host.desk.run(0.5)
        frame = heard_frame(host)
        group = 0xFF00 | frame.groupId & 0xFF
        assert reply(host, device, group=group, sequence=frame.sequence).status == 0
    host.desk.run(0.5)

    incoming = host.named("incomingMessageHandler")
    content = "messageContents" if host.version < 14 else "message"
    assert b"".join(bytes(one.fields[content]) for one in incoming) == LONG
    assert [heard_frame(host, index).groupId for index in range(3)] == [0x0300, 1, 2]
    assert all(heard_frame(host, index).options & FRAGMENT for index in range(3))
    assert ended == [SendStatus.OK]


def test_under_aps_security_the_acknowledgement_is_sealed_too(host):
    device, _ = join_device(host.desk)
    ended = send_long(host, device, secured=True)
    for _ in range(4):
        host.desk.run(0.5)
        frame = heard_frame(host)
        assert frame.options & ENCRYPTION
        group = 0xFF00 | frame.groupId & 0xFF
        reply(host, device, group=group, sequence=frame.sequence, options=int(frame.options))
    host.desk.run(0.5)

    assert ended == [SendStatus.OK]


def test_an_acknowledgement_without_the_security_of_the_fragment_does_not_count(host):
    device, _ = join_device(host.desk)
    ended = send_long(host, device, secured=True)
    host.desk.run(0.5)
    assert reply(host, device, group=0xFF00, sequence=heard_frame(host).sequence).status == 0
    host.desk.run(20.0)

    assert ended == [SendStatus.DELIVERY_FAILED]


def test_a_host_that_does_not_acknowledge_hears_the_fragment_four_times_and_no_more(host):
    device, _ = join_device(host.desk)
    ended = send_long(host, device)
    host.desk.run(20.0)

    assert [heard_frame(host, index).groupId for index in range(4)] == [0x0300] * 4
    assert len(host.named("incomingMessageHandler")) == 4
    assert ended == [SendStatus.DELIVERY_FAILED]


def test_where_no_fragment_waits_there_is_nothing_to_acknowledge(host, version):
    device, _ = join_device(host.desk)
    invalid = pick(version, 0x70, 0x02)
    assert reply(host, device, group=0xFF00, sequence=1).status == invalid

    send_long(host, device)
    host.desk.run(0.5)
    sequence = heard_frame(host).sequence
    assert reply(host, device, group=0xFF00, sequence=sequence, options=RETRY).status == invalid
    assert reply(host, device, group=0xFF00, sequence=sequence ^ 1).status == invalid
    host.desk.run(20.0)
    assert reply(host, device, group=0xFF00, sequence=sequence).status == invalid


def test_a_fragment_has_two_octets_less_room_and_eleven_under_aps_security(host, version):
    device, _ = join_device(host.desk)
    for limit, options in ((80, FRAGMENT | RETRY), (71, FRAGMENT | RETRY | ENCRYPTION)):
        frame = aps(group=2 << 8, options=options)
        assert send(host, device.nwk, frame, bytes(limit + 1)).status == pick(version, 0x74, 0x38)
        assert send(host, device.nwk, frame, bytes(limit)).status == 0


@pytest.mark.parametrize(
    ("group", "options"), [(2 << 8, FRAGMENT), (0, FRAGMENT | RETRY)], ids=["unacknowledged", "counts none"]
)
def test_a_fragment_that_nobody_could_put_together_is_refused(host, version, group, options):
    device, heard = join_device(host.desk)

    assert send(host, device.nwk, aps(group=group, options=options), b"x").status == pick(version, 0x70, 0x02)
    assert send(host, 0x0000, aps(group=2 << 8), b"x").status == pick(version, 0x70, 0x02)
    host.desk.run(1.0)
    assert heard == []


def test_a_fragment_that_nobody_acknowledges_is_reported_as_not_delivered(host, version):
    device, _ = join_device(host.desk)
    nwk = device.nwk
    device.crash()
    send(host, nwk, aps(group=2 << 8), b"x", tag=9)
    host.desk.run(20.0)

    [sent] = host.named("messageSentHandler")
    assert sent.fields["status"] == pick(version, 0x66, 0x0C02)


def test_a_lost_sendreply_costs_a_repetition_and_not_the_message(host):
    device, _ = join_device(host.desk)
    ended = send_long(host, device)
    host.desk.run(2.0)
    assert [heard_frame(host, index).groupId for index in range(2)] == [0x0300, 0x0300]
    for index in range(3):
        reply(host, device, group=0xFF00 | index, sequence=heard_frame(host).sequence)
        host.desk.run(0.5)

    assert ended == [SendStatus.OK]


def test_what_is_said_to_the_device_objects_in_fragments_never_reaches_the_host(host):
    device, _ = join_device(host.desk)
    host.callbacks.clear()
    ended: list[SendStatus] = []
    device.send(SendRequest(0, 0x0000, 0x0006, 0, 0, bytes(200)), ended.append)
    host.desk.run(5.0)

    assert ended == [SendStatus.OK]
    assert host.named("incomingMessageHandler") == []


def test_the_window_that_a_dongle_was_built_with_is_that_of_smart_energy(host):
    value = host.call("getConfigurationValue", t.EzspConfigId.CONFIG_FRAGMENT_WINDOW_SIZE)["value"]

    assert value == FragmentSettings().window == 1


def test_the_link_key_never_shows(host):
    join_device(host.desk)

    assert LINK_KEY.hex() not in "".join(fact.to_json() for fact in host.desk.told)


def node_descriptor(host: Host, device) -> NodeDescriptor:
    """What a device is told about the coordinator when it asks."""
    heard = []
    device.on_zdo = heard.append
    ask = encode(9, NodeDescriptorRequest(0x0000))
    device.send(SendRequest(0, 0x0000, 0x0002, 0, 0, ask), lambda status: None)
    host.desk.run(1.0)
    [payload] = [message.payload for message in heard if message.cluster == 0x8002]
    return decode(0x8002, payload)[1].descriptor


def test_a_dongle_tells_of_one_frame_until_its_host_says_that_it_takes_more(host):
    device, _ = join_device(host.desk)
    incoming, outgoing = t.EzspValueId(0x05), t.EzspValueId(0x06)
    before = node_descriptor(host, device)
    assert host.call("setValue", incoming, (1600).to_bytes(2, "little")).status == 0
    assert host.call("setValue", outgoing, (1500).to_bytes(2, "little")).status == 0
    after = node_descriptor(host, device)

    assert (before.maximum_incoming_transfer, before.maximum_outgoing_transfer) == (82, 82)
    assert (after.maximum_incoming_transfer, after.maximum_outgoing_transfer) == (1600, 1500)


def test_a_transfer_size_has_two_octets(host, version):
    answer = host.call("setValue", t.EzspValueId(0x05), b"\x40\x06\x00")

    assert answer.status == pick(version, 0x36, 0x21)
