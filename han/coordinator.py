"""The hub's end of the home area network: admit, key, send, receive.

The coordinator knows the devices that were admitted, by EUI-64, and where each of them is at the moment (see
`han.admission`). It hands up what they send, refuses what anybody else sends, and says who joined, moved,
left and agreed a key. The devices are the hub's own list: zigpy neither keeps nor interviews them.

Protected clusters (`han.clusters`) go under a device's link key, in both directions, and not at all before
the key is established (`han.establishment`). The coordinator decides that; who sends need not know.

When the dongle goes away, everything under way fails with `RadioGone`, and the coordinator keeps trying to
bring the same network up again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from zigpy.exceptions import DeliveryError

from han.admission import Admitted, DeviceState, Doorstep, Roll
from han.coordinator_events import (
    DeviceInTrouble,
    DeviceJoined,
    DeviceLeft,
    DeviceMoved,
    DeviceSecured,
    DeviceUnsecured,
    Event,
    RadioBack,
    RadioLost,
)
from han.discovery import Discovered
from han.dispatch import APS_SECURITY_OVERHEAD, LARGEST_PAYLOAD, Dispatch, Link, Posted
from han.errors import HanError, OurError, SurroundingsError, TheirError
from han.establishment import Agreed, Establishment, Hands, Outcome
from han.facts import Facts
from han.joining_window import LONGEST_PERMIT, JoiningWindow
from han.key_table import WANTED_ROWS
from han.network_memory import Network, NetworkMemory
from han.radio import NetworkSettings, RadioSettings, open_radio
from han.radio_errors import (
    DeliveryFailed,
    KeyNotSwitched,
    NotSecured,
    PayloadTooLong,
    RadioBusy,
    RadioGone,
    UnknownDevice,
)
from han.security.certificate import Credentials
from han.security.install_code import link_key
from han.security.key_establishment import Settings as KeyEstablishmentSettings
from han.stack import Arrival, DongleDetails, Message, Stack
from han.zcl import (
    KEY_ESTABLISHMENT_CLUSTER,
    ZclFrame,
    default_response,
    is_default_response,
)
from ota.eui64 import Eui64
from ota.status import Status

__all__ = [
    "APS_SECURITY_OVERHEAD",
    "LARGEST_PAYLOAD",
    "LONGEST_PERMIT",
    "Coordinator",
    "DeliveryFailed",
    "DeviceInTrouble",
    "DeviceJoined",
    "DeviceLeft",
    "DeviceMoved",
    "DeviceSecured",
    "DeviceUnsecured",
    "Discovered",
    "Event",
    "KeyNotSwitched",
    "NotSecured",
    "PayloadTooLong",
    "Posted",
    "RadioBack",
    "RadioBusy",
    "RadioGone",
    "RadioLost",
    "SecuritySettings",
    "UnknownDevice",
]

_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0

_IEEE_ADDR_REQ = 0x0001
_MGMT_LEAVE_REQ = 0x0034

_KEY_SPREADS = 20.0
"""Seconds from the next network key to the switch: until a broadcast has faded out of every corner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """How link keys are established, and what holds before they are.

    Attributes:
        credentials: what the hub proves itself with, for the EUI-64 of its dongle: one of each suite at most.
        link_keys: the link key that a device has already, for its EUI-64, or None.
        require_key_establishment: whether a device has to establish a key, unless its admission says
            otherwise. False is for a laboratory whose devices have no certificate.
        refusal: what the sender of an unprotected message is told; the older stacks say FAILURE.
        key_establishment: times and limits.
    """

    credentials: Callable[[Eui64], Sequence[Credentials]] = lambda _: ()
    link_keys: Callable[[Eui64], bytes | None] = lambda _: None
    require_key_establishment: bool = True
    refusal: Status = Status.NOT_AUTHORIZED
    key_establishment: KeyEstablishmentSettings = field(default_factory=KeyEstablishmentSettings)


