"""Forming, resuming, leaving and opening the network; scans."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from struct import Struct
from typing import Final

from han.sim.air.timeline import Timeline
from han.sim.dongle.dialect import Command, Dialect, Fields, eui64_of, octets_of
from han.sim.dongle.errors import Refused
from han.sim.dongle.ezsp import Ezsp
from han.sim.dongle.flash import Flash, FormedNetwork
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from han.sim.node.service import NetworkDown, NetworkParameters, NetworkUp
from han.sim.node.store import NodeStore
from ota.eui64 import Eui64

NO_NETWORK: Final = 0
JOINED_NETWORK: Final = 2
COORDINATOR: Final = 1
UNKNOWN_DEVICE: Final = 0
ENERGY_SCAN: Final = 0
MOST_TX_POWER: Final = 20
CHANNELS: Final = range(11, 27)
SCAN_UNIT: Final = 15.36e-3
"""aBaseSuperframeDuration in seconds: a channel is listened to for 2^duration + 1 of these."""
_PARAMETERS = Struct("<QHBBBHBI")
"""EmberNetworkParameters: extended PAN id, PAN id, power, channel, method, manager, update id, channels."""


class NetworkControl:
    """The network's life, as the host commands it."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        ezsp: Ezsp,
        timeline: Timeline,
        dice: random.Random,
        node: Stack,
        store: NodeStore,
        flash: Flash,
    ) -> None:
        self._dialect = dialect
        self._ezsp = ezsp
        self._timeline = timeline
        self._dice = dice
        self._node = node
        self._store = store
        self._flash = flash

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        handlers = {
            "networkState": lambda _: {"status": JOINED_NETWORK if self.is_up() else NO_NETWORK},
            "networkInit": self._init,
            "networkInitExtended": self._init,
            "formNetwork": self._form,
            "leaveNetwork": self._leave,
            "getNetworkParameters": self._parameters,
            "permitJoining": self._permit,
            "tokenFactoryReset": self._factory_reset,
            "removeDevice": self._remove,
            "startScan": self._scan,
            "stopScan": lambda _: {"status": Status.OK},
            "gpClearSinkTable": lambda _: {},
            "gpSinkTableClearAll": lambda _: {},
            "gpClearProxyTable": lambda _: {},
        }
        return self._dialect.commands(handlers)

    def is_up(self) -> bool:
        """Whether the stack runs."""
        return self._node.nwk is not None

    def came_up(self, _event: NetworkUp) -> None:
        """The node is in its network."""
        self._ezsp.callback("stackStatusHandler", status=Status.NETWORK_UP)

    def went_down(self, _event: NetworkDown) -> None:
        """The node is in no network any more."""
        self._ezsp.callback("stackStatusHandler", status=Status.NETWORK_DOWN)

    def _init(self, _fields: Fields) -> Fields:
        if self.is_up():
            raise Refused(Status.INVALID_CALL, "the network is up already")
        if self._flash.network is None or not self._node.resume():
            raise Refused(Status.NOT_JOINED, "no network is stored")
        return {"status": Status.OK}

    def _form(self, fields: Fields) -> Fields:
        if self.is_up():
            raise Refused(Status.INVALID_CALL, "the network is up already: leave it first")
        security = self._flash.security
        if security is None:
            raise Refused(Status.SECURITY_STATE_NOT_SET, "set the initial security state first")
        extended, pan_id, power, channel, method, manager, update_id, channels = _PARAMETERS.unpack(
            octets_of(fields["parameters"])
        )
        if channel not in CHANNELS:
            raise Refused(Status.PHY_INVALID_CHANNEL, f"channel {channel} is not in the 2.4 GHz band")
        tx_power = power - 256 if power > 127 else power
        if tx_power > MOST_TX_POWER:
            raise Refused(Status.PHY_INVALID_POWER, f"the radio cannot send with {tx_power} dBm")
        self._flash.network = FormedNetwork(tx_power, method, manager, channels)
        self._flash.changed()
        imported = dict(self._store.link_keys)
        self._node.form(
            NetworkParameters(
                channel=channel,
                pan_id=pan_id,
                extended_pan_id=Eui64(extended),
                network_key=security.network_key,
                key_sequence=security.network_key_sequence,
                nwk_update_id=update_id,
            )
        )
        # A host imports link keys before it forms; forming a network starts the stack's own memory afresh.
        self._store.link_keys.update(imported)
        return {"status": Status.OK}

    def _leave(self, _fields: Fields) -> Fields:
        if not self.is_up():
            raise Refused(Status.INVALID_CALL, "there is no network to leave")
        self._node.leave()
        self._flash.forget_network()
        return {"status": Status.OK}

    def _parameters(self, _fields: Fields) -> Fields:
        network, formed = self._node.network, self._flash.network
        if network is None or formed is None:
            return {
                "status": Status.NOT_JOINED,
                "nodeType": UNKNOWN_DEVICE,
                "parameters": bytes(_PARAMETERS.size),
            }
        parameters = _PARAMETERS.pack(
            network.extended_pan_id,
            network.pan_id,
            formed.tx_power & 0xFF,
            network.channel,
            formed.join_method,
            formed.manager,
            network.nwk_update_id,
            formed.channels,
        )
        return {"status": Status.OK, "nodeType": COORDINATOR, "parameters": parameters}

    def _permit(self, fields: Fields) -> Fields:
        if not self.is_up():
            raise Refused(Status.NETWORK_DOWN, "nobody can join while the network is down")
        seconds = int(fields["duration"])
        self._node.permit(seconds)
        status = Status.NETWORK_OPENED if seconds else Status.NETWORK_CLOSED
        # Not at once: no log shows a callback waiting behind the answer.
        self._timeline.after(0.0, partial(self._ezsp.callback, "stackStatusHandler", status=status))
        return {"status": Status.OK}

    def _remove(self, fields: Fields) -> Fields:
        if not self.is_up():
            raise Refused(Status.NETWORK_DOWN, "the network is down")
        target, through = eui64_of(fields["targetLong"]), int(fields["destShort"])
        if not self._node.remove(target, through=through):
            raise Refused(Status.NOT_FOUND, "nobody knows that device")
        return {"status": Status.OK}

    def _factory_reset(self, _fields: Fields) -> Fields:
        """Forget the network in flash; what runs goes on until the next reset."""
        self._flash.forget_network()
        return {}

    def _scan(self, fields: Fields) -> Fields:
        mask, duration = int(fields["channelMask"]), int(fields["duration"])
        channels = [channel for channel in CHANNELS if mask >> channel & 1]
        if not channels:
            raise Refused(Status.BAD_ARGUMENT, "the channel mask names no channel of this radio")
        dwell = SCAN_UNIT * (2**duration + 1)
        for place, channel in enumerate(channels, start=1):
            if int(fields["scanType"]) == ENERGY_SCAN:
                self._timeline.after(place * dwell, self._energy_found, channel)
        self._timeline.after(len(channels) * dwell, self._scanned)
        return {"status": Status.OK}

    def _energy_found(self, channel: int) -> None:
        self._ezsp.callback(
            "energyScanResultHandler", channel=channel, maxRssiValue=-95 + self._dice.randrange(12)
        )

    def _scanned(self) -> None:
        self._ezsp.callback("scanCompleteHandler", channel=0, status=Status.OK)
