"""The plain hub's end of key establishment: the machine as a responder, and whom it shares a key with."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from han.errors import TheirError
from han.security.key_establishment import Established, Event, KeyEstablishment, Send, Settings
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from han.sim.air.timeline import Timeline
from han.sim.node.node import Node
from han.sim.node.service import Received
from han.sim.node.store import LinkKey
from han.zcl import KEY_ESTABLISHMENT_CLUSTER, ZclFrame, decode_key_establishment, encode_key_establishment
from ota.eui64 import Eui64


class HubKeys:
    """Answers whoever wants to establish a key, and begins itself when told to.

    Args:
        send: sends a ZCL frame of a cluster to a short address.
    """

    def __init__(
        self,
        node: Node,
        timeline: Timeline,
        send: Callable[[int, int, bytes], object],
        seed: object,
        suites: Iterable[int],
    ) -> None:
        self.keyed: set[Eui64] = set()
        self.events: list[Event] = []
        self._node = node
        self._send = send
        self._timeline = timeline
        own = [lab_credentials(node.eui64, suite) for suite in map(Suite, suites)]
        self.machine = KeyEstablishment(own, Settings(), random.Random(f"{seed} hub keys"))
        self._sequence = 0
        self._timer = None

    def initiate(self, peer: Eui64) -> None:
        """Begin with this device."""
        self.machine.initiate(peer, self._timeline.now)
        self._settle()

    def receive(self, received: Received, frame: ZclFrame) -> None:
        """Take a command of the cluster from a device."""
        peer, now = received.source_eui64, self._timeline.now
        assert peer is not None
        try:
            command = decode_key_establishment(frame)
        except TheirError as error:
            self.machine.receive_malformed(
                peer, frame.command_id, frame.sequence, error, now, from_server=frame.from_server
            )
        else:
            self.machine.receive(peer, command, frame.sequence, now)
        self._settle()

    def forget(self, peer: Eui64) -> None:
        """Lose what is known of a device, as after a loss of memory."""
        self.keyed.discard(peer)
        self.machine.forget(peer)

    def _settle(self) -> None:
        for item in self.machine.drain():
            if isinstance(item, Send):
                self._sequence = (self._sequence + 1) & 0xFF
                sequence = self._sequence if item.sequence is None else item.sequence
                nwk = self._node.address_of(item.peer)
                self._send(nwk, KEY_ESTABLISHMENT_CLUSTER, encode_key_establishment(item.command, sequence))
                continue
            self.events.append(item)
            if isinstance(item, Established):
                self._node.trust.link_keys[item.peer] = LinkKey(item.link_key)
                self.keyed.add(item.peer)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (when := self.machine.timer()) is not None:
            self._timer = self._timeline.at(when, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.machine.tick(self._timeline.now)
        self._settle()
