"""The children of a router: who they are, which of them sleep, and how long each may be silent.

A child that is an end device keeps itself in its parent's memory by asking what waits for it. One that has
been silent for longer than was agreed is forgotten; should it ask again, it is told to leave and rejoin
(Zigbee 3.6.10). One that never speaks under the network key, because nobody gave it to it, is forgotten much
sooner: whoever has a radio could fill the table otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from han.sim.air.timeline import Handle
from han.sim.node.indirect import Address
from han.sim.node.mac import Mac
from han.sim.node.nwk import Nwk
from han.sim.node.service import ChildJoined, NodeEvent
from han.sim.node.station import Station
from han.sim.node.store import Child
from han.sim.wire.nwk import FrameType, NwkFrame
from han.sim.wire.nwk_commands import (
    LONGEST_TIMEOUT,
    EndDeviceTimeoutRequest,
    EndDeviceTimeoutResponse,
    Leave,
    timeout_seconds,
)
from ota.eui64 import Eui64

MAX_CHILDREN = 32
PROOF_WITHIN = 10.0
"""Seconds in which a new child has to speak under the network key (apsSecurityTimeOutPeriod is shorter)."""
DEFAULT_TIMEOUT = 8
"""256 minutes: how long a child may be silent that asked for no other time (nwkEndDeviceTimeoutDefault)."""
_AGREED, _INCORRECT_VALUE = 0x00, 0x01
_KEPT_BY_POLLING = 0x01


class Children:
    """The children of one node. Flash keeps them, but not how long they have been silent."""

    def __init__(self, station: Station, mac: Mac, nwk: Nwk, on_event: Callable[[NodeEvent], object]) -> None:
        self._station = station
        self._timeline = station.timeline
        self._mac = mac
        self._nwk = nwk
        self._on_event = on_event
        self._children = station.store.children
        self._deadlines: dict[Eui64, float] = {}
        self._ageing: Handle | None = None
        self._doubts: dict[Eui64, Handle] = {}
        self.default_timeout = DEFAULT_TIMEOUT
        """How long a child may be silent that asked for no other time: as ``timeout_seconds`` reads it."""
        mac.is_child = self._may_ask
        mac.on_poll = self._asked
        nwk.on_new_parent = self._lose
        nwk.on_proof = self._believe

    @property
    def persistence(self) -> float:
        """How long a frame waits for a sleeping child, in seconds."""
        return self._mac.indirect.persistence

    @persistence.setter
    def persistence(self, seconds: float) -> None:
        self._mac.indirect.persistence = seconds

    def start(self) -> None:
        """The network is up (again): the children that flash remembers have their whole time anew."""
        self.note_sleepers()
        for eui64 in self._children:
            self._heard(eui64)
        self._watch()

    def note_sleepers(self) -> None:
        """Let what is sent to sleeping children wait, and what is sent to anybody else not."""
        self._mac.sleepers = {child.nwk for child in self._children.values() if child.sleeps}

    def stop(self) -> None:
        """Power was lost, or the network left."""
        self._mac.sleepers.clear()
        self._deadlines.clear()
        self._watch()
        for eui64 in list(self._doubts):
            self._believe(eui64)

    def has_room_for(self, eui64: Eui64) -> bool:
        """Whether this device is a child or can become one."""
        return eui64 in self._children or not self.are_full

    @property
    def are_full(self) -> bool:
        """Whether there is no room for another child."""
        return len(self._children) >= MAX_CHILDREN

    def get(self, eui64: Eui64) -> Child | None:
        """The child with this address; None if it is none of ours."""
        return self._children.get(eui64)

    def follow(self, eui64: Eui64, nwk: int) -> None:
        """A child goes by another short address now."""
        child = self._children.get(eui64)
        if child is None or child.nwk == nwk:
            return
        if child.nwk in self._mac.sleepers:
            self._mac.sleepers.discard(child.nwk)
            self._mac.sleepers.add(nwk)
        child.nwk = nwk
        self._station.store.on_change()

    def take_in(self, eui64: Eui64, nwk: int, capability: int, *, is_proven: bool) -> None:
        """A device has become our child, or is so again, perhaps at another address.

        One that ``is_proven`` holds the network key; another one has to get it and speak under it soon.
        """
        self._believe(eui64)
        if not is_proven:
            self._doubts[eui64] = self._timeline.after(PROOF_WITHIN, self._expel, eui64)
            self._nwk.doubtful.add(eui64)
        known = self._children.get(eui64)
        if known is not None:
            self._mac.sleepers.discard(known.nwk)
        index = self._free_index() if known is None else known.index
        child = self._children[eui64] = Child(nwk, capability, index)
        if child.sleeps:
            self._mac.sleepers.add(nwk)
        self._nwk.learn(eui64, nwk)
        self._heard(eui64)
        self._watch()
        self._station.store.on_change()
        self._on_event(ChildJoined(eui64, nwk, index, capability))

    def forget(self, eui64: Eui64) -> Child | None:
        """A device is our child no more; gives what was known of it."""
        child = self._children.pop(eui64, None)
        if child is None:
            return None
        self._mac.sleepers.discard(child.nwk)
        self._believe(eui64)
        self._deadlines.pop(eui64, None)
        self._station.counters.children_removed += 1
        self._station.store.on_change()
        self._on_event(ChildJoined(eui64, child.nwk, child.index, child.capability, joining=False))
        return child

    def tell_to_leave(self, nwk: int, eui64: Eui64 | None, *, rejoin: bool) -> None:
        """Send the device at this address away, for good or only to look for a parent again."""
        self._command(nwk, eui64, Leave(request=True, rejoin=rejoin).to_bytes())

    def _believe(self, eui64: Eui64) -> None:
        """A child spoke under the network key, or is none any more."""
        doubt = self._doubts.pop(eui64, None)
        if doubt is not None:
            doubt.cancel()
            self._nwk.doubtful.discard(eui64)

    def _expel(self, eui64: Eui64) -> None:
        self._station.facts.say(
            self._station.name,
            "child.forgotten",
            device=str(eui64),
            why="it never spoke under the network key",
        )
        self.forget(eui64)

    # Silence

    def agree_timeout(self, request: EndDeviceTimeoutRequest, frame: NwkFrame, sealer: Eui64 | None) -> None:
        """A child says how long it may be silent."""
        child = None if sealer is None else self._children.get(sealer)
        if sealer is None or child is None or not child.is_end_device:
            self._station.drop("nwk", "an end device timeout of no child of ours", source=frame.source)
            return
        status = _AGREED if request.timeout <= LONGEST_TIMEOUT else _INCORRECT_VALUE
        if status == _AGREED:
            child.timeout = request.timeout
            self._heard(sealer)
            self._watch()
            self._station.store.on_change()
        self._command(child.nwk, sealer, EndDeviceTimeoutResponse(status, _KEPT_BY_POLLING).to_bytes())

    def seconds_allowed(self, child: Child) -> float:
        """How long this child may be silent."""
        return timeout_seconds(self.default_timeout if child.timeout is None else child.timeout)

    def seconds_left(self, eui64: Eui64) -> float:
        """How long a child may still be silent before it is forgotten."""
        return max(0.0, self._deadlines.get(eui64, 0.0) - self._timeline.now)

    def _heard(self, eui64: Eui64) -> None:
        child = self._children[eui64]
        if child.is_end_device:
            self._deadlines[eui64] = self._timeline.now + self.seconds_allowed(child)

    def _watch(self) -> None:
        """Be called when the first child would have been silent for too long, not at each question."""
        if self._ageing is not None:
            self._ageing.cancel()
            self._ageing = None
        if self._deadlines:
            self._ageing = self._timeline.at(min(self._deadlines.values()), self._age)

    def _age(self) -> None:
        self._ageing = None
        for eui64, deadline in list(self._deadlines.items()):
            if deadline <= self._timeline.now:
                self._station.facts.say(
                    self._station.name, "child.forgotten", device=str(eui64), why="silent for too long"
                )
                self.forget(eui64)
        self._watch()

    # Questions

    def _may_ask(self, address: Address) -> bool:
        """Whether it may ask us what waits; whoever is still joining is known by its EUI-64 only."""
        if isinstance(address, Eui64) or not (self._station.is_router and self._nwk.authorised):
            return True
        return address in self._mac.sleepers or self._at(address) is not None

    def _asked(self, address: Address) -> None:
        """A device asked what waits for it. A stranger takes us for its parent: let it look again."""
        if isinstance(address, Eui64) or not (self._station.is_router and self._nwk.authorised):
            return
        eui64 = self._at(address)
        if eui64 is not None:
            self._heard(eui64)
        elif address not in self._mac.sleepers:
            self._station.drop("mac", "a question of no child of ours: it shall rejoin", source=address)
            self.tell_to_leave(address, self._nwk.eui64_of(address), rejoin=True)

    def _lose(self, nwk: int) -> None:
        eui64 = self._at(nwk)
        if eui64 is not None:
            self.forget(eui64)

    def _at(self, nwk: int) -> Eui64 | None:
        return next((eui64 for eui64, child in self._children.items() if child.nwk == nwk), None)

    def _free_index(self) -> int:
        taken = {child.index for child in self._children.values()}
        return next(index for index in range(MAX_CHILDREN + 1) if index not in taken)

    def _command(self, nwk: int, eui64: Eui64 | None, payload: bytes) -> None:
        self._nwk.send(
            nwk,
            payload,
            _ignore,
            frame_type=FrameType.COMMAND,
            radius=1,
            named=True,
            destination_ieee=eui64,
        )


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """A child that missed a word of ours asks again, or is told again when it does."""
