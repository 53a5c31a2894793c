"""Changing the network key at the host's word: the next key goes out, then everybody is told to switch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from han.sim.dongle.dialect import Command, Dialect, Fields, eui64_of, octets_of
from han.sim.dongle.errors import Refused
from han.sim.dongle.ezsp import Ezsp
from han.sim.dongle.flash import Flash
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.node.service import KeySwitched

ANY_KEY: Final = bytes(16)
"""All zeros from the host: the stack shall make up the key."""


class NetworkKey:
    """The commands of one running firmware about the next network key."""

    def __init__(
        self, *, dialect: Dialect, ezsp: Ezsp, dice: random.Random, node: Stack, flash: Flash
    ) -> None:
        self._dialect = dialect
        self._ezsp = ezsp
        self._dice = dice
        self._node = node
        self._flash = flash

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        return self._dialect.commands(
            {
                "broadcastNextNetworkKey": self._broadcast,
                "unicastNwkKeyUpdate": self._unicast,
                "broadcastNetworkKeySwitch": self._switch,
            }
        )

    def switched(self, event: KeySwitched) -> None:
        """The next key is the network's key now: flash keeps it, and the host is told its number."""
        network, security = self._node.network, self._flash.security
        if network is not None and security is not None:
            self._flash.security = replace(
                security, network_key=network.network_key, network_key_sequence=network.key_sequence
            )
            self._flash.changed()
        self._ezsp.callback("switchNetworkKeyHandler", sequenceNumber=event.sequence)

    def _broadcast(self, fields: Fields) -> Fields:
        self._check()
        self._node.trust.broadcast_next_key(self._key(fields))
        return {"status": Status.OK}

    def _unicast(self, fields: Fields) -> Fields:
        self._check()
        partner = eui64_of(fields["destLong"])
        if not self._node.trust.send_next_key(partner, int(fields["destShort"]), self._key(fields)):
            raise Refused(Status.NOT_FOUND, "no link key is shared with that device")
        return {"status": Status.OK}

    def _switch(self, _fields: Fields) -> Fields:
        self._check()
        if not self._node.trust.switch_key():
            raise Refused(Status.INVALID_CALL, "no next network key was given out")
        return {"status": Status.OK}

    def _key(self, fields: Fields) -> bytes:
        key = octets_of(fields["key"])
        return self._dice.randbytes(16) if key == ANY_KEY else key

    def _check(self) -> None:
        if self._node.nwk is None:
            raise Refused(Status.NETWORK_DOWN, "the network is down")
