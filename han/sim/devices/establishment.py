"""The pump around a device's key establishment machine, and when the device uses it.

A device that has just joined shares the key of its install code with the Trust Centre, good for the network
key and nothing else. It finds the Trust Centre's Key Establishment server and establishes a key; only then
does it speak on clusters that Smart Energy protects. The key takes the place of the install code's in the
node's store and survives a power cut.

Both sides change keys at the proof: the Trust Centre when it has checked ours, which is one message earlier,
and we when we have checked its. Nothing of the old key is kept. Stacks have one entry a partner in their key
table, and none is needed: the exchange itself goes under the network key, a frame that was sealed too early
is repeated within 1.6 s and sealed anew, and if the last message is lost for good the exchange is run again.

A Trust Centre may begin too. One that answers a protected message by saying that it has no key with us, as
after a loss of its memory, makes the device establish a new one.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from han.errors import TheirError
from han.facts import Facts
from han.security.key_establishment import (
    Command,
    Established,
    Event,
    Failed,
    Ignored,
    KeyEstablishment,
    Role,
    Send,
    Settings,
    Started,
)
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.conduct import Certified, credentials_of, hears, sent_for
from han.sim.devices.memory import Memory
from han.sim.devices.port import Port
from han.sim.devices.search import Search
from han.sim.home import DeviceDescription
from han.sim.node.store import LinkKey
from han.zcl import KEY_ESTABLISHMENT_CLUSTER, ZclFrame, decode_key_establishment, encode_key_establishment
from ota.commands import DefaultResponse
from ota.eui64 import Eui64

FIRST_PAUSE = 120.0
LONGEST_PAUSE = 3600.0
"""Seconds until a device tries again after its machine gave up, doubled each time: what is missing (a
certificate of the same authority, room at the hub) comes by a person's hand, if at all."""
LEAST_BETWEEN_RENEWALS = 60.0
"""Seconds. Whoever has the network key can say that there is no link key; it shall not keep us busy."""


class Establishment:
    """Sees to it that the device shares an established key with its Trust Centre.

    Args:
        description: says under which suites the device proves itself, and how it conducts itself.
        certified: what it proves itself with.
        on_keyed: called each time the device is in the network and holds such a key, old or new.
    """

    def __init__(
        self,
        *,
        port: Port,
        search: Search,
        timeline: Timeline,
        facts: Facts,
        name: str,
        memory: Memory,
        description: DeviceDescription,
        certified: Certified,
        dice: random.Random,
        on_keyed: Callable[[], None],
    ) -> None:
        self._port = port
        self._search = search
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._memory = memory
        self._on_keyed = on_keyed
        self._conduct = description.establishment
        self._machine = KeyEstablishment(credentials_of(description, certified), Settings(), dice)
        self._endpoint = 0
        self._timer: Handle | None = None
        self._again: Handle | None = None
        self._pause = FIRST_PAUSE
        self._renewed_at = 0.0

    @property
    def suites(self) -> int:
        """The cluster's attribute 0x0000."""
        return self._machine.suites

    def start(self) -> None:
        """The device is in the network: establish a key, unless it holds one with this Trust Centre."""
        self._pause = FIRST_PAUSE
        self._port.is_keyed = self._holds_established_key()
        if self._port.is_keyed:
            self._on_keyed()
        else:
            self._begin()

    def stop(self) -> None:
        """The network or the power is gone: what was under way is forgotten."""
        self._port.is_keyed = False
        trust_centre = self._memory.node.trust_centre
        if trust_centre is not None:
            self._machine.forget(trust_centre)
        self._arm()
        self._try_again_after(None)

    def renew(self) -> None:
        """The Trust Centre says that it shares no key with us: establish another, but not all the time."""
        now = self._timeline.now
        if now - self._renewed_at >= LEAST_BETWEEN_RENEWALS:
            self._renewed_at = now
            self._say("keys.refused", why="the Trust Centre says that it shares no key with us")
            self._begin()

    def receive(self, frame: ZclFrame, endpoint: int) -> None:
        """Take a command of the cluster from the Trust Centre; ``endpoint`` is the one that it came from."""
        peer = self._memory.node.trust_centre
        if peer is None:
            return
        now = self._timeline.now
        self._endpoint = endpoint
        try:
            command = decode_key_establishment(frame)
        except TheirError as error:
            self._machine.receive_malformed(
                peer, frame.command_id, frame.sequence, error, now, from_server=frame.from_server
            )
        else:
            assert not isinstance(command, DefaultResponse)  # which is no command of the cluster
            if not hears(self._conduct, command):
                return
            self._machine.receive(peer, command, frame.sequence, now)
        self._settle()

    def _holds_established_key(self) -> bool:
        # By its value: whoever joins anew has the install code's again, whatever it held before.
        store = self._memory.node
        entry = None if store.trust_centre is None else store.link_keys.get(store.trust_centre)
        return entry is not None and entry.key == self._memory.established_key

    def _begin(self) -> None:
        self._try_again_after(None)
        self._search.look_for(KEY_ESTABLISHMENT_CLUSTER, self._found)

    def _found(self, endpoint: int) -> None:
        self._endpoint = endpoint
        trust_centre = self._memory.node.trust_centre
        assert trust_centre is not None  # it gave us the network key
        if not self._machine.is_busy_with(trust_centre):
            self._machine.initiate(trust_centre, self._timeline.now)
            self._settle()

    def _settle(self) -> None:
        for item in self._machine.drain():
            if isinstance(item, Send):
                self._say_it(item)
            else:
                self._happened(item)
        self._arm()

    def _say_it(self, item: Send) -> None:
        for late, command in sent_for(self._conduct, item.command):
            if late:
                self._timeline.after(late, self._send, command, item.sequence)
            else:
                self._send(command, item.sequence)

    def _send(self, command: Command, sequence: int | None) -> None:
        if sequence is None:
            sequence = self._port.next_sequence()
        frame = encode_key_establishment(command, sequence)
        self._port.send(KEY_ESTABLISHMENT_CLUSTER, frame, endpoint=self._endpoint)

    def _happened(self, event: Event) -> None:
        match event:
            case Started(role=role, suite=suite):
                self._say("keys.started", role=role.value, suite=suite.value)
            case Established(peer=peer, role=role, link_key=link_key):
                self._take(peer, role, link_key)
            case Failed(role=role, why=why, again_at=again_at):
                self._say("keys.failed", role=role.value, why=why, again_at=again_at)
                if role is Role.INITIATOR and again_at is None:
                    self._try_again_after(self._pause)
                    self._pause = min(2 * self._pause, LONGEST_PAUSE)
            case Ignored(why=why):
                self._say("keys.ignored", why=why)

    def _take(self, peer: Eui64, role: Role, link_key: bytes) -> None:
        store = self._memory.node
        self._memory.established_key = link_key
        store.link_keys[peer] = LinkKey(link_key)
        store.on_change()
        self._pause = FIRST_PAUSE
        self._try_again_after(None)
        self._port.is_keyed = True
        self._say("keys.established", role=role.value, peer=str(peer))
        self._on_keyed()

    def _try_again_after(self, seconds: float | None) -> None:
        if self._again is not None:
            self._again.cancel()
        self._again = None if seconds is None else self._timeline.after(seconds, self._begin)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (when := self._machine.timer()) is not None:
            self._timer = self._timeline.at(when, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._machine.tick(self._timeline.now)
        self._settle()

    def _say(self, what: str, **fields: object) -> None:
        self._facts.say(self._name, what, **fields)
