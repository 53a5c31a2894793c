"""bellows and zigpy, unmodified, under one subclass that makes them a Smart Energy Trust Centre.

zigpy is written for home automation: it interviews what joins, answers Match Descriptor itself, opens joining
with a key that everybody knows, and drops Smart Energy packets. None of that may happen here. Each override
below says what it prevents. What is left of zigpy is what we want from it: the life cycle of the dongle, and
forming and backup of the network.

Packets from the coordinator itself go to zigpy, which talks to its own dongle at start. All others are taken
before zigpy sees them and told to a `Listener`; the hub's list of devices is ours. What we send goes out
beside zigpy as well: see `han.short_messages` and `han.long_messages`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import bellows.config
import bellows.types as ezsp
import zigpy.types
import zigpy.zdo.types as zdo
from bellows.zigbee.application import ControllerApplication
from zigpy.exceptions import NetworkNotFormed

from han import trust_centre_policy
from han.clusters import KEEP_ALIVE_CLUSTER, METERING_CLUSTER, TIME_CLUSTER
from han.errors import OurError, SurroundingsError
from han.fragments import FragmentSettings
from han.key_table import STATUS_STANDS_FIRST, KeyTable
from han.long_messages import Envelope, LongMessages
from han.network_memory import Network
from han.short_messages import INCOMING, SENT, ShortMessage, ShortMessages
from han.unicast_frames import (
    BROADCAST,
    ENABLE_ADDRESS_DISCOVERY,
    ENABLE_ROUTE_DISCOVERY,
    ENCRYPTION,
    FRAGMENT,
    MULTICAST,
    RETRY,
    UNICAST,
    Incoming,
)
from han.zcl import (
    BASIC_CLUSTER,
    KEY_ESTABLISHMENT_CLUSTER,
    OTA_CLUSTER,
    SMART_ENERGY_PROFILE,
    TUNNELLING_CLUSTER,
)
from ota.eui64 import Eui64

ENDPOINT = 1
"""Ours. zigpy wants an endpoint 1 to exist, and one is all that we need."""
ENERGY_SERVICE_INTERFACE = 0x0500
SERVED_CLUSTERS = (
    BASIC_CLUSTER,
    TIME_CLUSTER,
    OTA_CLUSTER,
    KEEP_ALIVE_CLUSTER,
    TUNNELLING_CLUSTER,
    KEY_ESTABLISHMENT_CLUSTER,
)
USED_CLUSTERS = (METERING_CLUSTER, KEY_ESTABLISHMENT_CLUSTER)
"""What our client side is there for: the flags that a meter reads, and to ask for a key."""

COORDINATOR = 0x0000
_ZDO_ENDPOINT = 0
_ALL_ENDPOINTS = 0xFF
_ZDO_RESPONSE = 0x8000
_DEVICE_ANNCE = 0x0013

_COUNTER_STEP = 10_000
"""How far counters are set forward where a network is written anew: more than were used meanwhile."""

_KEYS_FOR_ALL = (
    ezsp.EmberInitialSecurityBitmask.TRUST_CENTER_GLOBAL_LINK_KEY
    | ezsp.EmberInitialSecurityBitmask.TRUST_CENTER_USES_HASHED_LINK_KEY
)


@dataclass(frozen=True, slots=True)
class DongleDetails:
    """What a dongle says of itself; what it does not tell is empty."""

    ezsp_version: int
    manufacturer: str = ""
    board: str = ""
    firmware: str = ""


class Arrival(Enum):
    """How a device came to the Trust Centre's notice (EmberDeviceUpdate)."""

    SECURED_REJOIN = 0
    """It came back with the network key that it had."""
    JOIN = 1
    """It associated as if new, and was sent the network key."""
    UNSECURED_REJOIN = 3
    """It came back without the network key, and was sent it."""


