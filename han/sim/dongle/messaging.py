"""Messages: what the host sends, what became of it, and what comes in.

OK in the answer means queued, no more. What became of the message is told later by messageSentHandler, in its
own time. Whatever a real dongle refuses is refused here, in the order in which it is found out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from han.fragments import Block, Origin
from han.sim.air.timeline import Timeline
from han.sim.dongle import configuration as config
from han.sim.dongle import frames, loopback
from han.sim.dongle.configuration import Configuration
from han.sim.dongle.dialect import Command, Dialect, Fields, octets_of
from han.sim.dongle.endpoints import Endpoints
from han.sim.dongle.errors import Refused
from han.sim.dongle.ezsp import Ezsp
from han.sim.dongle.faults import Faults
from han.sim.dongle.frames import ApsFrame, Incoming, Outgoing
from han.sim.dongle.personality import Personality
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.fault import Kind
from han.sim.node.service import (
    AddressUnknown,
    NetworkIsDown,
    NoLinkKey,
    PayloadTooLong,
    Received,
    SendRequest,
    SendStatus,
)

ZDO_PROFILE: Final = 0x0000
ZDO_RESPONSE: Final = 0x8000
DEVICE_ANNCE: Final = 0x0013
APP_RECEIVES_SUPPORTED: Final = 0x01
APP_HANDLES_UNSUPPORTED: Final = 0x02
STACK_ANSWERS: Final = frozenset(
    (0x0000, 0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0006, 0x0031, 0x0032, 0x0034, 0x0036)
)
"""The ZDO requests that the stack answers by itself."""
DIRECT_NEIGHBOUR: Final = b"\x02"
"""The undocumented octet behind an incoming unicast, as seen from devices one hop away."""
BEHIND_A_RELAY: Final = b"\x04"
"""The same, as seen from devices further away."""
TRAILER_FROM: Final = 8
"""The oldest EZSP version in whose logs it was seen."""
CONTENTS_POLICY: Final = 0x04
TAG_AND_CONTENTS: Final = 0x41
OWN_LQI: Final = 255
OWN_RSSI: Final = 0
NOT_THE_HOSTS: Final = 0xFF
"""The message tag in reports of messages that the stack sent by itself."""
ANSWERED_AFTER: Final = 0.03
"""About when the stack's own answer to a ZDO request is through; it does not tell us."""
ACKNOWLEDGED_WITHIN: Final = 6.4
"""How long a host may take to acknowledge a fragment: its sender repeats it for four times 1.6 s."""
VIA_BINDING: Final = 2
VIA_ADDRESS_TABLE: Final = 1
_REFUSALS_ON_DEMAND: Final = {
    Kind.BUSY: Status.NETWORK_BUSY,
    Kind.TABLE_FULL: Status.MAX_MESSAGE_LIMIT_REACHED,
    Kind.NO_BUFFERS: Status.NO_BUFFERS,
}


