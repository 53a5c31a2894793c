"""How a device gets into the network, stays in it, and finds the Communications Hub's OTA server there.

A device that is switched on brings back the network it knows; one that knows none looks for one, again and
again, with the link key of its install code, until the Trust Centre lets it in. What has to happen in the
network before the OTA server is looked for is not decided here: whoever is told `on_joined` says when.

A device that has lost touch (its parent is gone, it was told to rejoin, or the hub does not answer any more)
comes back under the network key that it has. If nobody answers to that one, it may have missed a change of
the key: it asks for the one of today, under its link key. While neither helps, a device that always listens
goes on as before, because others may depend on it; one that sleeps has no parent and tries again later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import Enum, auto

from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.search import Search
from han.sim.node.node import Node
from han.sim.node.service import JoinResult, JoinStatus, NetworkDown, NodeEvent, NoLinkKey, Orphaned
from ota.commands import CLUSTER_ID as OTA_CLUSTER

LONGEST_JOIN_RETRY = 120.0
"""Seconds. Half of the longest permit of a hub (254 s), so that a device never sleeps through one."""

FIRST_GUESS_PAUSE, LONGEST_GUESS_PAUSE = 60.0, 3600.0
"""Seconds after a rejoin on suspicion in which there is no other one, doubled each time."""


class Standing(Enum):
    """How far the device has come."""

    OFF = auto()
    JOINING = auto()
    JOINED = auto()
    SEARCHING = auto()
    ATTACHED = auto()


class Attachment:
    """Keeps one device's node in the network and knows where the hub's OTA server is.

    Args:
        channels: where to look for a network.
        search: finds the server.
        sleeps: whether the device is an end device whose radio is off while idle.
        join_retry: seconds before the second attempt to join; doubled after each further one.
        on_joined: called each time the node is in the network (again). `find_server` is next.
        on_attached: called with the server's endpoint each time the device can talk to it (again).
        on_detached: called when the network is gone.
    """

    def __init__(
        self,
        *,
        node: Node,
        timeline: Timeline,
        dice: random.Random,
        facts: Facts,
        name: str,
        link_key: bytes,
        sleeps: bool,
        join_retry: float,
        channels: Sequence[int],
        search: Search,
        on_joined: Callable[[], None],
        on_attached: Callable[[int], None],
        on_detached: Callable[[], None],
    ) -> None:
        self.standing = Standing.OFF
        self._node = node
        self._timeline = timeline
        self._dice = dice
        self._facts = facts
        self._name = name
        self._link_key = link_key
        self._sleeps = sleeps
        self._channels = channels
        self._search = search
        self._first_retry = join_retry
        self._retry = join_retry
        self._on_joined = on_joined
        self._on_attached = on_attached
        self._on_detached = on_detached
        self._timer: Handle | None = None
        self._no_guess_before = 0.0
        self._guess_pause = FIRST_GUESS_PAUSE

    def power_on(self) -> None:
        """Come back into the stored network and say so to everyone, or begin to look for one.

        Hosts take the announcement for the end of a restart: real devices make it each time they come up.
        """
        self._retry = self._first_retry
        if self._node.reboot():
            self._node.zdo.announce()
            self._in_network()
        else:
            self._join()

    def find_server(self) -> None:
        """Look for the hub's OTA server, now that the device is ready for it; of no effect unless joined."""
        if self.standing is Standing.JOINED:
            self.standing = Standing.SEARCHING
            self._search.look_for(OTA_CLUSTER, self._found)

    def lost(self) -> None:
        """The hub does not answer any more, whatever the network says: look for it again."""
        if self.standing not in (Standing.OFF, Standing.JOINING):
            self._detach("the hub does not answer")
            self._rejoin()

    def power_off(self) -> None:
        """Stop; the node is left as it is."""
        self.standing = Standing.OFF
        self._wait_for_nothing()

    def node_event(self, event: NodeEvent) -> None:
        """Take what the node tells about its network."""
        if self.standing in (Standing.OFF, Standing.JOINING):
            return
        match event:
            case NetworkDown(left=left):
                self._detach("left" if left else "network down")
                if left:
                    self._join_later(self._join)
            case Orphaned(why=why, has_parent=has_parent):
                if not has_parent or self._may_guess():
                    self._detach(why)
                    self._rejoin()
            case _:
                pass

    def _may_guess(self) -> bool:
        """Whether to rejoin on suspicion: ever less often, should it not help."""
        now = self._timeline.now
        if now < self._no_guess_before:
            return False
        was_long_ago = now > self._no_guess_before + LONGEST_GUESS_PAUSE
        self._guess_pause = FIRST_GUESS_PAUSE if was_long_ago else self._guess_pause
        self._no_guess_before = now + self._guess_pause
        self._guess_pause = min(2 * self._guess_pause, LONGEST_GUESS_PAUSE)
        return True

    def _detach(self, why: str) -> None:
        self._wait_for_nothing()
        self.standing = Standing.OFF
        self._facts.say(self._name, "device.detached", why=why)
        self._on_detached()

    def _join(self) -> None:
        self.standing = Standing.JOINING
        self._node.join(self._link_key, self._joined, self._channels)

    def _joined(self, result: JoinResult) -> None:
        if self.standing is not Standing.JOINING:
            return
        if result.ok:
            self._retry = self._first_retry
            self._in_network()
        else:
            self._facts.say(self._name, "device.join-failed", why=result.status.value)
            self._join_later(self._join)

    def _join_later(self, attempt: Callable[[], None]) -> None:
        # The dice keep two devices that were switched on together from asking together for ever.
        self._timer = self._timeline.after(self._retry * self._dice.uniform(0.8, 1.2), attempt)
        self._retry = min(2 * self._retry, LONGEST_JOIN_RETRY)

    def _rejoin(self) -> None:
        self.standing = Standing.JOINING
        self._node.rejoin(self._rejoined_with_key)

    def _rejoined_with_key(self, result: JoinResult) -> None:
        if self.standing is not Standing.JOINING:
            return
        if result.ok or result.status is JoinStatus.NO_NETWORK:
            self._rejoined(result)
            return
        try:
            self._node.rejoin(self._rejoined, secured=False)
        except NoLinkKey:
            self._rejoined(result)

    def _rejoined(self, result: JoinResult) -> None:
        if self.standing is not Standing.JOINING:
            return
        if result.ok:
            self._retry = self._first_retry
            self._in_network()
            return
        self._facts.say(self._name, "device.rejoin-failed", why=result.status.value)
        if self._sleeps or not self._node.resume():
            self._join_later(self._rejoin)
        else:
            self._in_network()

    def _in_network(self) -> None:
        self.standing = Standing.JOINED
        self._on_joined()

    def _found(self, endpoint: int) -> None:
        self.standing = Standing.ATTACHED
        self._facts.say(self._name, "device.attached", endpoint=endpoint)
        self._on_attached(endpoint)

    def _wait_for_nothing(self) -> None:
        self._search.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
