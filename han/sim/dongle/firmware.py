"""One run of the firmware, from a start of the processor to the next: the commands and the state in RAM.

A reset throws the whole of it away and builds another, which is how every table becomes empty again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from han.facts import Facts
from han.sim.air.timeline import Timeline
from han.sim.dongle.configuration import NWK_FRAME_COUNTER, Configuration
from han.sim.dongle.counters import NO_PACKET_BUFFER, CounterBoard
from han.sim.dongle.dialect import Command, Dialect
from han.sim.dongle.endpoints import Endpoints
from han.sim.dongle.ezsp import Ezsp
from han.sim.dongle.faults import Faults
from han.sim.dongle.flash import Flash
from han.sim.dongle.identity import Identity
from han.sim.dongle.joining import Joining
from han.sim.dongle.messaging import APP_HANDLES_UNSUPPORTED, Messaging
from han.sim.dongle.network import NetworkControl
from han.sim.dongle.network_key import NetworkKey
from han.sim.dongle.personality import Personality
from han.sim.dongle.routing import Routing
from han.sim.dongle.security import KeyRing
from han.sim.dongle.stack import Stack
from han.sim.dongle.tables import Tables
from han.sim.node.service import (
    ChildJoined,
    DeviceJoined,
    KeySwitched,
    KeyVerified,
    NetworkDown,
    NetworkUp,
    NodeEvent,
    RouteFailed,
    RouteRecorded,
)
from han.sim.node.store import FrameCounter, NodeStore
from ota.eui64 import Eui64


class Firmware:
    """The EZSP application of one run. ``on_output`` is called when ``ezsp`` has a frame for the host."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        node: Stack,
        store: NodeStore,
        flash: Flash,
        eui64: Eui64,
        personality: Personality,
        faults: Faults,
        dice: random.Random,
        facts: Facts,
        name: str,
        serial_counters: Callable[[], Mapping[int, int]],
        on_output: Callable[[], None],
    ) -> None:
        self._store = store
        self._line_counters = serial_counters
        dialect = Dialect(personality.ezsp)
        self.ezsp = Ezsp(
            dialect=dialect,
            timeline=timeline,
            personality=personality,
            faults=faults,
            dice=dice,
            facts=facts,
            name=name,
            on_output=on_output,
        )
        self.network = NetworkControl(
            dialect=dialect,
            ezsp=self.ezsp,
            timeline=timeline,
            dice=dice,
            node=node,
            store=store,
            flash=flash,
        )
        self.configuration = Configuration(
            dialect=dialect,
            personality=personality,
            network_is_up=self.network.is_up,
            buffers_used=lambda: self.ezsp.buffers_used,
            set_counter=lambda value_id, value: self._counter(value_id).set(value),
            counter=lambda value_id: self._counter(value_id).next,
            on_policy=self._apply_policy,
            on_zdo_flags=lambda flags: _leave_unknown_to_host(node, flags),
            on_longest=lambda *sizes: _tell_longest(node, sizes),
            on_children=lambda persistence, timeout: _be_patient(node, persistence, timeout),
        )
        self._keys = KeyRing(
            dialect=dialect,
            timeline=timeline,
            personality=personality,
            configuration=self.configuration,
            node=node,
            store=store,
            flash=flash,
            eui64=lambda: eui64,
            network_is_up=self.network.is_up,
        )
        endpoints = Endpoints(
            dialect=dialect, personality=personality, node=node, network_is_up=self.network.is_up
        )
        tables = Tables(dialect=dialect, configuration=self.configuration, node=node, store=store)
        self.messaging = Messaging(
            dialect=dialect,
            ezsp=self.ezsp,
            timeline=timeline,
            node=node,
            endpoints=endpoints,
            configuration=self.configuration,
            personality=personality,
            faults=faults,
        )
        self._routing = Routing(dialect=dialect, ezsp=self.ezsp, configuration=self.configuration, node=node)
        self._joining = Joining(dialect=dialect, ezsp=self.ezsp, timeline=timeline, personality=personality)
        self._network_key = NetworkKey(dialect=dialect, ezsp=self.ezsp, dice=dice, node=node, flash=flash)
        identity = Identity(dialect=dialect, personality=personality, node=node, eui64=lambda: eui64)
        counters = CounterBoard(
            dialect=dialect, node_counters=lambda: node.counters, serial=self._serial_counters
        )
        groups: tuple[Mapping[str, Command], ...] = (
            identity.commands(),
            self.configuration.commands(),
            self.network.commands(),
            self._keys.commands(),
            self._network_key.commands(),
            endpoints.commands(),
            tables.commands(),
            self._routing.commands(),
            self.messaging.commands(),
            counters.commands(),
        )
        node.host_fragments = True
        node.on_event = self.event
        node.on_message = self.messaging.received
        node.on_zdo = self.messaging.zdo_received
        for group in groups:
            self.ezsp.install({dialect.id_of(name): command for name, command in group.items()})

    def event(self, event: NodeEvent) -> None:
        """Something happened in the stack."""
        match event:
            case NetworkUp():
                self.network.came_up(event)
            case NetworkDown():
                self.network.went_down(event)
            case ChildJoined():
                self._joining.child_joined(event)
            case DeviceJoined():
                self._joining.device_joined(event)
            case KeyVerified():
                self._joining.key_verified(event)
            case RouteRecorded():
                self._routing.recorded(event)
            case RouteFailed():
                self._routing.failed(event)
            case KeySwitched():
                self._network_key.switched(event)
            case _:
                # Announcements reach the host as ZDO messages, departures as a Trust Centre's notice.
                pass

    def _serial_counters(self) -> Mapping[int, int]:
        return {**self._line_counters(), NO_PACKET_BUFFER: self.ezsp.callbacks_lost}

    def _apply_policy(self) -> None:
        self._keys.apply_policy()

    def halt(self) -> None:
        """The processor restarts."""
        self.ezsp.halt()
        self._keys.forget_timers()

    def _counter(self, value_id: int) -> FrameCounter:
        return self._store.network_counter if value_id == NWK_FRAME_COUNTER else self._store.link_counter


def _tell_longest(node: Stack, sizes: tuple[int, int]) -> None:
    """How long the messages are that the host can take and send, for the node descriptor."""
    node.zdo.longest = sizes


def _leave_unknown_to_host(node: Stack, flags: int) -> None:
    """Who answers ZDO requests unknown to the stack: the stack, with NOT_SUPPORTED, or the host."""
    node.zdo.answers_unknown = not flags & APP_HANDLES_UNSUPPORTED


def _be_patient(node: Stack, persistence: int, timeout: int) -> None:
    """How long a message waits for a sleeping child, in milliseconds, and how long a child may be silent."""
    node.children.persistence = persistence / 1000
    node.children.default_timeout = timeout