@dataclass(frozen=True, slots=True)
class Message:
    """An application message from a device, as the radio handed it up."""

    sender: int
    cluster: int
    source_endpoint: int
    payload: bytes
    aps_secured: bool
    is_to_many: bool = False
    """It came as a broadcast or to a group, and is not answered if it is refused."""


_INCOMING = "incomingMessageHandler"
_SENT = "messageSentHandler"
_FROM_OTHERS = (UNICAST, MULTICAST, BROADCAST)
"""The others are what we said to many ourselves, and answers under a number that we gave."""
_TRANSFER_SIZES = (
    ezsp.EzspValueId.VALUE_MAXIMUM_INCOMING_TRANSFER_SIZE,
    ezsp.EzspValueId.VALUE_MAXIMUM_OUTGOING_TRANSFER_SIZE,
)


class Listener(Protocol):
    """Who is told what the radio hears. All calls come from the event loop and must not raise."""

    def message(self, message: Message) -> None:
        """A Smart Energy message for our endpoint arrived."""

    def stray(self, sender: int, why: str) -> None:
        """A packet that is none of ours was dropped."""

    def keyed(self, nwk: int, eui64: Eui64, arrival: Arrival) -> None:
        """The Trust Centre let a device in, or saw it come back, at this address."""

    def announced(self, nwk: int, eui64: Eui64) -> None:
        """A device says that it is in the network at this address (Device_annce)."""

    def left(self, eui64: Eui64) -> None:
        """A device left the network."""

    def denied(self, eui64: Eui64) -> None:
        """The Trust Centre refused a device."""

    def lost(self, why: str) -> None:
        """The dongle is gone. This stack will never work again."""


