"""A dongle on a desk: its house without walls, a host that speaks octet by octet, a device within reach.

The host here is as plain as a host can be, and its EZSP frames are written with bellows' tables: what the
dongle reads with its own hands was then not written by the same ones.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import bellows.types as t

from han.facts import Fact, Facts
from han.security.install_code import link_key, with_crc
from han.sim.air.links import Links
from han.sim.air.medium import Air
from han.sim.air.timeline import Timeline
from han.sim.dongle import ash_frames
from han.sim.dongle.dongle import Dongle
from han.sim.dongle.flash import Flash
from han.sim.dongle.personality import Personality, plain
from han.sim.dongle.versions import VERSIONS
from han.sim.node.node import Node
from han.sim.node.service import JoinResult, Received, SimpleDescriptor
from ota.eui64 import Eui64

TABLES = {version: import_module(f"bellows.ezsp.v{version}.commands").COMMANDS for version in VERSIONS}
COORDINATOR = Eui64.parse("00-DB-12-34-56-78-90-A2")
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
STRANGER = Eui64.parse("00-DB-12-34-56-78-90-FF")
INSTALL_CODE = with_crc(bytes.fromhex("83FED3407A939723A5C639B26916D505"))
LINK_KEY = link_key(INSTALL_CODE)
NETWORK_KEY = bytes(range(16))
SE_PROFILE = 0x0109
OTA_CLUSTER = 0x0019


class Desk:
    """A timeline, an air, a dongle on them, and everything that was said."""

    def __init__(
        self,
        personality: Personality | None = None,
        *,
        serial_loss: float = 0.0,
        seed: int = 1,
        links: Links | None = None,
    ) -> None:
        self.timeline = Timeline()
        self.facts = Facts(lambda: self.timeline.now)
        self.told: list[Fact] = []
        self.facts.subscribe(self.told.append)
        self.air = Air(self.timeline, reach=links)
        self.seed = seed
        self.node = self.new_node("hub", COORDINATOR, 0x8F)
        self.dongle = Dongle(
            timeline=self.timeline,
            node=self.node,
            store=self.node.store,
            eui64=COORDINATOR,
            dice=random.Random(seed),
            facts=self.facts,
            personality=personality or plain(),
            flash=Flash(),
            serial_loss=serial_loss,
        )
        # It has been plugged in for a while when the first host comes.
        self.run(5.0)

    def new_node(self, name: str, eui64: Eui64, capability: int = 0x8E) -> Node:
        """A radio within reach."""
        return Node(
            eui64=eui64,
            air=self.air,
            timeline=self.timeline,
            dice=random.Random(f"{name} {self.seed}"),
            facts=self.facts,
            name=name,
            capability=capability,
        )

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.run(self.timeline.now + seconds)

    def why(self, what: str) -> list[str]:
        """The reasons given with this kind of fact."""
        return [fact.why for fact in self.told if fact.what == what]


class Wire:
    """A host's end of the serial line, no cleverer than a terminal program."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.heard = bytearray()
        self.taken = False
        self.end = desk.dongle.open_port(self.heard.extend, self._taken)

    def _taken(self) -> None:
        self.taken = True

    def say(self, octets: bytes, *, listen: float = 0.05) -> bytes:
        """Write octets; what came back within the time."""
        before = len(self.heard)
        self.end.write(octets)
        self.desk.run(listen)
        return bytes(self.heard[before:])


@dataclass
class Callback:
    """A callback frame: its name, its header, its fields and what stood behind them."""

    name: str
    sequence: int
    control: int
    fields: dict[str, Any]
    trailer: bytes

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


@dataclass
class Answer:
    """The answer to a command."""

    name: str
    control: int
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The answer's status, as the number on the wire."""
        return int(self.fields["status"])

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


