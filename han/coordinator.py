"""The hub's end of the home area network: admit, key, send, receive.

The coordinator knows the devices that were admitted, by EUI-64, and where each of them is at the moment. It
hands up what they send, refuses what anybody else sends, and says who joined, moved and left. The devices are
the hub's own list: zigpy neither keeps nor interviews them.

A device proves that it is in the network by its announcement or by its first message; that the Trust Centre
sent it a key proves nothing, because a device with another install code cannot read it.

When the dongle goes away, everything under way fails with `RadioGone`, and the coordinator keeps trying to
bring the same network up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from bellows.ash import NcpFailure
from bellows.exception import EzspError
from bellows.types import sl_Status
from zigpy.exceptions import ControllerException, DeliveryError

from han.errors import HanError, OurError, SurroundingsError
from han.facts import Facts
from han.network_memory import Network, NetworkMemory
from han.radio import NetworkSettings, RadioSettings, open_radio
from han.security.install_code import link_key
from han.stack import Message, Stack
from han.zcl import OTA_CLUSTER, SMART_ENERGY_PROFILE
from ota.eui64 import Eui64

LARGEST_PAYLOAD = 82
"""Octets of ZCL frame that fit one 802.15.4 frame with NWK security, direct or not, without source
routing."""
APS_SECURITY_OVERHEAD = 9
"""Octets that APS security takes of them: auxiliary header and integrity code."""

LONGEST_PERMIT = 254
"""Seconds that joining can be open at a time (Mgmt_Permit_Joining)."""

_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0

_MATCH_DESC_REQ = 0x0006
_SIMPLE_DESC_REQ = 0x0004
_IEEE_ADDR_REQ = 0x0001

_BUSY = (
    sl_Status.ZIGBEE_MAX_MESSAGE_LIMIT_REACHED,
    sl_Status.BUSY,
    sl_Status.NO_MORE_RESOURCE,
    sl_Status.ALLOCATION_FAILED,
    sl_Status.FULL,
)
_DOWN = (sl_Status.NETWORK_DOWN, sl_Status.NOT_JOINED)


class DeliveryFailed(HanError):  # noqa: N818 - it names what happened, in the words of the field
    """The device did not acknowledge the message. It may have received it all the same."""


class PayloadTooLong(OurError):  # noqa: N818 - as above
    """The message does not fit one frame; nothing was sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} octets do not fit a frame: {limit} do")
        self.size = size
        self.limit = limit


class UnknownDevice(OurError):  # noqa: N818 - as above
    """The device was not admitted, or has not joined yet; nothing was sent."""


class RadioGone(HanError):  # noqa: N818 - as above
    """There is no working dongle at the moment; the coordinator keeps looking for it."""


class RadioBusy(HanError):  # noqa: N818 - as above
    """The dongle has no room for another message; nothing was sent. Try again in a moment."""


class DeviceState(StrEnum):
    """How far a device has come."""

    ADMITTED = "admitted"
    JOINED = "joined"
    LEFT = "left"


@dataclass(slots=True)
class Admitted:
    """A device that may be in the network: what the hub keeps of it over a restart. Holds no key.

    ``endpoint`` is the one with its OTA client, None while nobody knows.
    """

    eui64: Eui64
    device_type: str
    nwk: int | None = None
    endpoint: int | None = None
    state: DeviceState = DeviceState.ADMITTED


@dataclass(frozen=True, slots=True)
class DeviceJoined:
    """An admitted device is in the network (for the first time, or again after it had left)."""

    eui64: Eui64
    nwk: int


@dataclass(frozen=True, slots=True)
class DeviceMoved:
    """A device has a new short address."""

    eui64: Eui64
    nwk: int


@dataclass(frozen=True, slots=True)
class DeviceLeft:
    """A device left the network."""

    eui64: Eui64


@dataclass(frozen=True, slots=True)
class RadioLost:
    """The dongle is gone."""

    why: str


@dataclass(frozen=True, slots=True)
class RadioBack:
    """The dongle and the network are there again."""


