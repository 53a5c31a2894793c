"""A node on its way into a network: scan, associate, wait for the network key; or come back into it.

Who holds the network key rejoins with it (secured). Who does not, because it slept while the key was changed,
asks in plain and gets the network key of today from the Trust Centre, under the link key that they share.

The stages are those of ``Stage``; each has one timer, and its end without an answer is the failure that
``_OVERDUE`` names. A parent that refuses or stays silent makes room for the next best one that was heard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from han.sim.air.timeline import Handle
from han.sim.node.commands import ApsCommands
from han.sim.node.mac import Mac
from han.sim.node.neighbours import GOOD_COST, link_cost
from han.sim.node.nwk import Nwk
from han.sim.node.poll import Poller
from han.sim.node.service import JoinResult, JoinStatus, NetworkParameters
from han.sim.node.station import Station
from han.sim.node.store import LinkKey
from han.sim.wire.aps_commands import TransportNetworkKey
from han.sim.wire.errors import WireError
from han.sim.wire.mac import (
    BROADCAST,
    NO_SHORT_ADDRESS,
    AssociationRequest,
    AssociationResponse,
    AssociationStatus,
    Beacon,
    BeaconRequest,
    DataRequest,
    FrameType,
    MacFrame,
    parse_command,
)
from han.sim.wire.nwk import BeaconPayload
from han.sim.wire.nwk import FrameType as NwkFrameType
from han.sim.wire.nwk_commands import EndDeviceTimeoutRequest, RejoinRequest, RejoinResponse
from ota.eui64 import Eui64

SCAN = (2**3 + 1) * 960 * 16e-6
"""How long each channel is listened to: scan duration 3."""
RESPONSE_WAIT = 32 * 960 * 16e-6
"""Between an association request and asking for its answer (macResponseWaitTime)."""
POLLS = 3
KEY_WAIT = 5.0
REJOIN_WAIT = 1.0
ALL_CHANNELS = range(11, 27)
MAX_DEPTH = 15
"""What a beacon can say of its sender's depth."""


class Stage(Enum):
    """How far a joiner has come."""

    IDLE = "idle"
    SCANNING = "scanning"
    ASSOCIATING = "associating"
    POLLING = "polling"
    WAITING_FOR_KEY = "waiting for the network key"
    REJOINING = "rejoining"


_OVERDUE = {
    Stage.ASSOCIATING: JoinStatus.REFUSED,
    Stage.POLLING: JoinStatus.REFUSED,
    Stage.WAITING_FOR_KEY: JoinStatus.NO_KEY,
    Stage.REJOINING: JoinStatus.REFUSED,
}


@dataclass(frozen=True, slots=True)
class HeardNetwork:
    """A parent whose beacon was heard."""

    channel: int
    pan_id: int
    parent: int
    extended_pan_id: Eui64
    is_open: bool
    has_room: bool
    depth: int
    update_id: int
    lqi: int