class Host:
    """A host with just enough ASH to exchange EZSP frames: one at a time, acknowledging all it gets."""

    def __init__(self, desk: Desk, version: int = 13) -> None:
        self.desk = desk
        self.version = version
        self.table = TABLES[version]
        self.names = {entry[0]: name for name, entry in self.table.items()}
        self.wire = Wire(desk)
        self.wire.end.sink = self._hear
        self.acknowledges = True
        self.callbacks: list[Callback] = []
        self.frames: list[bytes] = []
        """Every whole ASH frame from the dongle, without flags, escapes undone."""
        self.order: list[str] = []
        """The names of answers and callbacks as they came."""
        self._partial = bytearray()
        self._reset_link()

    def _reset_link(self) -> None:
        self._next = 0
        self._expected = 0
        self._sequence = 0
        self._answers: dict[int, bytes] = {}
        self.reset_codes: list[int] = []
        self.errors: list[int] = []

    def _hear(self, octets: bytes) -> None:
        self._partial += octets
        *pieces, rest = bytes(self._partial).split(b"\x7e")
        self._partial = bytearray(rest)
        for piece in pieces:
            frame = ash_frames.unstuffed(piece.split(b"\x1a")[-1].translate(None, b"\x11\x13"))
            if frame and len(frame) >= 3 and ash_frames.crc_is_right(frame):
                self.frames.append(frame)
                self._take(frame[0], frame[1:-2])

    def _take(self, control: int, body: bytes) -> None:
        if control == ash_frames.RSTACK:
            self.reset_codes.append(body[1])
            self._next = self._expected = 0
        elif control == ash_frames.ERROR:
            self.errors.append(body[1])
        elif not control & 0x80:
            fresh = control >> 4 == self._expected
            if fresh:
                self._expected = (self._expected + 1) & 7
            if self.acknowledges:
                self.wire.end.write(ash_frames.ack_frame(self._expected))
            if fresh:
                self._ezsp(ash_frames.randomised(body))

    def _header(self, frame_id: int) -> bytes:
        """What stands between the sequence number and the parameters of a command."""
        if self.version < 5:
            return bytes((0x00, frame_id))
        if self.version < 8:
            return bytes((0x00, 0xFF, 0x00, frame_id))
        return b"\x00\x01" + frame_id.to_bytes(2, "little")

    def _name_and_body(self, frame: bytes) -> tuple[str, bytes]:
        if self.version >= 5 and frame[2] == 0x00:
            return "version", frame[3:]
        if self.version < 5:
            return self.names[frame[2]], frame[3:]
        if self.version < 8:
            return self.names[frame[4]], frame[5:]
        return self.names[frame[3] | frame[4] << 8], frame[5:]

    def _ezsp(self, frame: bytes) -> None:
        name, body = self._name_and_body(frame)
        self.order.append(name)
        if frame[1] & 0x10:
            layout = self.table[name][2]
            fields, trailer = t.deserialize_dict(body, layout)
            self.callbacks.append(Callback(name, frame[0], frame[1], fields, trailer))
        else:
            self._answers[frame[0]] = frame

    def send(self, frame: bytes) -> None:
        """Send an EZSP frame as it is."""
        number = self._next
        self._next = (number + 1) & 7
        self.wire.end.write(ash_frames.data_frame(number, again=False, ack=self._expected, payload=frame))

    def start(self, frame: bytes) -> int:
        """Send an EZSP frame under the next sequence number, which is returned; do not wait."""
        sequence = self._sequence
        self._sequence = (sequence + 1) & 0xFF
        self.send(bytes((sequence,)) + frame)
        return sequence

    def wait(self, sequence: int, seconds: float = 2.0) -> bytes:
        """The frame that answers a sequence number."""
        until = self.desk.timeline.now + seconds
        while sequence not in self._answers and self.desk.timeline.now < until:
            due = self.desk.timeline.timer()
            if due is None or due > until:
                break
            self.desk.timeline.run(due)
        return self._answers.pop(sequence)

    def encode(self, name: str, *arguments: object, **fields: object) -> bytes:
        """A command's frame without its sequence number."""
        frame_id, request, _ = self.table[name]
        octets = t.serialize_dict(arguments, fields, request)
        return self._header(frame_id) + octets

    def call(self, name: str, *arguments: object, **fields: object) -> Answer:
        """Send a command and wait for its answer."""
        return self.answered(self.start(self.encode(name, *arguments, **fields)))

    def call_raw(self, frame_id: int, parameters: bytes = b"") -> Answer:
        """Send a command by its number and wait for its answer."""
        return self.answered(self.start(self._header(frame_id) + parameters))

    def answered(self, sequence: int) -> Answer:
        """Wait for the answer under a sequence number and read it."""
        frame = self.wait(sequence)
        name, body = self._name_and_body(frame)
        layout = self.table[name][2]
        if isinstance(layout, dict):
            return Answer(name, frame[1], t.deserialize_dict(body, layout)[0])
        return Answer(name, frame[1], {"status": layout.deserialize(body)[0].status})

    def reset(self) -> int:
        """RST, and the reason in the RSTACK that follows."""
        self._reset_link()
        self.wire.end.write(bytes.fromhex("1ac038bc7e"))
        while not self.reset_codes:
            due = self.desk.timeline.timer()
            assert due is not None, "no RSTACK came"
            self.desk.timeline.run(due)
        return self.reset_codes[-1]

    def connect(self) -> Host:
        """Reset, and agree on the version."""
        self.reset()
        self.wait(self.start(bytes((0x00, 0x00, 4))))
        self._sequence = 0
        self.wait(self.start(self._header(0) + bytes((self.version,))))
        return self

    def add_endpoint(self, endpoint: int = 1) -> Answer:
        """Register a Smart Energy endpoint."""
        return self.call(
            "addEndpoint",
            endpoint=endpoint,
            profileId=SE_PROFILE,
            deviceId=0x0500,
            deviceVersion=0,
            inputClusterCount=2,
            outputClusterCount=1,
            inputClusterList=[0x0019, 0x000A],
            outputClusterList=[0x0702],
        )

    def form(self, channel: int = 15, power: int = 8, *, hashed: bool = True) -> Answer:
        """Set security, form a network, wait until it is up."""
        security = t.EmberInitialSecurityState()
        security.bitmask = t.EmberInitialSecurityBitmask(0x0B44 | (0x0080 if hashed else 0) | 0x1000)
        security.preconfiguredKey = t.KeyData(bytes(16))
        security.networkKey = t.KeyData(NETWORK_KEY)
        security.networkKeySequenceNumber = t.uint8_t(0)
        security.preconfiguredTrustCenterEui64 = t.EUI64.deserialize(COORDINATOR.wire)[0]
        assert self.call("setInitialSecurityState", security).status == 0
        return self.call("formNetwork", parameters(channel=channel, power=power))

    def ready(self) -> Host:
        """Connect, register an endpoint, form, and let a trusted device in."""
        self.connect()
        assert self.add_endpoint().status == 0
        assert self.form().status == 0
        self.desk.run(0.1)
        self.callbacks.clear()
        self.order.clear()
        return self

    def expect_device(self, eui64: Eui64 = PPMID, key: bytes = LINK_KEY) -> None:
        """Open the network for one device."""
        if self.version >= 8:
            policy = t.EzspDecisionBitmask.ALLOW_JOINS | t.EzspDecisionBitmask.JOINS_USE_INSTALL_CODE_KEY
        else:
            policy = t.EzspDecisionId.BDB_JOIN_USES_INSTALL_CODE_KEY
        assert self.call("setPolicy", 0, policy).status == 0
        address = t.EUI64.deserialize(eui64.wire)[0]
        if self.version >= 12:
            imported = self.call("importTransientKey", address, t.KeyData(key), 0)
        else:
            imported = self.call("addTransientLinkKey", address, t.KeyData(key))
        assert imported.status == 0
        assert self.call("permitJoining", 60).status == 0

    def unicast(
        self,
        to: int,
        payload: bytes = b"hello",
        *,
        options: int = 0x0140,
        endpoint: int = 1,
        tag: int = 7,
        cluster: int = OTA_CLUSTER,
    ) -> bytes:
        """The frame of a sendUnicast, ready for `start`."""
        aps = aps_frame(cluster=cluster, endpoint=endpoint, options=options)
        return self.encode("sendUnicast", t.EmberOutgoingMessageType.OUTGOING_DIRECT, to, aps, tag, payload)

    def broadcast(
        self,
        payload: bytes = b"hello",
        *,
        tag: int = 9,
        to: int = 0xFFFD,
        aps: t.EmberApsFrame | None = None,
    ) -> bytes:
        """The frame of a sendBroadcast, ready for `start`."""
        aps = aps or aps_frame()
        if self.version >= 14:
            return self.encode("sendBroadcast", 0xFFFF, to, 0, aps, 0, tag, payload)
        return self.encode("sendBroadcast", to, aps, 0, tag, payload)

    def named(self, name: str) -> list[Callback]:
        """The callbacks of one kind so far."""
        return [callback for callback in self.callbacks if callback.name == name]