Event = DeviceJoined | DeviceMoved | DeviceLeft | RadioLost | RadioBack


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a device says of the endpoint with its OTA client."""

    endpoint: int
    profile: int
    device_id: int
    input_clusters: tuple[int, ...]
    output_clusters: tuple[int, ...]


OnMessage = Callable[[Eui64, int, bytes, bool], None]
OnEvent = Callable[[Event], None]


class Coordinator:
    """A running network and the devices in it. Made by `start`."""

    def __init__(
        self,
        settings: RadioSettings,
        *,
        network: NetworkSettings,
        devices: Sequence[Admitted],
        facts: Facts,
        on_message: OnMessage,
        on_event: OnEvent,
    ) -> None:
        self._settings = settings
        self._network_settings = network
        self._memory = NetworkMemory(settings.state)
        self._facts = facts
        self._on_message = on_message
        self._on_event = on_event
        self._devices = {device.eui64: device for device in devices}
        self._by_nwk = {device.nwk: device for device in devices if device.nwk is not None}
        self._endpoints: dict[tuple[Eui64, int], int] = {}
        self._strangers: dict[int, Eui64 | None] = {}
        self._stack: Stack | None = None
        self._network: Network | None = None
        self._closing_joining: asyncio.TimerHandle | None = None
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
    ) -> Self:
        """Open the radio and bring the network up.

        Args:
            settings: which radio, and how far to go with a network that is on it.
            network: the network to form if there is none.
            devices: those admitted before, as `devices` gave them.
            facts: where everything that happens is said.
            on_message: called with sender, cluster, ZCL frame and whether it came under APS security.
            on_event: called with each `Event`.

        Raises:
            OurError: if the settings cannot be.
            SurroundingsError: as `han.radio.open_radio`.
        """
        coordinator = cls(
            settings, network=network, devices=devices, facts=facts, on_message=on_message, on_event=on_event
        )
        await coordinator._open(settings)
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
        return self._stack is not None

    @property
    def devices(self) -> list[Admitted]:
        """All admitted devices, in the order of their admission."""
        return list(self._devices.values())

    async def close(self) -> None:
        """Let the dongle go. The network stays in it, and the devices stay in the network."""
        if self._closing_joining is not None:
            self._closing_joining.cancel()
        for task in [*self._tasks.values()]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.shutdown()

    async def admit(
        self, eui64: Eui64, install_code: bytes, device_type: str, seconds: int = LONGEST_PERMIT
    ) -> None:
        """Let one device join, with the key of its install code and no other, within ``seconds``.

        Args:
            eui64: which device.
            install_code: the code from its label, with its CRC.
            device_type: in GB words, such as ``PPMID``; kept for the hub.
            seconds: 1 to 254. Another call may prolong the time that is left, and never shortens it.

        Raises:
            han.security.errors.InstallCodeError: if the code is none.
            OurError: if ``seconds`` is out of range.
            RadioGone, RadioBusy: if the dongle could not be told.
        """
        if not 1 <= seconds <= LONGEST_PERMIT:
            raise OurError(f"joining can be open for 1 to {LONGEST_PERMIT} seconds, not {seconds}")
        key = link_key(install_code)
        stack = self._working()
        # The dongle has one window for all: a shorter one would shut out who was admitted before.
        seconds = max(seconds, self._seconds_left())
        try:
            with self._asking(stack):
                await stack.admit(eui64, key, seconds)
        except HanError:
            # Half of it may have been done; whoever was admitted before keeps the time that is left.
            self._close_joining_in(self._seconds_left())
            raise
        device = self._devices.setdefault(eui64, Admitted(eui64, device_type))
        device.device_type = device_type
        self._facts.say("hub", "join.open", device=str(eui64), device_type=device_type, seconds=seconds)
        self._close_joining_in(seconds)

    async def send(
        self, to: Eui64, cluster: int, zcl: bytes, *, aps_ack: bool = True, aps_security: bool = False
    ) -> None:
        """Send a ZCL frame to a device, and return once it has acknowledged it.

        It goes to the endpoint that last spoke of this cluster, else to the one found by `discover`. Without
        ``aps_ack`` the first hop's acknowledgement counts.

        Raises:
            DeliveryFailed: it was not acknowledged; it may have arrived all the same.
            PayloadTooLong: it does not fit a frame; nothing was sent.
            UnknownDevice: it was not admitted or has not joined; nothing was sent.
            RadioBusy: the dongle has no room; nothing was sent.
            RadioGone: there is no dongle.
        """
        device = self._devices.get(to)
        if device is None:
            raise UnknownDevice(f"{to} was not admitted")
        if device.nwk is None:
            raise UnknownDevice(f"{to} has not joined yet")
        limit = LARGEST_PAYLOAD - (APS_SECURITY_OVERHEAD if aps_security else 0)
        if len(zcl) > limit:
            raise PayloadTooLong(len(zcl), limit)
        stack = self._working()
        endpoint = self._endpoints.get((to, cluster), device.endpoint) or await self._found(device)
        with self._asking(stack, len(zcl)):
            await stack.send(device.nwk, endpoint, cluster, zcl, aps_ack=aps_ack, aps_security=aps_security)

    async def _found(self, device: Admitted) -> int:
        """The endpoint of a device that has not spoken yet."""
        if device.endpoint is None:
            await self.discover(device.eui64)
        if device.endpoint is None:
            raise DeliveryFailed(f"{device.eui64} has no endpoint with an OTA client")
        return device.endpoint

    async def discover(self, eui64: Eui64) -> Discovered | None:
        """Ask a device which of its endpoints has the OTA client, and note it; None if none has.

        Raises:
            UnknownDevice: it was not admitted or has not joined.
            DeliveryFailed: it did not answer.
            RadioBusy, RadioGone: as `send`.
        """
        device = self._devices.get(eui64)
        if device is None or device.nwk is None:
            raise UnknownDevice(f"{eui64} is not in the network")
        nwk = device.nwk.to_bytes(2, "little")
        wanted = SMART_ENERGY_PROFILE.to_bytes(2, "little") + b"\x00\x01" + OTA_CLUSTER.to_bytes(2, "little")
        stack = self._working()
        with self._asking(stack):
            matches = await stack.ask(device.nwk, _MATCH_DESC_REQ, nwk + wanted)
            if len(matches) < 5 or matches[0] != 0:
                return None
            description = await stack.ask(device.nwk, _SIMPLE_DESC_REQ, nwk + matches[4:5])
        found = _simple_descriptor(description)
        if found is not None:
            device.endpoint = found.endpoint
            self._facts.say(
                "hub",
                "device.discovered",
                device=str(eui64),
                endpoint=found.endpoint,
                device_id=found.device_id,
            )
        return found

    # What the radio hears. See `han.stack.Listener`.

    def message(self, message: Message) -> None:
        """A Smart Energy message arrived."""
        device = self._by_nwk.get(message.sender)
        if device is None:
            self._ask_who_it_is(message.sender)
            return
        if device.state is not DeviceState.JOINED:
            self._joined(device, message.sender)
        self._endpoints[device.eui64, message.cluster] = message.source_endpoint
        self._on_message(device.eui64, message.cluster, message.payload, message.aps_secured)

    def stray(self, sender: int, why: str) -> None:
        """A packet that is none of ours was dropped."""
        self._facts.say("hub", "message.refused", sender=f"{sender:#06x}", why=why)

    def keyed(self, nwk: int, eui64: Eui64) -> None:
        """The Trust Centre let a device in, or saw it come back."""
        device = self._devices.get(eui64)
        self._facts.say("hub", "join.keyed", device=str(eui64), nwk=nwk, admitted=device is not None)
        # Anybody may claim an address to the Trust Centre; a device that is in stays where it proved to be.
        if device is not None and device.state is not DeviceState.JOINED:
            self._place(device, nwk)

    def announced(self, nwk: int, eui64: Eui64) -> None:
        """A device says that it is in the network."""
        self._strangers.pop(nwk, None)
        device = self._devices.get(eui64)
        if device is None:
            self._facts.say("hub", "device.refused", device=str(eui64), nwk=nwk, why="it was not admitted")
            return
        self._joined(device, nwk)

    def left(self, eui64: Eui64) -> None:
        """A device left the network."""
        device = self._devices.get(eui64)
        if device is None or device.state is DeviceState.LEFT:
            return
        self._facts.say("hub", "device.left", device=str(eui64))
        if device.nwk is not None and self._by_nwk.get(device.nwk) is device:
            del self._by_nwk[device.nwk]
        device.nwk = None
        device.state = DeviceState.LEFT
        self._on_event(DeviceLeft(eui64))

    def denied(self, eui64: Eui64) -> None:
        """The Trust Centre refused a device."""
        why = "joining is closed" if eui64 in self._devices else "it was not admitted"
        self._facts.say("hub", "join.refused", device=str(eui64), why=why)

    def lost(self, why: str) -> None:
        """The dongle is gone: say so and look for it."""
        stack, self._stack = self._stack, None
        if stack is None:
            return
        if self._closing_joining is not None:
            self._closing_joining.cancel()
        self._facts.say("radio", "radio.lost", why=why)
        self._on_event(RadioLost(why))
        self._start("reopen", self._reopen(stack))

    # Inside.

    def _joined(self, device: Admitted, nwk: int) -> None:
        moved = device.state is DeviceState.JOINED and device.nwk != nwk
        is_new = device.state is not DeviceState.JOINED
        self._place(device, nwk)
        if is_new:
            device.state = DeviceState.JOINED
            self._facts.say("hub", "device.joined", device=str(device.eui64), nwk=nwk)
            self._on_event(DeviceJoined(device.eui64, nwk))
        elif moved:
            self._facts.say("hub", "device.moved", device=str(device.eui64), nwk=nwk)
            self._on_event(DeviceMoved(device.eui64, nwk))

    def _place(self, device: Admitted, nwk: int) -> None:
        """Note where a device is; whoever was thought to be there is somewhere else."""
        if device.nwk is not None and self._by_nwk.get(device.nwk) is device:
            del self._by_nwk[device.nwk]
        previous = self._by_nwk.get(nwk)
        if previous is not None:
            previous.nwk = None
        device.nwk = nwk
        self._by_nwk[nwk] = device
        self._strangers.pop(nwk, None)

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
        stack = self._stack
        if stack is None:
            self._strangers.pop(nwk, None)
            return
        eui64 = None
        with contextlib.suppress(DeliveryFailed, RadioBusy, RadioGone), self._asking(stack):
            eui64 = await stack.eui64_of(nwk)
            if eui64 is None:
                # Kind of answer 0 (a single device), start index 0.
                answer = await stack.ask(nwk, _IEEE_ADDR_REQ, nwk.to_bytes(2, "little") + b"\x00\x00")
                if len(answer) >= 9 and answer[0] == 0:
                    eui64 = Eui64.from_wire(answer[1:9])
        if eui64 is None:
            self._strangers.pop(nwk, None)  # ask again when it speaks again
            return
        device = self._devices.get(eui64)
        if device is None:
            self._strangers[nwk] = eui64
            self._facts.say("hub", "device.refused", device=str(eui64), nwk=nwk, why="it was not admitted")
            return
        self._joined(device, nwk)

    async def _open(self, settings: RadioSettings) -> None:
        stack = await open_radio(
            settings, self._network_settings, self, facts=self._facts, memory=self._memory
        )
        # No await in between: what is lost from here on is lost by this stack.
        self._network = stack.last_network
        self._stack = stack

    async def _reopen(self, old: Stack) -> None:
        """Bring the same network up again, as often as it takes."""
        await old.shutdown()
        # Never form or take over anything unasked on the way back.
        settings = RadioSettings(
            self._settings.url,
            self._settings.state,
            watchdog_period=self._settings.watchdog_period,
            entropy=self._settings.entropy,
        )
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
                return

    def _working(self) -> Stack:
        if self._stack is None:
            raise RadioGone("the dongle is gone; the hub keeps looking for it")
        return self._stack

    @contextlib.contextmanager
    def _asking(self, stack: Stack, size: int = 0) -> Iterator[None]:
        """Turn what bellows and zigpy raise while they talk to the dongle into the errors of this module."""
        try:
            yield
        except DeliveryError as error:
            match error.status:
                case sl_Status.MESSAGE_TOO_LONG:
                    raise PayloadTooLong(size, size - 1) from error
                case status if status in _BUSY:
                    raise RadioBusy("the dongle has no room for another message") from error
                case status if status in _DOWN:
                    raise RadioGone("the dongle's network is down") from error
                case _:
                    raise DeliveryFailed(str(error)) from error
        except TimeoutError as error:
            raise DeliveryFailed("the dongle did not say in time how the message went") from error
        except (EzspError, NcpFailure, ControllerException) as error:
            raise RadioGone(f"the dongle is gone ({error})") from error
        except (AttributeError, RuntimeError) as error:
            # bellows drops its inner parts when the connection goes: then these mean no more than that.
            if stack is self._stack:
                raise
            raise RadioGone("the dongle went away under way") from error

    def _seconds_left(self) -> int:
        """For how long joining is still open."""
        if self._closing_joining is None or self._closing_joining.cancelled():
            return 0
        left = self._closing_joining.when() - asyncio.get_running_loop().time()
        return min(LONGEST_PERMIT, math.ceil(left))

    def _close_joining_in(self, seconds: int) -> None:
        if self._closing_joining is not None:
            self._closing_joining.cancel()
        self._closing_joining = asyncio.get_running_loop().call_later(
            seconds, lambda: self._start("close joining", self._close_joining())
        )

    async def _close_joining(self) -> None:
        self._closing_joining = None
        stack = self._stack
        if stack is None:
            return
        with contextlib.suppress(DeliveryFailed, RadioBusy, RadioGone), self._asking(stack):
            await stack.close_joining()
        self._facts.say("hub", "join.closed")

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if name in self._tasks:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))


def _simple_descriptor(answer: bytes) -> Discovered | None:
    """Read a Simple_Desc_rsp: status, address, length, then the descriptor; None if it is none."""
    if len(answer) < 12 or answer[0] != 0:
        return None
    body = answer[4:]
    inputs = body[7 : 7 + 2 * body[6]]
    rest = body[7 + 2 * body[6] :]
    if len(inputs) != 2 * body[6] or not rest or len(rest) < 1 + 2 * rest[0]:
        return None
    return Discovered(
        body[0],
        int.from_bytes(body[1:3], "little"),
        int.from_bytes(body[3:5], "little"),
        _clusters(inputs),
        _clusters(rest[1 : 1 + 2 * rest[0]]),
    )


def _clusters(octets: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(octets[at : at + 2], "little") for at in range(0, len(octets), 2))
