"""A house with a plain hub in it: a coordinator node without a dongle, an OTA server and one tunnel a device.

Everything lives on one timeline; nothing waits. The hub is no model of ours: it is the least that devices
need. It protects what it sends to a device with which it has established a key, and takes from it only what
is protected; a device without a certificate is served in plain.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from house_keys import HubKeys

from han.clusters import PROTECTED_CLUSTERS
from han.facts import Fact
from han.security.install_code import link_key
from han.sim.home import Home, parse_home, read_home
from han.sim.house import House
from han.sim.house_memory import HouseMemory
from han.sim.node.node import Node
from han.sim.node.service import (
    DeviceAnnounced,
    NetworkParameters,
    NodeEvent,
    Received,
    SendRequest,
    SendStatus,
    SimpleDescriptor,
)
from han.sim.node.store import NodeStore
from han.zcl import (
    KEY_ESTABLISHMENT_CLUSTER,
    OTA_CLUSTER,
    SMART_ENERGY_PROFILE,
    TUNNELLING_CLUSTER,
    RequestTunnel,
    RequestTunnelResponse,
    TransferData,
    TransferDataError,
    TunnelCommand,
    ZclFrame,
    decode_ota,
    decode_tunnel,
    default_response,
    encode_ota,
    encode_tunnel,
)
from ota.commands import DefaultResponse
from ota.eui64 import Eui64
from ota.gbcs_image import Authorisation, GbcsImage, authorise
from ota.image import HardwareRange, Header
from ota.server import Activation, Offer, OtaServer, Send, ServerSettings
from ota.status import Status

NETWORK_KEY = bytes(range(0xA0, 0xB0))
HUB_ENDPOINT = 3
_READ_ATTRIBUTES = 0x00


def _ignore(status: SendStatus) -> None:
    """What becomes of a frame matters to nobody."""


@dataclass
class Tunnels:
    """The hub's ends: the newest tunnel of each device, and what came through."""

    numbers: dict[int, int] = field(default_factory=dict)
    heard: list[tuple[int, bytes]] = field(default_factory=list)
    errors: list[TransferDataError] = field(default_factory=list)
    refuses: bool = False
    next_number: int = 0