class Messaging:
    """The data path of one running firmware."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        ezsp: Ezsp,
        timeline: Timeline,
        node: Stack,
        endpoints: Endpoints,
        configuration: Configuration,
        personality: Personality,
        faults: Faults,
    ) -> None:
        self._dialect = dialect
        self._layout = frames.layout_of(dialect.version)
        self._ezsp = ezsp
        self._timeline = timeline
        self._node = node
        self._endpoints = endpoints
        self._configuration = configuration
        self._personality = personality
        self._faults = faults
        self._has_trailer = personality.trailing_octet and dialect.version >= TRAILER_FROM
        self._unicasts = 0
        self._broadcasts: deque[float] = deque()
        self._loopback_counter = 0
        self._fragments: dict[tuple[int, int], float] = {}
        """Sender and APS counter of the messages whose fragments the host has got, and until when it may
        acknowledge them."""

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        return {
            "sendUnicast": Command("sendUnicast", self._send_unicast),
            "sendBroadcast": Command("sendBroadcast", self._send_broadcast),
            "sendMulticast": Command("sendMulticast", self._send_multicast),
            "sendReply": self._dialect.command("sendReply", self._send_reply),
            "maximumPayloadLength": self._dialect.command("maximumPayloadLength", self._maximum_payload),
        }

    # What the host sends.

    def _send_unicast(self, parameters: bytes) -> bytes:
        outgoing = self._layout.parse_unicast(parameters)
        self._check(outgoing, "sendUnicast")
        if outgoing.kind == VIA_BINDING:
            raise Refused(Status.BAD_ARGUMENT, "the binding table is empty")
        if outgoing.aps.options & frames.OPTION_FRAGMENT:
            self._check_fragment(outgoing)
        if outgoing.destination == self._node.nwk:
            return self._to_ourselves(outgoing)
        most = self._configuration[config.APS_UNICAST_MESSAGE_COUNT]
        if self._unicasts >= most:
            raise Refused(Status.MAX_MESSAGE_LIMIT_REACHED, f"{most} unicasts are under way")
        counter = self._hand_over(outgoing, outgoing.destination, None, self._unicast_sent)
        self._unicasts += 1
        return self._layout.send_answer(Status.OK, counter)

    def _send_broadcast(self, parameters: bytes) -> bytes:
        outgoing = self._layout.parse_broadcast(parameters)
        self._check(outgoing, "sendBroadcast")
        self._count_broadcast()
        counter = self._hand_over(outgoing, outgoing.destination, None, self._broadcast_sent)
        self._hear_ourselves(outgoing, counter, frames.INCOMING_BROADCAST_LOOPBACK)
        return self._layout.send_answer(Status.OK, counter)

    def _send_multicast(self, parameters: bytes) -> bytes:
        outgoing = self._layout.parse_multicast(parameters)
        self._check(outgoing, "sendMulticast")
        self._count_broadcast()
        group = outgoing.aps.group
        counter = self._hand_over(outgoing, outgoing.destination, group, self._broadcast_sent)
        if group in self._node.groups:
            self._hear_ourselves(outgoing, counter, frames.INCOMING_MULTICAST_LOOPBACK)
        return self._layout.send_answer(Status.OK, counter)

    def _send_reply(self, fields: Fields) -> Fields:
        """Acknowledges fragments: the group's low octet is the first of them, its high octet their bits."""
        aps = ApsFrame.parse(octets_of(fields["apsFrame"]))
        sender = int(fields["sender"])
        until = self._fragments.get((sender, aps.sequence), 0.0)
        if not aps.options & frames.OPTION_FRAGMENT or until <= self._timeline.now:
            raise Refused(Status.INVALID_CALL, "no fragment waits for an acknowledgement")
        origin = Origin(
            sender,
            aps.sequence,
            aps.profile,
            aps.cluster,
            aps.destination_endpoint,
            aps.source_endpoint,
            bool(aps.options & frames.OPTION_ENCRYPTION),
        )
        try:
            self._node.acknowledge(origin, aps.group & 0xFF, aps.group >> 8)
        except NetworkIsDown as error:
            raise Refused(Status.NETWORK_DOWN, str(error)) from error
        except (NoLinkKey, AddressUnknown) as error:
            raise Refused(Status.APS_ENCRYPTION_ERROR, str(error)) from error
        return {"status": Status.OK}

    def _maximum_payload(self, _fields: Fields) -> Fields:
        return {"apsLength": self._node.largest_payload(aps_security=False)}

    def _check(self, outgoing: Outgoing, command: str) -> None:
        if self._node.nwk is None:
            raise Refused(Status.NETWORK_DOWN, "the network is down")
        if not self._endpoints.is_registered(outgoing.aps.source_endpoint):
            raise Refused(
                Status.INVALID_ENDPOINT, f"endpoint {outgoing.aps.source_endpoint} was never registered"
            )
        for kind, status in () if self._faults.is_well else _REFUSALS_ON_DEMAND.items():
            if self._faults.strikes(kind, command):
                raise Refused(status, "on demand")

    def _check_fragment(self, outgoing: Outgoing) -> None:
        if outgoing.destination == self._node.nwk:
            raise Refused(Status.INVALID_CALL, "nothing is fragmented on its way to ourselves")
        if not outgoing.aps.options & frames.OPTION_RETRY:
            raise Refused(Status.INVALID_CALL, "fragments are acknowledged: the retry option goes with them")
        if outgoing.aps.group == 0:
            raise Refused(Status.INVALID_CALL, "a first fragment tells how many there are")

    def _count_broadcast(self) -> None:
        """A broadcast lives nine seconds in every router's table, and the table has few rows for ours."""
        now, recent = self._timeline.now, self._broadcasts
        while recent and now - recent[0] >= self._personality.broadcast_window:
            recent.popleft()
        if len(recent) >= self._personality.broadcasts_per_window:
            raise Refused(Status.NETWORK_BUSY, f"{len(recent)} broadcasts within the last nine seconds")
        recent.append(now)

    def _hand_over(
        self,
        outgoing: Outgoing,
        destination: int,
        group: int | None,
        on_sent: Callable[[Outgoing, list[int], SendStatus], None],
    ) -> int:
        aps = outgoing.aps
        block = _block(aps)
        # The counter is known only when the stack has taken the message; the callback needs it later.
        counter: list[int] = []
        request = SendRequest(
            destination,
            aps.profile,
            aps.cluster,
            aps.source_endpoint,
            aps.destination_endpoint,
            outgoing.payload,
            bool(aps.options & frames.OPTION_RETRY) and group is None and destination < 0xFFF8,
            bool(aps.options & frames.OPTION_ENCRYPTION),
            outgoing.radius,
            group,
            block,
            aps.sequence if block is not None and block.index else None,
        )
        try:
            counter.append(self._node.send(request, partial(on_sent, outgoing, counter)))
        except PayloadTooLong as error:
            raise Refused(Status.MESSAGE_TOO_LONG, str(error)) from error
        except NetworkIsDown as error:
            raise Refused(Status.NETWORK_DOWN, str(error)) from error
        except (NoLinkKey, AddressUnknown) as error:
            raise Refused(Status.APS_ENCRYPTION_ERROR, str(error)) from error
        return counter[0]

    # What became of it.

    def _unicast_sent(self, outgoing: Outgoing, counter: list[int], status: SendStatus) -> None:
        self._unicasts -= 1
        ended = Status.OK if status is SendStatus.OK else Status.DELIVERY_FAILED
        if ended is Status.OK and self._faults.strikes(Kind.FAILED_DELIVERY):
            ended = Status.DELIVERY_FAILED
        self._tell_sent(outgoing, counter[0], ended)

    def _broadcast_sent(self, outgoing: Outgoing, counter: list[int], status: SendStatus) -> None:
        ended = Status.OK if status is SendStatus.OK else Status.DELIVERY_FAILED
        delay = self._personality.broadcast_sent_after
        self._timeline.after(delay, self._tell_sent, outgoing, counter[0], ended)

    def _tell_sent(self, outgoing: Outgoing, counter: int, status: Status) -> None:
        with_contents = self._configuration.policies.get(CONTENTS_POLICY) == TAG_AND_CONTENTS
        payload = outgoing.payload if with_contents else b""
        parameters = self._layout.message_sent(outgoing, counter, status, payload)
        self._ezsp.put_callback(frames.MESSAGE_SENT_HANDLER, parameters, "messageSentHandler")

    # What we say to ourselves.

    def _to_ourselves(self, outgoing: Outgoing) -> bytes:
        self._loopback_counter = counter = (self._loopback_counter + 1) & 0xFF
        aps = outgoing.aps
        if aps.profile == ZDO_PROFILE and aps.destination_endpoint == 0:
            answer = loopback.answer(self._node, aps.cluster, outgoing.payload)
            if answer is not None:
                cluster, payload = answer
                reply = ApsFrame(ZDO_PROFILE, cluster, 0, 0, frames.OPTION_ROUTE_DISCOVERY, 0, counter)
                self._tell_incoming(frames.INCOMING_UNICAST, reply, payload)
        elif self._endpoints.is_registered(aps.destination_endpoint):
            self._tell_incoming(frames.INCOMING_UNICAST, aps._replace(sequence=counter), outgoing.payload)
        self._tell_sent(outgoing, counter, Status.OK)
        return self._layout.send_answer(Status.OK, counter)

    def _hear_ourselves(self, outgoing: Outgoing, counter: int, kind: int) -> None:
        aps = outgoing.aps
        is_heard = aps.profile != ZDO_PROFILE or self._reaches_host(aps.cluster)
        if self._personality.own_broadcasts and is_heard:
            self._tell_incoming(kind, aps._replace(sequence=counter), outgoing.payload)

    def _tell_incoming(self, kind: int, aps: ApsFrame, payload: bytes) -> None:
        nwk = self._node.nwk or 0
        incoming = Incoming(kind, aps, nwk, None, OWN_LQI, OWN_RSSI, 0, payload, b"")
        parameters = self._layout.incoming_message(incoming)
        self._ezsp.put_callback(frames.INCOMING_MESSAGE_HANDLER, parameters, "incomingMessageHandler")

    # What comes in.

    def zdo_received(self, message: Received) -> None:
        """A ZDO message arrived; the stack has answered it already if it is one of those it answers."""
        is_news = _is_news(message.cluster)
        is_answered = message.cluster in STACK_ANSWERS
        if self._reaches_host(message.cluster):
            is_hosts = not is_news and not is_answered
            self.received(message, frames.OPTION_ZDO_RESPONSE_REQUIRED if is_hosts else 0)
        if is_answered and self._personality.own_broadcasts and not message.broadcast:
            self._timeline.after(ANSWERED_AFTER, self._tell_own_answer, message)

    def _reaches_host(self, cluster: int) -> bool:
        """Whether the host hears ZDO messages of this cluster; the stack keeps requests unless told else."""
        if _is_news(cluster):
            return True
        wanted = APP_RECEIVES_SUPPORTED if cluster in STACK_ANSWERS else APP_HANDLES_UNSUPPORTED
        return bool(self._configuration[config.APPLICATION_ZDO_FLAGS] & wanted)

    def received(self, message: Received, more_options: int = 0) -> None:
        """A message arrived: tell the host."""
        options = frames.OPTION_ROUTE_DISCOVERY | more_options
        if message.ack_requested:
            options |= frames.OPTION_RETRY
        if message.aps_secured:
            options |= frames.OPTION_ENCRYPTION
        if message.carried_source_eui64:
            options |= frames.OPTION_SOURCE_EUI64
            self._tell_sender(message)
        group = message.group or 0
        if message.block is not None:
            options |= frames.OPTION_FRAGMENT
            group = message.block.index | (message.block.count or 0) << 8
            self._await_acknowledgement(message)
        trailer = b""
        if message.group is not None:
            kind = frames.INCOMING_MULTICAST
        elif message.broadcast:
            kind = frames.INCOMING_BROADCAST
        else:
            kind = frames.INCOMING_UNICAST
            if self._has_trailer:
                trailer = DIRECT_NEIGHBOUR if self._node.hears(message.source) else BEHIND_A_RELAY
        aps = ApsFrame(
            message.profile,
            message.cluster,
            message.source_endpoint,
            message.destination_endpoint,
            options,
            group,
            message.aps_counter,
        )
        lqi, rssi, timestamp = message.lqi, message.rssi, int(self._timeline.now * 1000) & 0xFFFF_FFFF
        if self._faults.strikes(Kind.WRONG_LINK_QUALITY):
            lqi, rssi, timestamp = 3, 0, 6
        incoming = Incoming(
            kind,
            aps,
            message.source,
            message.source_eui64,
            lqi,
            rssi,
            timestamp,
            message.payload,
            trailer,
        )
        parameters = self._layout.incoming_message(incoming)
        self._ezsp.put_callback(frames.INCOMING_MESSAGE_HANDLER, parameters, "incomingMessageHandler")

    def _await_acknowledgement(self, message: Received) -> None:
        now = self._timeline.now
        self._fragments = {which: until for which, until in self._fragments.items() if until > now}
        self._fragments[message.source, message.aps_counter] = now + ACKNOWLEDGED_WITHIN

    def _tell_own_answer(self, request: Received) -> None:
        """Hosts are told of messages that the stack sent by itself as if they were theirs."""
        aps = ApsFrame(ZDO_PROFILE, request.cluster | ZDO_RESPONSE, 0, 0, frames.OPTION_ROUTE_DISCOVERY, 0, 0)
        answer = Outgoing(frames.OUTGOING_DIRECT, request.source, aps, NOT_THE_HOSTS, 0, b"")
        self._tell_sent(answer, 0, Status.OK)

    def _tell_sender(self, message: Received) -> None:
        """Up to version 13 the sender's EUI-64 comes in a callback of its own, right before the message."""
        if message.source_eui64 is not None and self._dialect.knows("incomingSenderEui64Handler"):
            self._ezsp.callback("incomingSenderEui64Handler", senderEui64=message.source_eui64)


def _block(aps: ApsFrame) -> Block | None:
    """Which fragment the host has cut, if it is one."""
    if not aps.options & frames.OPTION_FRAGMENT:
        return None
    index = aps.group & 0xFF
    return Block(index, None if index else aps.group >> 8)


def _is_news(cluster: int) -> bool:
    """An answer or an announcement, which nobody has to answer."""
    return bool(cluster & ZDO_RESPONSE) or cluster == DEVICE_ANNCE