class Joiner:
    """The joiner's side. ``on_up`` is called when the node is in the network, before any ``on_done``."""

    def __init__(
        self,
        station: Station,
        mac: Mac,
        nwk: Nwk,
        *,
        poller: Poller,
        commands: ApsCommands,
        on_up: Callable[[], object],
    ) -> None:
        self._station = station
        self._mac = mac
        self._nwk = nwk
        self._poller = poller
        self._commands = commands
        self._on_up = on_up
        self.stage = Stage.IDLE
        self._timer: Handle | None = None
        self._heard: list[HeardNetwork] = []
        self._channels: list[int] = []
        self._candidates: list[HeardNetwork] = []
        self._parent: HeardNetwork | None = None
        self._link_key: bytes | None = None
        self._secured = True
        self._address = NO_SHORT_ADDRESS
        self._polls = 0
        self._failure = JoinStatus.NO_NETWORK
        self._on_done: Callable[[JoinResult], object] | None = None
        self._on_scanned: Callable[[list[HeardNetwork]], object] | None = None

    def stop(self) -> None:
        """Give up without a word."""
        self._enter(Stage.IDLE)
        self._mac.hear_beacons(False)
        self._poller.stop()
        self._commands.joining_key = None
        self._on_done = self._on_scanned = None

    # Starting

    def join(self, link_key: bytes, channels: Sequence[int], on_done: Callable[[JoinResult], object]) -> None:
        """Join any open network on these channels; the network key comes under ``link_key``."""
        self._link_key = link_key
        self._on_done = on_done
        self._failure = JoinStatus.NO_NETWORK
        self._mac.address(BROADCAST, NO_SHORT_ADDRESS)
        self._scan(channels, self._choose_open)

    def rejoin(self, on_done: Callable[[JoinResult], object], *, secured: bool = True) -> None:
        """Come back into the stored network, on whichever channel it is now, with or without its key."""
        network = self._station.store.network
        assert network is not None
        self._link_key = None
        self._secured = secured
        self._on_done = on_done
        self._failure = JoinStatus.NO_NETWORK
        self._poller.stop()
        others = [channel for channel in ALL_CHANNELS if channel != network.channel]
        self._scan([network.channel, *others], self._choose_ours)

    def scan(self, channels: Sequence[int], on_scanned: Callable[[list[HeardNetwork]], object]) -> None:
        """Listen who is there (active scan); afterwards the radio is on the channel on which it was."""
        before = self._mac.channel

        def scanned(heard: list[HeardNetwork]) -> None:
            self._mac.tune(before)
            on_scanned(heard)

        self._scan(channels, scanned)

    # Scanning

    def _scan(self, channels: Sequence[int], on_scanned: Callable[[list[HeardNetwork]], object]) -> None:
        self._channels = list(channels)
        self._heard = []
        self._on_scanned = on_scanned
        self._mac.hear_beacons(True)
        self._next_channel()

    def _next_channel(self) -> None:
        if not self._channels:
            self._enter(Stage.IDLE)
            self._mac.hear_beacons(False)
            on_scanned, self._on_scanned = self._on_scanned, None
            if on_scanned is not None:
                on_scanned(self._heard)
            return
        self._mac.tune(self._channels.pop(0))
        request = BeaconRequest().to_bytes()
        self._mac.send(MacFrame(FrameType.COMMAND, 0, BROADCAST, BROADCAST, payload=request), _ignore)
        self._enter(Stage.SCANNING, SCAN, self._next_channel)

    def hear_beacon(self, frame: MacFrame, lqi: int) -> None:
        """A beacon was heard."""
        if (
            self.stage is not Stage.SCANNING
            or not isinstance(frame.source, int)
            or frame.source_pan_id is None
        ):
            return
        channel = self._mac.channel
        assert channel is not None
        try:
            beacon = Beacon.parse(frame.payload)
            payload = BeaconPayload.parse(beacon.payload)
        except WireError as error:
            self._station.drop("mac", str(error))
            return
        self._heard.append(
            HeardNetwork(
                channel,
                frame.source_pan_id,
                frame.source,
                payload.extended_pan_id,
                beacon.association_permit,
                payload.router_capacity if self._station.is_router else payload.end_device_capacity,
                payload.device_depth,
                payload.update_id,
                lqi,
            )
        )

    def _choose_open(self, heard: list[HeardNetwork]) -> None:
        self._choose([one for one in heard if one.is_open and one.has_room])

    def _choose_ours(self, heard: list[HeardNetwork]) -> None:
        network = self._station.store.network
        assert network is not None
        self._choose([one for one in heard if one.extended_pan_id == network.extended_pan_id])

    def _choose(self, candidates: list[HeardNetwork]) -> None:
        # Over a good link the nearest to the coordinator first, then the best heard; among equals the first.
        self._candidates = sorted(
            candidates, key=lambda one: (link_cost(one.lqi) > GOOD_COST, one.depth, -one.lqi)
        )
        self._try_next()

    def _try_next(self) -> None:
        if not self._candidates:
            self._end(JoinResult(self._failure))
            return
        parent = self._parent = self._candidates.pop(0)
        self._failure = JoinStatus.REFUSED
        self._mac.tune(parent.channel)
        if self._link_key is not None:
            self._associate(parent)
        else:
            self._ask_to_rejoin(parent)

    # Association

    def _associate(self, parent: HeardNetwork) -> None:
        self._mac.address(parent.pan_id, NO_SHORT_ADDRESS)
        self._enter(Stage.ASSOCIATING, RESPONSE_WAIT, self._poll)
        self._polls = 0
        frame = MacFrame(
            FrameType.COMMAND,
            0,
            parent.pan_id,
            parent.parent,
            self._station.eui64,
            AssociationRequest(self._station.capability).to_bytes(),
            ack_request=True,
            source_pan_id=BROADCAST,
        )
        self._mac.send(frame, self._association_sent)

    def _association_sent(self, ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
        if not ok and self.stage is Stage.ASSOCIATING:
            self._overdue()

    def _poll(self) -> None:
        if self._polls >= POLLS:
            self._overdue()
            return
        self._polls += 1
        self._enter(Stage.POLLING, RESPONSE_WAIT, self._poll)
        parent = self._parent
        assert parent is not None
        frame = MacFrame(
            FrameType.COMMAND,
            0,
            parent.pan_id,
            parent.parent,
            self._station.eui64,
            DataRequest().to_bytes(),
            ack_request=True,
        )
        self._mac.send(frame, _ignore)

    def hear_command(self, frame: MacFrame) -> None:
        """A MAC command arrived: the answer to our association, perhaps."""
        if self.stage not in (Stage.ASSOCIATING, Stage.POLLING):
            return
        try:
            response = parse_command(frame.payload)
        except WireError as error:
            self._station.drop("mac", str(error))
            return
        if not isinstance(response, AssociationResponse):
            return
        parent = self._parent
        assert parent is not None
        if response.status != AssociationStatus.SUCCESS:
            self._overdue()
            return
        self._address = response.short_address
        self._mac.address(parent.pan_id, response.short_address)
        self._nwk.start(response.short_address)
        self._poller.start(parent.parent)
        assert self._link_key is not None
        self._commands.joining_key = LinkKey(self._link_key)
        self._enter(Stage.WAITING_FOR_KEY, KEY_WAIT, self._overdue)

    def hear_key(self, command: TransportNetworkKey, *, link_secured: bool) -> None:
        """The network key came."""
        joining_key, parent = self._commands.joining_key, self._parent
        if self.stage is not Stage.WAITING_FOR_KEY or joining_key is None or parent is None:
            return
        if not link_secured:
            self._station.drop("aps", "a network key in the clear")
            return
        if command.destination not in (self._station.eui64, 0):
            self._station.drop("aps", "a network key for somebody else")
            return
        store = self._station.store
        if self._link_key is None and command.source != store.trust_centre:
            self._station.drop("aps", "a network key from somebody else", device=str(command.source))
            return
        store.trust_centre = command.source
        store.link_keys[command.source] = joining_key
        self._commands.joining_key = None
        store.enter(
            NetworkParameters(
                channel=parent.channel,
                pan_id=parent.pan_id,
                extended_pan_id=parent.extended_pan_id,
                network_key=command.key,
                key_sequence=command.key_sequence,
                nwk_update_id=parent.update_id,
                nwk=self._address,
            )
        )
        self._nwk.learn(command.source, 0x0000)
        self._arrive(parent)

    # Rejoining

    def _ask_to_rejoin(self, parent: HeardNetwork) -> None:
        store = self._station.store
        assert store.network is not None
        store.network = replace(store.network, channel=parent.channel, pan_id=parent.pan_id)
        self._mac.address(parent.pan_id, store.network.nwk)
        self._nwk.start(store.network.nwk, with_keys=self._secured)
        self._poller.start(parent.parent)
        self._enter(Stage.REJOINING, REJOIN_WAIT, self._overdue)
        self._nwk.send(
            parent.parent,
            RejoinRequest(self._station.capability).to_bytes(),
            _ignore,
            frame_type=NwkFrameType.COMMAND,
            radius=1,
            named=True,
            secured=self._secured,
        )

    def hear_rejoin_response(self, response: RejoinResponse) -> None:
        """A parent answered our wish to come back."""
        if self.stage is not Stage.REJOINING:
            return
        if response.status != AssociationStatus.SUCCESS:
            self._overdue()
            return
        store, parent = self._station.store, self._parent
        assert store.network is not None
        assert parent is not None
        self._address = response.network_address
        self._mac.address(parent.pan_id, response.network_address)
        if self._secured:
            store.network = replace(store.network, nwk=response.network_address)
            self._arrive(parent)
            return
        assert store.trust_centre is not None  # checked before we began
        self._nwk.start(response.network_address, with_keys=False)
        self._commands.joining_key = store.link_keys[store.trust_centre]
        self._enter(Stage.WAITING_FOR_KEY, KEY_WAIT, self._overdue)

    # Ends

    def _arrive(self, parent: HeardNetwork) -> None:
        self._station.store.parent = parent.parent
        self._station.store.depth = min(parent.depth + 1, MAX_DEPTH)
        self._station.store.on_change()
        self._nwk.start(self._address)
        self._station.facts.say(
            self._station.name, "node.joined", nwk=self._address, parent=parent.parent, channel=parent.channel
        )
        if not self._station.is_router:
            self._ask_for_patience(parent.parent)
        self._on_up()
        self._end(JoinResult(JoinStatus.JOINED, self._address, parent.parent))

    def _ask_for_patience(self, parent: int) -> None:
        """Tell our parent how long we may be silent."""
        self._nwk.send(
            parent,
            EndDeviceTimeoutRequest(self._poller.settings.timeout).to_bytes(),
            _ignore,
            frame_type=NwkFrameType.COMMAND,
            radius=1,
            named=True,
        )

    def _overdue(self) -> None:
        """The stage we are in ended without what it needs."""
        status = _OVERDUE[self.stage]
        self._failure = status
        parent = self._parent
        self._station.facts.say(
            self._station.name,
            "node.join_failed",
            why=status.value,
            stage=self.stage.value,
            parent=None if parent is None else parent.parent,
        )
        self._commands.joining_key = None
        self._poller.stop()
        if self._link_key is not None:
            self._nwk.stop()
        self._try_next()

    def _end(self, result: JoinResult) -> None:
        self._enter(Stage.IDLE)
        if not result.ok:
            self._mac.tune(None)
            self._mac.address(BROADCAST, NO_SHORT_ADDRESS)
            self._nwk.stop()
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(result)

    def _enter(self, stage: Stage, seconds: float = 0.0, then: Callable[[], object] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.stage = stage
        # Whoever looks for a network keeps the radio on.
        self._mac.listen_when_idle(stage is not Stage.IDLE or self._station.hears_when_idle)
        if then is not None:
            self._timer = self._station.timeline.after(seconds, then)


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """The stage's timer notices what was lost."""