class PlainHub:
    """A coordinator that admits every device of its house and serves the images it was given."""

    def __init__(
        self,
        house: House,
        *,
        server: OtaServer | None = None,
        profile: int = SMART_ENERGY_PROFILE,
        suites: Sequence[int] = (1, 2),
        store: NodeStore | None = None,
    ) -> None:
        self.house = house
        self.profile = profile
        self.timeline = house.timeline
        self.server = server or OtaServer(ServerSettings())
        self.tunnels = Tunnels()
        self.events: list[object] = []
        self.global_answers: list[ZclFrame] = []
        self.announced: list[Eui64] = []
        self._sequence = 0
        self._timer = None
        # In place of the dongle, which nobody opens here: its radio is off.
        self.node = Node(
            eui64=house.home.dongle.eui64,
            air=house.air,
            timeline=house.timeline,
            dice=random.Random(f"{house.seed} hub"),
            facts=house.facts,
            name="hub",
            capability=0x8F,
            store=store,
        )
        self.node.endpoints[HUB_ENDPOINT] = SimpleDescriptor(
            profile, 0x0500, 0, (0x0000, OTA_CLUSTER, TUNNELLING_CLUSTER, KEY_ESTABLISHMENT_CLUSTER), ()
        )
        self.keys = HubKeys(self.node, house.timeline, self.send, house.seed, suites)
        self.heard: list[Received] = []
        self.elsewhere: Callable[[Received, ZclFrame], object] = lambda *_: None
        """Given the questions that are for none of the hub's parts."""
        self.node.on_message = self._message
        self.node.on_event = self._event

    def form(self, channel: int = 15) -> None:
        """Start a network; nobody is admitted yet."""
        self.node.form(NetworkParameters(channel, 0x1A2B, Eui64(0x00DB123456789000), NETWORK_KEY))

    def admit_everyone(self, seconds: int = 254) -> None:
        """Open the network for the devices of the house and their install codes."""
        for description in self.house.home.devices:
            self.node.trust.transient[description.eui64] = link_key(description.install_code)
        self.node.permit(seconds)

    def offer(self, data: bytes, *targets: str, activation: Activation = Activation.NOW) -> None:
        """Offer this file to the devices of these names."""
        eui64s = [self.house.devices[name].eui64 for name in targets]
        self.make(Offer.of(data, eui64s, activation))

    def make(self, offer: Offer) -> None:
        """Make this offer."""
        self.server.offer(offer, self.timeline.now)
        self._settle()

    def withdraw(self, data: bytes) -> None:
        """Offer this file no more."""
        self.server.withdraw(Offer.of(data, [], Activation.NOW).image_id, self.timeline.now)
        self._settle()

    def tell(self, name: str, message: bytes, *, tunnel: int | None = None) -> None:
        """Send a message through the device's tunnel, or through one of this number."""
        nwk = self.house.devices[name].node.nwk
        assert nwk is not None
        number = self.tunnels.numbers[nwk] if tunnel is None else tunnel
        self.send_tunnel(nwk, TransferData(number, message, from_server=True))

    def send_tunnel(self, nwk: int, command: TunnelCommand, sequence: int | None = None) -> None:
        """Send a command of the Tunnelling cluster to a short address."""
        self.send(nwk, TUNNELLING_CLUSTER, encode_tunnel(command, self.sequence(sequence)))

    def send(
        self,
        nwk: int,
        cluster: int,
        zcl: bytes,
        on_sent: Callable[[SendStatus], object] = _ignore,
        *,
        acknowledged: bool = True,
    ) -> None:
        """Send any ZCL frame to a device's endpoint 1."""
        secured = cluster in PROTECTED_CLUSTERS and self.node.eui64_of(nwk) in self.keys.keyed
        self.send_as_is(nwk, cluster, zcl, on_sent, aps_security=secured, acknowledged=acknowledged)

    def send_as_is(
        self,
        nwk: int,
        cluster: int,
        zcl: bytes,
        on_sent: Callable[[SendStatus], object] = _ignore,
        *,
        aps_security: bool,
        acknowledged: bool = True,
    ) -> None:
        """Send a ZCL frame, protected or not, whatever the rules say; without power nothing goes out."""
        if not self.node.is_up:
            return
        request = SendRequest(
            nwk,
            self.profile,
            cluster,
            HUB_ENDPOINT,
            1,
            zcl,
            aps_ack=acknowledged,
            aps_security=aps_security,
        )
        self.node.send(request, on_sent)

    def sequence(self, known: int | None = None) -> int:
        """A new ZCL sequence number, or the one that is known."""
        if known is not None:
            return known
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def messages_of(self, name: str) -> list[bytes]:
        """What came out of this device's tunnels, in order."""
        nwk = self.house.devices[name].node.nwk
        return [message for source, message in self.tunnels.heard if source == nwk]

    def _message(self, received: Received) -> None:
        self.heard.append(received)
        frame = ZclFrame.parse(received.payload)
        is_keyed = received.source_eui64 in self.keys.keyed
        if not frame.is_cluster_command and frame.command_id == DefaultResponse.COMMAND_ID:
            self.global_answers.append(frame)  # which nobody answers
        elif received.cluster in PROTECTED_CLUSTERS and received.aps_secured != is_keyed:
            refusal = default_response(frame, Status.NOT_AUTHORIZED)
            self.send_as_is(received.source, received.cluster, refusal, aps_security=False)
        elif received.cluster == KEY_ESTABLISHMENT_CLUSTER and frame.is_cluster_command:
            self.keys.receive(received, frame)
        elif received.cluster == OTA_CLUSTER and frame.is_cluster_command:
            assert received.source_eui64 is not None
            now = self.timeline.now
            self.server.receive(received.source_eui64, decode_ota(frame), frame.sequence, now)
            self._settle()
        elif received.cluster == TUNNELLING_CLUSTER and frame.is_cluster_command:
            self._tunnel(received.source, frame)
        elif not frame.is_cluster_command and frame.command_id != _READ_ATTRIBUTES:
            self.global_answers.append(frame)
        else:
            self.elsewhere(received, frame)

    def _event(self, event: NodeEvent) -> None:
        if isinstance(event, DeviceAnnounced):
            self.announced.append(event.eui64)

    def _tunnel(self, source: int, frame: ZclFrame) -> None:
        tunnels = self.tunnels
        match decode_tunnel(frame):
            case RequestTunnel() if tunnels.refuses:
                self.send_tunnel(source, RequestTunnelResponse(0, 1, 0), frame.sequence)
            case RequestTunnel():
                tunnels.numbers[source] = tunnels.next_number
                tunnels.next_number += 1
                answer = RequestTunnelResponse(tunnels.numbers[source], 0, 1500)
                self.send_tunnel(source, answer, frame.sequence)
            case RequestTunnelResponse(tunnel=number):
                tunnels.numbers[source] = number
            case TransferData(tunnel=number, data=data):
                tunnels.heard.append((source, data))
                if tunnels.numbers.get(source) != number:
                    self.send_tunnel(source, TransferDataError(number, 0, from_server=True), frame.sequence)
            case TransferDataError() as error:
                tunnels.errors.append(error)
            case _:
                pass

    def _settle(self) -> None:
        for item in self.server.drain():
            if isinstance(item, Send):
                nwk = self.node.address_of(item.peer)
                assert nwk is not None
                octets = encode_ota(item.command, self.sequence(item.sequence))
                on_sent = partial(self._has_left, item) if item.tells_outcome else _ignore
                self.send(nwk, OTA_CLUSTER, octets, on_sent, acknowledged=item.acknowledged)
            else:
                self.events.append(item)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (when := self.server.timer()) is not None:
            self._timer = self.timeline.at(when, self._woken)

    def _has_left(self, item: Send, status: SendStatus) -> None:
        self.server.sent(item, status is SendStatus.OK, self.timeline.now)
        self._settle()

    def _woken(self) -> None:
        self._timer = None
        self.server.tick(self.timeline.now)
        self._settle()