def aps_frame(*, cluster: int = OTA_CLUSTER, endpoint: int = 1, options: int = 0x0140) -> t.EmberApsFrame:
    """An APS frame of bellows' making."""
    return t.EmberApsFrame(
        profileId=SE_PROFILE,
        clusterId=cluster,
        sourceEndpoint=endpoint,
        destinationEndpoint=1,
        options=t.EmberApsOption(options),
        groupId=0,
        sequence=0,
    )


def parameters(*, channel: int = 15, power: int = 8) -> t.EmberNetworkParameters:
    """Network parameters of bellows' making."""
    return t.EmberNetworkParameters(
        extendedPanId=t.ExtendedPanId.deserialize(COORDINATOR.wire)[0],
        panId=0x1A62,
        radioTxPower=power,
        radioChannel=channel,
        joinMethod=t.EmberJoinMethod.USE_MAC_ASSOCIATION,
        nwkManagerId=0,
        nwkUpdateId=0,
        channels=t.Channels.ALL_CHANNELS,
    )


def try_to_join(
    desk: Desk, *, key: bytes = LINK_KEY, eui64: Eui64 = PPMID, capability: int = 0x8E
) -> tuple[Node, JoinResult]:
    """A device that tries to join now, and what came of it."""
    device = desk.new_node("ppmid", eui64, capability)
    device.endpoints[1] = SimpleDescriptor(SE_PROFILE, 0x0502, 0, (0x000A,), (OTA_CLUSTER,))
    results: list[JoinResult] = []
    device.join(key, results.append)
    for _ in range(200):
        if results:
            break
        desk.run(0.1)
    desk.run(0.5)
    return device, results[0]


def join_device(
    desk: Desk, *, key: bytes = LINK_KEY, eui64: Eui64 = PPMID, capability: int = 0x8E
) -> tuple[Node, list[Received]]:
    """A device that joins now, and the list that its messages go to."""
    device, result = try_to_join(desk, key=key, eui64=eui64, capability=capability)
    assert result.ok, result
    heard: list[Received] = []
    device.on_message = heard.append
    return device, heard