OnMessage = Callable[[Eui64, int, bytes, bool], None]
OnEvent = Callable[[Event], None]


class Coordinator:
    """A running network and the devices in it. Made by `start`."""

    def __init__(
        self,
        settings: RadioSettings,
        *,
        network: NetworkSettings,
        security: SecuritySettings,
        roll: Roll,
        facts: Facts,
        on_message: OnMessage,
        on_event: OnEvent,
    ) -> None:
        self._settings = settings
        self._network_settings = network
        self._security = security
        self._memory = NetworkMemory(settings.state)
        self._facts = facts
        self._on_message = on_message
        self._on_event = on_event
        self._roll = roll
        self._doorstep = Doorstep()
        self._establishment: Establishment | None = None
        self._strangers: dict[int, Eui64 | None] = {}
        self._window = JoiningWindow()
        self._key_rows = WANTED_ROWS
        self._link = Link()
        self._dispatch = Dispatch(settings.fragments, self._link, roll, facts)
        self._is_switching_key = False
        self._network: Network | None = None
        self._closing_joining: asyncio.TimerHandle | None = None
        self._watching_doorstep: asyncio.TimerHandle | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @classmethod
    async def start(
        cls,
        settings: RadioSettings,
        *,
        network: NetworkSettings,
        devices: Sequence[Admitted],
        facts: Facts,
        on_message: OnMessage,
        on_event: OnEvent,
        security: SecuritySettings | None = None,
        removed: Sequence[Eui64] = (),
    ) -> Self:
        """Open the radio and bring the network up.

        Args:
            settings: which radio, and how far to go with a network that is on it.
            network: the network to form if there is none.
            devices: those admitted before, as `devices` gave them.
            facts: where everything that happens is said.
            on_message: called with sender, cluster, ZCL frame and whether it came under APS security.
            on_event: called with each `Event`.
            security: see `SecuritySettings`.
            removed: those removed before, as `removed` gave them.

        Raises:
            OurError: if the settings cannot be.
            SurroundingsError: as `han.radio.open_radio`, and what ``security.credentials`` raises.
        """
        coordinator = cls(
            settings,
            network=network,
            security=security or SecuritySettings(),
            roll=Roll(devices, removed),
            facts=facts,
            on_message=on_message,
            on_event=on_event,
        )
        await coordinator._open(settings)
        await coordinator._settle()
        return coordinator

    @property
    def eui64(self) -> Eui64:
        """The address of the hub's own radio, known once the network has been up."""
        assert self._network is not None
        return self._network.eui64

    @property
    def network(self) -> Network:
        """The network that is, or was last, up."""
        assert self._network is not None
        return self._network

    @property
    def is_up(self) -> bool:
        """Whether there is a working dongle."""
        return self._link.stack is not None

    @property
    def devices(self) -> list[Admitted]:
        """All admitted devices, in the order of their admission."""
        return self._roll.devices

    @property
    def removed(self) -> tuple[Eui64, ...]:
        """The devices that were removed last."""
        return self._roll.removed

    @property
    def suites(self) -> int:
        """Attribute 0x0000 of Key Establishment: a bit for each suite that the hub has a certificate of."""
        return 0 if self._establishment is None else self._establishment.suites

    @property
    def dongle(self) -> DongleDetails | None:
        """What the dongle says of itself; None while there is none."""
        return None if self._link.stack is None else self._link.stack.details

    async def close(self) -> None:
        """Let the dongle go. The network stays in it, and the devices stay in the network."""
        for timer in (self._closing_joining, self._watching_doorstep):
            if timer is not None:
                timer.cancel()
        if self._establishment is not None:
            await self._establishment.close()
        await self._dispatch.close()
        for task in list(self._tasks.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        stack = self._link.cut()
        if stack is not None:
            await stack.shutdown()

    async def admit(
        self,
        eui64: Eui64,
        install_code: bytes,
        device_type: str,
        seconds: int = LONGEST_PERMIT,
        *,
        establishes_keys: bool | None = None,
    ) -> Admitted:
        """Let one device join, with the key of its install code and no other, within ``seconds``.

        A link key from before is forgotten: at once if the device is not in the network, else when it joins.
        One that the settings give ready takes its place, and the device counts as secured.

        Args:
            eui64: which device.
            install_code: the code from its label, with its CRC.
            device_type: in GB words, such as ``PPMID``; kept for the hub.
            seconds: 1 to 254. Another call may prolong the time that is left, and never shortens it.
            establishes_keys: whether it has to agree a link key; None leaves that to the settings.

        Raises:
            han.security.errors.InstallCodeError: if the code is none.
            OurError: if ``seconds`` is out of range.
            RadioGone, RadioBusy: if the dongle could not be told.
            han.key_table.KeyTableFull, han.key_table.KeyRefused: if it does not take the ready key.
        """
        if not 1 <= seconds <= LONGEST_PERMIT:
            raise OurError(f"joining can be open for 1 to {LONGEST_PERMIT} seconds, not {seconds}")
        key = link_key(install_code)
        stack = self._link.working()
        # The dongle has one window for all: a shorter one would shut out who was admitted before.
        seconds = max(seconds, self._window.seconds_left(self._now()))
        known = self._roll.find(eui64)
        ready = self._security.link_keys(eui64)
        try:
            with self._link.asking(stack):
                if known is None or known.state is not DeviceState.JOINED:
                    await stack.key_table.erase(eui64)
                await stack.admit(eui64, key, seconds)
                if known is not None and known.is_secured and not stack.keeps_joiners_apart:
                    self._unsecure(known, "the key of its install code took its place in the key table")
                if ready is not None:
                    await stack.key_table.put(eui64, ready)
        except HanError:
            # Half of it may have been done; whoever was admitted before keeps the time that is left.
            self._close_joining_in(self._window.seconds_left(self._now()))
            raise
        if establishes_keys is None:
            establishes_keys = self._security.require_key_establishment
        device = self._roll.admit(eui64, device_type, establishes_keys=establishes_keys)
        device.is_secured = device.is_secured or ready is not None
        self._window.expect(eui64, key, self._now() + seconds)
        self._facts.say("hub", "join.open", device=str(eui64), device_type=device_type, seconds=seconds)
        self._close_joining_in(seconds)
        self._say_if_keys_lack_rows()
        return device

    async def remove(self, eui64: Eui64) -> None:
        """Strike a device off: it is asked to leave, its keys are erased; it stays out until admitted anew.

        Raises:
            UnknownDevice: if it was not admitted.
            RadioGone, RadioBusy: if the dongle could not be told; then the device is still admitted.
        """
        device = self._roll.find(eui64)
        if device is None:
            raise UnknownDevice(f"{eui64} was not admitted")
        stack = self._link.working()
        with self._link.asking(stack):
            if self._window.seconds_left(self._now()):
                await stack.shut_out(eui64, self._settings.entropy(16))
            if device.nwk is not None:
                # Before the key is erased: the request itself needs none, but its device may not be awake.
                await self._dismiss(stack, device.nwk, eui64)
            await stack.key_table.erase(eui64)
        self._forget(eui64)
        self._roll.remove(device)
        self._facts.say("hub", "device.removed", device=str(eui64))

    async def switch_network_key(self, *, by_broadcast: bool = False) -> list[Eui64]:
        """Give the network a new key; gives those devices to which it was sent.

        Each device gets it under the link key that it has established, as Smart Energy asks: a removed one,
        which may still hold the old network key, does not. ``by_broadcast`` sends it to everybody under the
        old key instead, where devices have no keys of their own. Who sleeps through the switch, or did not
        get the key, comes back under its link key as soon as it notices.

        Raises:
            OurError: if no device has established a key, or if a switch is under way; nothing was sent.
            KeyNotSwitched: the dongle refuses, or does not say that it has switched.
            RadioGone, RadioBusy: as `send`.
        """
        if self._is_switching_key:
            raise OurError("the network key is being switched already: wait for the end of it")
        stack, key = self._link.working(), self._settings.entropy(16)
        self._is_switching_key = True
        try:
            with self._link.asking(stack):
                told = await (self._broadcast_key(stack, key) if by_broadcast else self._give_key(stack, key))
                await asyncio.sleep(_KEY_SPREADS)
                sequence = await self._switch(stack)
        finally:
            self._is_switching_key = False
        if sequence is None:
            raise KeyNotSwitched("the dongle refuses to switch to the next network key")
        self._facts.say("hub", "network.key_changed", sequence=sequence, told=len(told))
        return told

    async def _switch(self, stack: Stack) -> int | None:
        try:
            return await stack.switch_network_key()
        except TimeoutError as error:
            raise KeyNotSwitched("the dongle does not say that it has switched the network key") from error

    async def _broadcast_key(self, stack: Stack, key: bytes) -> list[Eui64]:
        if not await stack.broadcast_network_key(key):
            raise KeyNotSwitched("the dongle does not broadcast a network key")
        return [device.eui64 for device in self._roll.devices if device.nwk is not None]

    async def _give_key(self, stack: Stack, key: bytes) -> list[Eui64]:
        keyed = [device for device in self._roll.devices if device.is_secured and device.nwk is not None]
        told = []
        for device in keyed:
            assert device.nwk is not None
            if await stack.give_network_key(device.nwk, device.eui64, key):
                told.append(device.eui64)
        if not told:
            raise OurError("no device has established a link key: let the network key be broadcast")
        return told

    async def establish(self, eui64: Eui64) -> None:
        """Ask a device for a new link key. What comes of it is told as an `Event`.

        Raises:
            UnknownDevice: if it was not admitted or has not joined.
        """
        device = self._roll.find(eui64)
        if device is None or device.nwk is None:
            raise UnknownDevice(f"{eui64} is not in the network")
        if self._establishment is not None:
            self._establishment.initiate(eui64)

    async def send(
        self, to: Eui64, cluster: int, zcl: bytes, *, aps_ack: bool = True, fragments: bool = True
    ) -> None:
        """Send a ZCL frame to a device, and return once it has acknowledged it; see `han.dispatch`.

        Raises:
            DeliveryFailed, PayloadTooLong, UnknownDevice, NotSecured, RadioBusy, RadioGone: see there.
        """
        await self._dispatch.send(to, cluster, zcl, aps_ack=aps_ack, fragments=fragments)

    def post(
        self,
        to: Eui64,
        cluster: int,
        zcl: bytes,
        then: Callable[[HanError | None], None],
        *,
        aps_ack: bool = True,
        fragments: bool = True,
    ) -> Posted:
        """Send as `send` does, and go on. ``then`` is called later, with what `send` would raise."""
        return self._dispatch.post(to, cluster, zcl, then, aps_ack=aps_ack, fragments=fragments)

    async def broadcast(self, cluster: int, zcl: bytes) -> None:
        """Send a ZCL frame to every device that listens all the time, to whichever endpoint has the cluster.

        Raises:
            PayloadTooLong, DeliveryFailed, RadioBusy, RadioGone: see `han.dispatch`.
        """
        await self._dispatch.broadcast(cluster, zcl)

    async def discover(self, eui64: Eui64) -> Discovered | None:
        """Ask a device which of its endpoints has the OTA client, and note it; None if none has.

        Raises:
            UnknownDevice, DeliveryFailed, RadioBusy, RadioGone: see `han.dispatch`.
        """
        return await self._dispatch.discover(eui64)

    # What the radio hears. See `han.stack.Listener`.

    def message(self, message: Message) -> None:
        """A Smart Energy message arrived."""
        device = self._roll.at(message.sender)
        if device is None:
            self._ask_who_it_is(message.sender)
            return
        if device.state is not DeviceState.JOINED:
            self._joined(device, message.sender)
        cluster = message.cluster
        self._dispatch.spoke(device.eui64, cluster, message.source_endpoint)
        objection = device.objection(cluster, aps_secured=message.aps_secured)
        if objection is not None:
            self._refuse(device, message, objection)
        elif cluster != KEY_ESTABLISHMENT_CLUSTER or not self._establishes(device, message.payload):
            self._on_message(device.eui64, cluster, message.payload, message.aps_secured)

    def stray(self, sender: int, why: str) -> None:
        """A packet that is none of ours was dropped."""
        self._facts.say("hub", "message.refused", sender=f"{sender:#06x}", why=why)

    def keyed(self, nwk: int, eui64: Eui64, arrival: Arrival) -> None:
        """The Trust Centre let a device in, or saw it come back."""
        device = self._roll.find(eui64)
        self._facts.say(
            "hub",
            "join.keyed",
            device=str(eui64),
            nwk=nwk,
            admitted=device is not None,
            arrival=arrival.name.lower().replace("_", " "),
        )
        if device is None:
            return
        comes_anew = (
            arrival is Arrival.JOIN and self._window.is_expected(eui64, self._now()) and device.is_secured
        )
        if comes_anew and self._security.link_keys(eui64) is None:
            # It joins with its install code, and could not read what comes under the key that it had.
            self._start(f"forget key {eui64}", self._forget_key(device, "it joins anew"))
        # Anybody may claim an address to the Trust Centre; a device that is in stays where it proved to be,
        # and is in no trouble if somebody else cannot read a key.
        is_in = device.state is DeviceState.JOINED
        if not is_in:
            self._roll.place(device, nwk)
        is_sent_key = arrival is not Arrival.SECURED_REJOIN
        if is_sent_key and not (
            is_in and arrival is Arrival.JOIN and not self._window.is_expected(eui64, self._now())
        ):
            self._doorstep.knocked(eui64, self._now())
            self._watch_doorstep()

    def announced(self, nwk: int, eui64: Eui64) -> None:
        """A device says that it is in the network."""
        self._strangers.pop(nwk, None)
        device = self._roll.find(eui64)
        if device is not None:
            self._joined(device, nwk)
            return
        removed = self._roll.was_removed(eui64)
        why = "it was removed" if removed else "it was not admitted"
        self._facts.say("hub", "device.refused", device=str(eui64), nwk=nwk, why=why)
        if removed:
            self._start(f"dismiss {eui64}", self._dismiss_removed(nwk, eui64))

    def left(self, eui64: Eui64) -> None:
        """A device left the network."""
        device = self._roll.find(eui64)
        if device is None or device.state is DeviceState.LEFT:
            return
        self._facts.say("hub", "device.left", device=str(eui64))
        self._forget(eui64)
        self._roll.left(device)
        self._on_event(DeviceLeft(eui64))

    def denied(self, eui64: Eui64) -> None:
        """The Trust Centre refused a device."""
        why = "it was not admitted"
        if self._roll.find(eui64) is not None:
            why = "joining is closed"
        elif self._roll.was_removed(eui64):
            why = "it was removed"
        self._facts.say("hub", "join.refused", device=str(eui64), why=why)

    def lost(self, why: str) -> None:
        """The dongle is gone: say so and look for it."""
        stack = self._link.cut()
        if stack is None:
            return
        self._stop_closing_joining()
        self._facts.say("radio", "radio.lost", why=why)
        self._on_event(RadioLost(why))
        self._start("reopen", self._reopen(stack))

    # Inside.

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _joined(self, device: Admitted, nwk: int) -> None:
        moved = device.state is DeviceState.JOINED and device.nwk != nwk
        is_new = device.state is not DeviceState.JOINED
        self._doorstep.spoke(device.eui64)
        self._strangers.pop(nwk, None)
        self._roll.place(device, nwk)
        if is_new:
            device.state = DeviceState.JOINED
            self._facts.say("hub", "device.joined", device=str(device.eui64), nwk=nwk)
            self._on_event(DeviceJoined(device.eui64, nwk))
            if any(self._is_awaited(each.eui64) for each in self._window.expected(self._now())):
                self._start("open routers", self._open_routers())
        elif moved:
            self._facts.say("hub", "device.moved", device=str(device.eui64), nwk=nwk)
            self._on_event(DeviceMoved(device.eui64, nwk))

    def _is_awaited(self, eui64: Eui64) -> bool:
        """Whether this device may join now and has not."""
        device = self._roll.find(eui64)
        is_out = device is not None and device.state is not DeviceState.JOINED
        return is_out and self._window.is_expected(eui64, self._now())

    async def _open_routers(self) -> None:
        """Let those join who hear a router only: the newest one was not there when joining opened."""
        seconds, stack = self._window.seconds_left(self._now()), self._link.stack
        if not seconds or stack is None:
            return
        with contextlib.suppress(DeliveryFailed, RadioBusy, RadioGone), self._link.asking(stack):
            await stack.open_routers(seconds)

    def _forget(self, eui64: Eui64) -> None:
        """What is under way with a device that is gone is of no use."""
        self._doorstep.spoke(eui64)
        self._window.forget(eui64)
        if self._establishment is not None:
            self._establishment.forget(eui64)

    def _refuse(self, device: Admitted, message: Message, why: str) -> None:
        """Drop a message that should have come under the link key, and tell its sender in the open."""
        self._facts.say("hub", "message.refused", device=str(device.eui64), cluster=message.cluster, why=why)
        try:
            frame = ZclFrame.parse(message.payload)
        except TheirError:
            return
        if not (message.is_to_many or is_default_response(frame)):
            answer = default_response(frame, self._security.refusal)
            self._start(
                f"refuse {device.eui64} {message.cluster:#06x} {frame.sequence}",
                self._say_no(device, message, answer),
            )

    async def _say_no(self, device: Admitted, message: Message, answer: bytes) -> None:
        with contextlib.suppress(HanError):
            await self._dispatch.say_openly(device, message.sender, message.cluster, answer)

    def _watch_doorstep(self) -> None:
        if self._watching_doorstep is not None:
            self._watching_doorstep.cancel()
        due = self._doorstep.timer()
        self._watching_doorstep = (
            None if due is None else asyncio.get_running_loop().call_at(due, self._still_silent)
        )

    def _still_silent(self) -> None:
        for eui64 in self._doorstep.tick(self._now()):
            why = "it was sent the network key and did not speak: its install code may be another"
            self._facts.say("hub", "join.failed", device=str(eui64), why=why)
            self._on_event(DeviceInTrouble(eui64, why))
        self._watch_doorstep()

    async def _dismiss_removed(self, nwk: int, eui64: Eui64) -> None:
        stack = self._link.stack
        if stack is not None:
            with contextlib.suppress(RadioBusy, RadioGone), self._link.asking(stack):
                await self._dismiss(stack, nwk, eui64)

    async def _dismiss(self, stack: Stack, nwk: int, eui64: Eui64) -> None:
        """Ask a device to leave. One that does not hear it, or does not want to, is refused all the same."""
        try:
            # All zeros: itself; no flags: for good.
            answer = await stack.ask(nwk, _MGMT_LEAVE_REQ, bytes(9))
        except (DeliveryError, TimeoutError) as error:
            self._facts.say("hub", "device.unreachable", device=str(eui64), why=f"asked to leave: {error}")
        else:
            status = answer[0] if answer else None
            self._facts.say("hub", "device.dismissed", device=str(eui64), status=status)

    # Keys.

    def _establishes(self, device: Admitted, zcl: bytes) -> bool:
        """Whether a frame of the Key Establishment cluster is for the machine; others ask for attributes."""
        try:
            frame = ZclFrame.parse(zcl)
        except TheirError:
            return False
        if self._establishment is None or not (frame.is_cluster_command or is_default_response(frame)):
            return False
        self._establishment.receive(device.eui64, frame)
        return True

    def _hear_outcome(self, outcome: Outcome) -> None:
        """A key establishment came to its end."""
        device = self._roll.find(outcome.peer)
        if device is None:
            return
        if isinstance(outcome, Agreed):
            device.is_secured = True
            self._on_event(DeviceSecured(device.eui64))
        else:
            self._on_event(DeviceInTrouble(device.eui64, f"key establishment failed: {outcome.why}"))

    async def _send_establishing(self, to: Eui64, zcl: bytes) -> None:
        await self.send(to, KEY_ESTABLISHMENT_CLUSTER, zcl)

    async def _keep_key(self, eui64: Eui64, key: bytes) -> None:
        if self._roll.find(eui64) is None:
            raise UnknownDevice(f"{eui64} was removed meanwhile")
        stack = self._link.working()
        with self._link.asking(stack):
            await stack.key_table.put(eui64, key)

    async def _forget_key(self, device: Admitted, why: str) -> None:
        stack = self._link.stack
        if stack is not None:
            with contextlib.suppress(RadioBusy, RadioGone), self._link.asking(stack):
                await stack.forget_old_key(device.eui64)
        self._unsecure(device, why)

    def _unsecure(self, device: Admitted, why: str) -> None:
        device.is_secured = False
        self._facts.say("hub", "keys.gone", device=str(device.eui64), why=why)
        self._on_event(DeviceUnsecured(device.eui64, why))

    async def _compare_keys(self, stack: Stack) -> None:
        """See that hub and dongle think the same of each device, and ask for a new key where they do not.

        A dongle that was exchanged or reset has lost keys that the hub counts on. A power cut between giving
        the dongle a key and noting that leaves one of which the hub knows nothing.
        """
        for device in self._roll.devices:
            is_held = await stack.key_table.has(device.eui64)
            if device.is_secured and not is_held:
                self._unsecure(device, "the dongle has it no more")
            elif device.is_secured or not (is_held and device.establishes_keys):
                continue
            if device.nwk is not None and self._establishment is not None:
                self._establishment.initiate(device.eui64)

    # Strangers, and the radio.

    def _ask_who_it_is(self, sender: int) -> None:
        """Drop a message from an address we do not know, and find out once whose it is."""
        if sender in self._strangers:
            stranger = self._strangers[sender]
            who = str(stranger) if stranger is not None else "its address is unknown"
            self._facts.say("hub", "message.refused", sender=f"{sender:#06x}", why=f"not admitted: {who}")
            return
        self._strangers[sender] = None
        self._facts.say(
            "hub", "message.refused", sender=f"{sender:#06x}", why="unknown address, asking whose"
        )
        self._start(f"identify {sender:#06x}", self._identify(sender))

    async def _identify(self, nwk: int) -> None:
        stack = self._link.stack
        if stack is None:
            self._strangers.pop(nwk, None)
            return
        eui64 = None
        with contextlib.suppress(DeliveryFailed, RadioBusy, RadioGone), self._link.asking(stack):
            eui64 = await stack.eui64_of(nwk)
            if eui64 is None:
                # Kind of answer 0 (a single device), start index 0.
                answer = await stack.ask(nwk, _IEEE_ADDR_REQ, nwk.to_bytes(2, "little") + b"\x00\x00")
                if len(answer) >= 9 and answer[0] == 0:
                    eui64 = Eui64.from_wire(answer[1:9])
        if eui64 is None:
            self._strangers.pop(nwk, None)  # ask again when it speaks again
            return
        self.announced(nwk, eui64)
        if self._roll.find(eui64) is None:
            self._strangers[nwk] = eui64

    async def _open(self, settings: RadioSettings) -> None:
        own: Sequence[Credentials] = ()

        def meet(eui64: Eui64) -> None:
            nonlocal own
            if self._establishment is None:
                own = self._security.credentials(eui64)

        stack = await open_radio(
            settings, self._network_settings, self, facts=self._facts, memory=self._memory, meet=meet
        )
        if self._establishment is None:
            self._establishment = Establishment(
                own,
                self._security.key_establishment,
                self._settings.entropy,
                Hands(self._send_establishing, self._keep_key, self._hear_outcome),
                self._facts,
            )
        # No await in between: what is lost from here on is lost by this stack.
        self._network = stack.last_network
        self._link.stack = stack

    async def _settle(self) -> None:
        """See to what a dongle that was exchanged, reset or restarted has forgotten."""
        stack = self._link.stack
        if stack is None:
            return
        with contextlib.suppress(RadioBusy, RadioGone, DeliveryFailed), self._link.asking(stack):
            self._key_rows = await stack.key_table.rows()
            self._say_if_keys_lack_rows()
            await self._compare_keys(stack)
            await self._expect_again(stack)

    def _say_if_keys_lack_rows(self) -> None:
        """Say in time that the key table is too small, and not only once a device's key is refused."""
        devices = sum(device.establishes_keys for device in self._roll.devices)
        if devices > self._key_rows:
            why = (
                f"the dongle's key table has {self._key_rows} rows, and {devices} devices need one each:"
                " remove those that are not used any more, or take a dongle with a larger table"
            )
            self._facts.say("radio", "keys.no-room", rows=self._key_rows, devices=devices, why=why)

    async def _reopen(self, old: Stack) -> None:
        """Bring the same network up again, as often as it takes."""
        await old.shutdown()
        # Never form or take over anything unasked on the way back.
        settings = replace(self._settings, adopt=False, reform=False)
        delay = _FIRST_RETRY
        while True:
            await asyncio.sleep(delay)
            try:
                await self._open(settings)
            except SurroundingsError as error:
                self._facts.say("radio", "radio.unreachable", why=str(error), next_attempt_in=delay)
                delay = min(2 * delay, _LONGEST_RETRY)
            else:
                self._facts.say("radio", "radio.back")
                self._on_event(RadioBack())
                # In a task of its own: if the dongle is lost again meanwhile, this one must be over.
                self._start(f"settle since {self._now():.3f}", self._settle())
                return

    async def _expect_again(self, stack: Stack) -> None:
        """A dongle that restarted has forgotten whom it was to let in: tell it, for the time that is left."""
        now = self._now()
        for expected in self._window.expected(now):
            eui64 = expected.eui64
            if not self._is_awaited(eui64):
                continue  # it is in, and where the key table takes both keys, its own must not be overwritten
            seconds = expected.seconds_left(now)
            await stack.admit(eui64, expected.link_key, seconds)
            self._close_joining_in(max(seconds, self._window.seconds_left(self._now())))
            why = "the dongle restarted"
            self._facts.say("hub", "join.open", device=str(eui64), seconds=seconds, why=why)

    def _close_joining_in(self, seconds: int) -> None:
        loop = asyncio.get_running_loop()
        self._stop_closing_joining()
        self._window.open_until(loop.time() + seconds)
        self._closing_joining = loop.call_later(
            seconds, lambda: self._start("close joining", self._close_joining())
        )

    def _stop_closing_joining(self) -> None:
        if self._closing_joining is not None:
            self._closing_joining.cancel()
        self._closing_joining = None
        self._window.close()

    async def _close_joining(self) -> None:
        self._stop_closing_joining()
        stack = self._link.stack
        if stack is None:
            return
        with contextlib.suppress(DeliveryFailed, RadioBusy, RadioGone), self._link.asking(stack):
            await stack.close_joining()
        self._facts.say("hub", "join.closed")

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if name in self._tasks:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))