class World:
    """A house, its hub, and every fact that is said in it."""

    def __init__(
        self,
        home: Home | None = None,
        *,
        seed: int | None = None,
        loss: float = 0.0,
        profile: int = SMART_ENERGY_PROFILE,
        hub_suites: Sequence[int] = (1, 2),
        memory: HouseMemory | None = None,
        hub_store: NodeStore | None = None,
    ) -> None:
        self.house = House(home or read_home("demo"), seed=seed, loss=loss, memory=memory)
        self.facts: list[Fact] = []
        self.house.facts.subscribe(self.facts.append)
        self.hub = PlainHub(self.house, profile=profile, suites=hub_suites, store=hub_store)

    def __getitem__(self, name: str):
        return self.house.devices[name]

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        self.house.timeline.run(self.house.timeline.now + seconds)

    def run_until(self, what: str, who: str | None = None, within: float = 3600.0, count: int = 1) -> Fact:
        """Let time pass until this fact has been said so often from now on, and give the last one."""
        deadline = self.house.timeline.now + within
        start = len(self.facts)
        while self.house.timeline.now <= deadline:
            told = [fact for fact in self.facts[start:] if fact.what == what and who in (None, fact.who)]
            if len(told) >= count:
                return told[count - 1]
            if not self.house.timeline.step():
                break
        raise AssertionError(f"nobody said {what!r} within {within} s")

    def said(self, what: str, who: str | None = None) -> list[Fact]:
        """Every fact of this kind so far."""
        return [fact for fact in self.facts if fact.what == what and who in (None, fact.who)]

    def move_in(self) -> None:
        """The hub forms its network and admits everyone; all devices come on and find it."""
        self.hub.form()
        self.hub.admit_everyone()
        self.house.power_on()
        self.run(20.0)
        assert all(device.is_attached for device in self.house.devices.values())


def image_for(
    world: World,
    name: str,
    *,
    version: int = 0x00020000,
    image_type: int | None = None,
    size: int = 3000,
    authorisation: Authorisation | None = None,
    hardware: HardwareRange | None = None,
) -> bytes:
    """An upgrade file for the device of this name; those of two-stage devices carry a trailer, unsigned."""
    description = world[name].description
    body = random.Random(f"{name} {version}").randbytes(size)
    if authorisation is None and description.kind.value != "PPMID":
        authorisation = authorise(body, None)
    header = Header(
        manufacturer=description.manufacturer,
        image_type=description.image_type if image_type is None else image_type,
        file_version=version,
        total_size=0,
        hardware_versions=hardware,
    )
    return GbcsImage.build(header, body, authorisation).to_bytes()


def home_with(devices: str) -> Home:
    """A home with a dongle and these devices (TOML)."""
    return parse_home(f'name = "test"\n[dongle]\neui64 = "00-DB-12-34-56-78-90-A2"\n{devices}'.encode())