class Stack(ControllerApplication):  # type: ignore[misc] # bellows carries no types
    """A running EZSP dongle as the coordinator of a Smart Energy network.

    Args:
        config: zigpy's configuration, complete.
        listener: told everything that the radio hears.
        watchdog_period: seconds between bellows' questions whether the dongle lives. bellows' own is 10; in
            two idle weeks of simulation that would be 120 000 questions.
        unsecured_rejoins: see `han.radio.RadioSettings`.
        further_clusters: what our endpoint names as served beside our own.
        fragments: how long messages travel.
    """

    def __init__(
        self,
        config: dict[str, Any],
        listener: Listener,
        watchdog_period: float,
        fragments: FragmentSettings,
        *,
        unsecured_rejoins: bool = True,
        further_clusters: tuple[int, ...] = (),
    ) -> None:
        super().__init__(config)
        self._unsecured_rejoins = unsecured_rejoins
        self._further_clusters = further_clusters
        self._watchdog_period = watchdog_period
        self._listener = listener
        self._is_closing = False
        self.last_network: Network | None = None
        """The network as `network` saw it last."""
        self._key_switched: asyncio.Future[int] | None = None
        self._zdo_waiting: dict[tuple[int, int, int], asyncio.Future[bytes]] = {}
        self._longest = fragments.longest
        self._long_messages = LongMessages(
            fragments,
            dongle=lambda: self._ezsp,
            next_tag=self.get_sequence,
            on_message=self._long_message_received,
            on_dropped=listener.stray,
        )
        self._short_messages = ShortMessages(
            dongle=lambda: self._ezsp,
            next_tag=self.get_sequence,
            room=lambda: int(self._concurrent_requests_semaphore.max_concurrency),
        )
        # A concentrator's messages go along recorded ways, and look for one where none is known yet.
        is_concentrator = bool(config.get(zigpy.config.CONF_SOURCE_ROUTING))
        self._options = ENABLE_ROUTE_DISCOVERY | (ENABLE_ADDRESS_DISCOVERY if is_concentrator else 0)

    # What zigpy must not do.

    async def register_endpoints(self) -> None:
        """One endpoint, with what we serve: the dongle answers Match Descriptor from it, and rightly."""
        await self.add_endpoint(
            zdo.SimpleDescriptor(
                endpoint=ENDPOINT,
                profile=SMART_ENERGY_PROFILE,
                device_type=ENERGY_SERVICE_INTERFACE,
                device_version=0,
                input_clusters=sorted({*SERVED_CLUSTERS, *self._further_clusters}),
                output_clusters=list(USED_CLUSTERS),
            )
        )

    async def start_network(self) -> None:
        """Start it under policies in the words of the dongle's version, which is known only now."""
        self.config[bellows.config.CONF_EZSP_POLICIES] = trust_centre_policy.policies(
            self.ezsp_version, unsecured_rejoins=self._unsecured_rejoins
        )
        await super().start_network()

    async def connect(self) -> None:
        """As bellows does; then make the key table large enough, which cannot be done later."""
        await super().connect()
        # A dongle may confirm a reset twice, which bellows calls a loss and gets over.
        self._is_closing = False
        await self._take_messages()
        await self.key_table.grow()

    async def _take_messages(self) -> None:
        """Take every incoming message as the dongle hands it up, fragments too.

        From EZSP 14 on bellows looks for sender and contents of a fragment in the wrong fields, and loses it.
        Before, it puts messages together, but would let somebody without the link key slip fragments of his
        own among protected ones, forgets whatever takes longer than ten seconds although it has acknowledged
        it, and holds as much as anybody cares to send.
        """
        # bellows knows a fragment by the name of the callback that brings it: ours has another.
        self._short_messages.take_over(self._ezsp._protocol)  # noqa: SLF001 - there is no public place for it
        # What the node descriptor tells of us. A dongle that refuses goes on telling of one frame.
        for value in _TRANSFER_SIZES:
            await self._ezsp.setValue(value, self._longest.to_bytes(2, "little"))

    def _long_message_received(self, fields: list[Any]) -> None:
        super().ezsp_callback_handler(_INCOMING, fields)

    async def _reset(self) -> None:
        """A reset makes the dongle forget its endpoints, and bellows would not tell them again."""
        await super()._reset()
        await self._take_messages()
        await self.key_table.grow()
        self._created_device_endpoints.clear()
        await self.register_endpoints()

    async def write_network_info(self, *, network_info: Any, node_info: Any) -> None:  # noqa: ANN401 - of zigpy
        """Form the network so that every device has a link key of its own, in the key table.

        bellows forms networks whose link keys are all derived from one secret (the hashed Trust Centre link
        key). Whether the dongle then heeds a key that is imported for a device is an open question, and Smart
        Energy has no use for the other: a Smart Energy Trust Centre of the vendor's sets neither bit.
        """
        set_state = self._ezsp.setInitialSecurityState

        async def set_state_without(*, state: Any) -> Any:  # noqa: ANN401 - of bellows, untyped
            state.bitmask &= ~_KEYS_FOR_ALL
            return await set_state(state=state)

        self._ezsp.setInitialSecurityState = set_state_without
        try:
            await super().write_network_info(network_info=network_info, node_info=node_info)
        finally:
            del self._ezsp.setInitialSecurityState

    @property
    def derives_link_keys(self) -> bool:
        """Whether the network that `network` saw last was formed with keys that come of one secret."""
        return "hashed_tclk" in self.state.network_info.stack_specific.get("ezsp", {})

    async def separate_link_keys(self) -> None:
        """Write the network that runs once more, so that every device has a key of its own.

        The keys in the key table stay. bellows would begin the counter of link keys at zero, which their
        devices refuse as a replay: it goes on behind the highest that the table tells of.
        """
        backup = await self.backups.create_backup(load_devices=True)
        info = backup.network_info
        used = max((key.tx_counter or 0 for key in info.key_table), default=0)
        info.tc_link_key.tx_counter = used + _COUNTER_STEP
        await self.backups.restore_backup(backup, counter_increment=_COUNTER_STEP, create_new=False)

    async def load_network_info(self, *, load_devices: bool = False) -> None:
        """As bellows does, and with the link keys that it does not see from EZSP 14 on: backups need them."""
        await super().load_network_info(load_devices=load_devices)
        if load_devices and self.ezsp_version >= STATUS_STANDS_FIRST:
            self.state.network_info.key_table = await self.key_table.keys()

    async def cleanup_tc_link_key(self, ieee: zigpy.types.EUI64) -> None:
        """Nothing. bellows erases the link key of whoever is said to join: anybody may say so."""

    async def permit(self, time_s: int = 60, node: object = None) -> None:  # noqa: ARG002 - zigpy's signature
        """Closes joining; opens it never. bellows would import the well-known key even for closing it.

        Raises:
            OurError: if asked to open. Joining opens for one named device: see `admit`.
        """
        if time_s:
            raise OurError("joining opens only for a named device with its install code")
        await self.permit_ncp(0)

    async def permit_gp(self, time_s: int) -> None:
        """Nothing: there is no Green Power in a GB network, and no endpoint 242 to send it from."""

    def packet_received(self, packet: zigpy.types.ZigbeePacket) -> None:
        """Take every packet before zigpy, except those from our own dongle."""
        sender = packet.src.address
        if sender == COORDINATOR:
            super().packet_received(packet)
        elif packet.dst_ep == _ZDO_ENDPOINT:
            self._device_object_message(int(sender), packet)
        elif packet.dst_ep == ENDPOINT and packet.profile_id == SMART_ENERGY_PROFILE:
            secured = bool(packet.tx_options & zigpy.types.TransmitOptions.APS_Encryption)
            payload = packet.data.serialize()
            to_many = packet.dst.addr_mode != zigpy.types.AddrMode.NWK
            cluster, endpoint = int(packet.cluster_id), int(packet.src_ep)
            self._listener.message(Message(int(sender), cluster, endpoint, payload, secured, to_many))
        else:
            self._listener.stray(
                int(sender), f"profile {int(packet.profile_id):#06x} for endpoint {int(packet.dst_ep)}"
            )

    def handle_join(
        self, nwk: int, ieee: zigpy.types.EUI64, parent_nwk: int | None, *, handle_rejoin: bool = True
    ) -> None:
        """Nothing: zigpy would make a device of its own and interview it. See `ezsp_callback_handler`."""

    def handle_leave(self, nwk: int, ieee: zigpy.types.EUI64) -> None:
        """Tell of it; zigpy would look for a device of its own."""
        del nwk
        self._listener.left(_eui64(ieee))

    def handle_relays(self, nwk: int, relays: list[int]) -> None:
        """Nothing: the dongle routes. zigpy would broadcast a question for each device it does not know."""

    def ezsp_callback_handler(self, frame_name: str, args: Any) -> None:  # noqa: ANN401 - of bellows, untyped
        """Take messages, reports on ours, and what bellows keeps back of what the Trust Centre says."""
        if frame_name == INCOMING:
            self._heard(args)
        elif frame_name == SENT:
            if not self._short_messages.was_sent(args):
                fields = self._short_messages.fields(SENT, args)
                if not self._long_messages.was_sent(fields):
                    super().ezsp_callback_handler(_SENT, fields)
        elif frame_name == "trustCenterJoinHandler":
            self._join_reported(*args)
        elif frame_name == "switchNetworkKeyHandler":
            if self._key_switched is not None and not self._key_switched.done():
                self._key_switched.set_result(int(args[0]))
        else:
            super().ezsp_callback_handler(frame_name, args)

    def _heard(self, incoming: Incoming) -> None:
        """Tell of a Smart Energy message at once; whatever else came goes the way that zigpy takes."""
        kind, profile, cluster, source, endpoint, options, sender, payload, _ = incoming
        if (
            endpoint == ENDPOINT
            and profile == SMART_ENERGY_PROFILE
            and sender != COORDINATOR
            and not options & FRAGMENT
            and kind in _FROM_OTHERS
        ):
            is_secured, is_to_many = bool(options & ENCRYPTION), kind != UNICAST
            self._listener.message(Message(sender, cluster, source, payload, is_secured, is_to_many))
            return
        fields = self._short_messages.fields(INCOMING, incoming)
        if not self._long_messages.receive(fields):
            super().ezsp_callback_handler(_INCOMING, fields)

    def _join_reported(self, nwk: int, address: Any, status: Any, decision: Any, _parent: Any) -> None:  # noqa: ANN401 - of bellows, untyped
        eui64 = _eui64(address)
        if status == ezsp.EmberDeviceUpdate.DEVICE_LEFT:
            self._listener.left(eui64)
        elif decision == ezsp.EmberJoinDecision.DENY_JOIN:
            self._listener.denied(eui64)
        else:
            self._listener.keyed(int(nwk), eui64, Arrival(int(status)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of it, unless we closed the connection ourselves."""
        self._short_messages.stop()
        self._long_messages.stop()
        if not self._is_closing:
            self._is_closing = True
            self._listener.lost(f"{type(exc).__name__}: {exc}" if exc else "the dongle closed the connection")

    async def shutdown(self, *, db: bool = True) -> None:
        """Close the connection and stop every task of zigpy's. The network itself stays in the dongle."""
        self._is_closing = True
        self._short_messages.stop()
        self._long_messages.stop()
        for waiting in self._zdo_waiting.values():
            waiting.cancel()
        await super().shutdown(db=db)
        await self._short_messages.ended()

    # What we ask of the dongle.

    async def network(self) -> Network | None:
        """The network that the dongle holds, started if it was not; None if it holds none.

        Raises:
            SurroundingsError: if it is in somebody's network as a router. bellows calls that "not formed",
                and forming would throw the membership away.
        """
        try:
            await self.load_network_info(load_devices=False)
        except NetworkNotFormed:
            if await self._is_in_a_network():
                raise SurroundingsError(
                    "the dongle is a member of a network that another coordinator formed: let it leave that"
                    " network with the program that uses it, or take another dongle"
                ) from None
            return None
        info = self.state.network_info
        self.last_network = Network(
            _eui64(self.state.node_info.ieee),
            _eui64(info.extended_pan_id),
            int(info.pan_id),
            int(info.channel),
        )
        return self.last_network

    async def _is_in_a_network(self) -> bool:
        (state,) = await self._ezsp.networkState()
        return bool(state != ezsp.EmberNetworkStatus.NO_NETWORK)

    async def own_eui64(self) -> Eui64:
        """The dongle's own address, also while it is in no network."""
        (address,) = await self._ezsp.getEui64()
        return _eui64(address)

    @property
    def details(self) -> DongleDetails:
        """What the dongle says of itself; known once its network is up."""
        node = self.state.node_info
        return DongleDetails(self.ezsp_version, node.manufacturer or "", node.model or "", node.version or "")

    @property
    def ezsp_version(self) -> int:
        """The version that the dongle speaks."""
        return int(self._ezsp.ezsp_version)

    @property
    def key_table(self) -> KeyTable:
        """The dongle's link keys."""
        return KeyTable(self._ezsp)

    async def admit(self, eui64: Eui64, link_key: bytes, seconds: int) -> None:
        """Let this one device join with this key within ``seconds`` (up to 254).

        Raises:
            han.key_table.KeyTableFull: only on EZSP 4, where the key needs a row of the key table.
        """
        if not trust_centre_policy.has_transient_keys(self.ezsp_version):
            # bellows passes over the key in silence; the Trust Centre looks into its key table as well.
            await self.key_table.put(eui64, link_key)
        policy = trust_centre_policy.install_codes_only(
            self.ezsp_version, unsecured_rejoins=self._unsecured_rejoins
        )
        is_set_by_bellows = self.ezsp_version >= trust_centre_policy.SET_BY_BELLOWS_FROM
        if not is_set_by_bellows:
            await self._set_joining(policy)
        await self.permit_with_link_key(
            _zigpy_eui64(eui64), zigpy.types.KeyData.deserialize(link_key)[0], seconds
        )
        if is_set_by_bellows:
            # It has set one under which nobody who lost the network key may come back.
            await self._set_joining(policy)

    async def open_routers(self, seconds: int) -> None:
        """Tell every router in the network to let devices join for this long (up to 254 seconds)."""
        await zigpy.zdo.broadcast(
            self,
            zdo.ZDOCmd.Mgmt_Permit_Joining_req,
            0x0000,
            0x00,
            seconds,
            0,
            broadcast_address=zigpy.types.BroadcastAddress.ALL_ROUTERS_AND_COORDINATOR,
        )

    @property
    def keeps_joiners_apart(self) -> bool:
        """Whether the key to join with has a place of its own, beside the key table."""
        return trust_centre_policy.has_transient_keys(self.ezsp_version)

    async def forget_old_key(self, eui64: Eui64) -> None:
        """Erase the key of a device that joins anew, unless the key to join with stands in its place."""
        if self.keeps_joiners_apart:
            await self.key_table.erase(eui64)

    async def shut_out(self, eui64: Eui64, nobodys_key: bytes) -> None:
        """Let this device join no more, also while others may: the key that waits for it is nobody's."""
        await self._ezsp.add_transient_link_key(
            _zigpy_eui64(eui64), zigpy.types.KeyData.deserialize(nobodys_key)[0]
        )

    async def give_network_key(self, nwk: int, eui64: Eui64, key: bytes) -> bool:
        """Send one device the next network key, under its link key; False if the dongle has none of it."""
        next_key = zigpy.types.KeyData.deserialize(key)[0]
        (status,) = await self._ezsp.unicastNwkKeyUpdate(
            destShort=nwk, destLong=_zigpy_eui64(eui64), key=next_key
        )
        return _is_ok(status)

    async def broadcast_network_key(self, key: bytes) -> bool:
        """Send everybody the next network key, under the one of today; False if the dongle refuses."""
        (status,) = await self._ezsp.broadcastNextNetworkKey(key=zigpy.types.KeyData.deserialize(key)[0])
        return _is_ok(status)

    async def switch_network_key(self, timeout: float = 10.0) -> int | None:  # noqa: ASYNC109
        """Tell everybody to use the next network key; gives its number once the dongle itself does.

        None if the dongle refuses, as it does without a next key.

        Raises:
            TimeoutError: if the dongle does not say within ``timeout`` seconds that it has switched.
        """
        self._key_switched = asyncio.get_running_loop().create_future()
        (status,) = await self._ezsp.broadcastNetworkKeySwitch()
        if not _is_ok(status):
            return None
        async with asyncio.timeout(timeout):
            sequence = await self._key_switched
        # What zigpy writes into its next backup is the key of today.
        await self.network()
        return sequence

    async def close_joining(self) -> None:
        """Back to the policy at rest, which bellows never restores after an install code."""
        policy = trust_centre_policy.closed(self.ezsp_version, unsecured_rejoins=self._unsecured_rejoins)
        await self._set_joining(policy)
        await self.permit_ncp(0)

    async def _set_joining(self, policy: int) -> None:
        await self._ezsp.setPolicy(policyId=ezsp.EzspPolicyId.TRUST_CENTER_POLICY, decisionId=policy)

    async def eui64_of(self, nwk: int) -> Eui64 | None:
        """Whose address this is, as far as the dongle's own tables know."""
        status, address = await self._ezsp.lookupEui64ByNodeId(nodeId=nwk)
        return _eui64(address) if _is_ok(status) else None

    def post(
        self,
        nwk: int,
        endpoint: int,
        cluster: int,
        payload: bytes,
        then: Callable[[Exception | None], None],
        *,
        aps_ack: bool,
        aps_security: bool,
    ) -> ShortMessage:
        """Send one Smart Energy message and go on; see `ShortMessages.post`."""
        options = self._options | (RETRY if aps_ack else 0) | (ENCRYPTION if aps_security else 0)
        return self._short_messages.post(
            nwk, SMART_ENERGY_PROFILE, cluster, (ENDPOINT, endpoint), options, payload, then
        )

    async def send(
        self, nwk: int, endpoint: int, cluster: int, payload: bytes, *, aps_ack: bool, aps_security: bool
    ) -> None:
        """Send one Smart Energy message; returns once the dongle has reported how that went."""
        outcome = _Outcome()
        self.post(nwk, endpoint, cluster, payload, outcome.hear, aps_ack=aps_ack, aps_security=aps_security)
        await outcome.future

    def send_to_all(self, cluster: int, payload: bytes) -> Awaitable[None]:
        """Send one Smart Energy message to all that listen all the time; resolves once the dongle has it."""
        everybody = zigpy.types.AddrModeAddress(
            zigpy.types.AddrMode.Broadcast, zigpy.types.BroadcastAddress.RX_ON_WHEN_IDLE
        )
        sent: Awaitable[None] = self.send_packet(
            zigpy.types.ZigbeePacket(
                src=zigpy.types.AddrModeAddress(zigpy.types.AddrMode.NWK, COORDINATOR),
                src_ep=ENDPOINT,
                dst=everybody,
                dst_ep=_ALL_ENDPOINTS,
                tsn=self.get_sequence(),
                profile_id=SMART_ENERGY_PROFILE,
                cluster_id=cluster,
                data=zigpy.types.SerializableBytes(payload),
            )
        )
        return sent

    def send_long(
        self, nwk: int, endpoint: int, cluster: int, payload: bytes, *, aps_security: bool, block_size: int
    ) -> Awaitable[None]:
        """Send one Smart Energy message in fragments; resolves once the last one was acknowledged."""
        to = Envelope(nwk, SMART_ENERGY_PROFILE, cluster, ENDPOINT, endpoint, aps_security)
        return self._long_messages.send(to, payload, block_size)

    async def ask(self, nwk: int, cluster: int, fields: bytes, timeout: float = 5.0) -> bytes:  # noqa: ASYNC109
        """Ask a device's ZDO and give the response's fields (behind the sequence number).

        Raises:
            TimeoutError: if it does not answer within ``timeout`` seconds.
        """
        sequence = self.get_sequence()
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        key = (nwk, cluster | _ZDO_RESPONSE, sequence)
        self._zdo_waiting[key] = waiting
        try:
            async with asyncio.timeout(timeout):
                outcome = _Outcome()
                self._short_messages.post(
                    nwk, 0, cluster, (0, 0), self._options | RETRY, bytes((sequence,)) + fields, outcome.hear
                )
                await outcome.future
                return await waiting
        finally:
            del self._zdo_waiting[key]

    def _device_object_message(self, sender: int, packet: zigpy.types.ZigbeePacket) -> None:
        payload = packet.data.serialize()
        if packet.cluster_id == _DEVICE_ANNCE and len(payload) >= 11:
            self._listener.announced(
                int.from_bytes(payload[1:3], "little"), Eui64.from_wire(bytes(payload[3:11]))
            )
            return
        if not payload:
            return
        waiting = self._zdo_waiting.get((sender, int(packet.cluster_id), payload[0]))
        if waiting is not None and not waiting.done():
            waiting.set_result(bytes(payload[1:]))


class _Outcome:
    """What becomes of a message, for whoever waits for it."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(self, error: Exception | None) -> None:
        """The message is over."""
        if self.future.done():
            return  # nobody waits any more
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


def _is_ok(status: Any) -> bool:  # noqa: ANN401 - of bellows, untyped
    return bool(ezsp.sl_Status.from_ember_status(status) == ezsp.sl_Status.OK)


def _eui64(address: Any) -> Eui64:  # noqa: ANN401 - of zigpy, untyped
    return Eui64.from_wire(address.serialize())


def _zigpy_eui64(address: Eui64) -> zigpy.types.EUI64:
    return zigpy.types.EUI64.deserialize(address.wire)[0]
