"""Where the head end's messages are answered: one decision each, one Response each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from han.coordinator import RadioBusy, RadioGone, UnknownDevice
from han.errors import HanError, OurError, TheirError
from han.facts import Facts
from han.security.errors import InstallCodeError
from hub.activation import Activation, TooBusy
from hub.custody import Custody
from hub.devices import Devices
from hub.house import House
from hub.memory import KnownDevice
from hub.messages import (
    VERBS,
    ActivateRequest,
    ConfigureRequest,
    DevicesRequest,
    Envelopes,
    ImageChunk,
    ImageOffer,
    ImageWanted,
    JoinRequest,
    Message,
    MessageError,
    ReadVersionRequest,
    RemoveRequest,
    Response,
    SwitchKeyRequest,
    TransferRequest,
    open_message,
    split_topic,
)
from hub.orders import Orders
from hub.outbox import Outbox
from hub.questions import Unanswered
from hub.serving import Serving
from hub.slot import Accepted, Expired, Held, Joined, Lost, MovedToMemory, Preempted, Refused, Stage
from hub.transfers import Transfers
from hub.version_reading import VersionReading
from ota.eui64 import Eui64


class _JustAnId(msgspec.Struct):
    """What can be read of a request that is otherwise malformed."""

    id: str = ""


class _Refusal(Exception):  # noqa: N818 - it names what happened
    """Why a request is not for this hub to fulfil; ``code`` says it in the contract's words."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Staff:
    """Whom the desk asks."""

    custody: Custody
    devices: Devices
    serving: Serving
    transfers: Transfers
    orders: Orders
    activation: Activation
    versions: VersionReading
    outbox: Outbox
    house: House


class Desk:
    """Takes requests, offers and chunks.

    Args:
        staff: see Staff.
        facts: where "request.*" is said.
        envelopes: for the answers.
        changed: called when what the head end is shown has changed.
    """

    def __init__(
        self, staff: Staff, *, facts: Facts, envelopes: Envelopes, changed: Callable[[], None]
    ) -> None:
        self._staff = staff
        self._facts = facts
        self._envelopes = envelopes
        self._changed = changed
        self._waits_for_somebody: dict[type[Message], Callable[[Any], Coroutine[Any, Any, None]]] = {
            JoinRequest: self._join,
            RemoveRequest: self._remove,
            SwitchKeyRequest: self._switch_key,
            ReadVersionRequest: self._read_version,
        }
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def receive(self, topic: str, payload: bytes) -> None:
        """Take one message from the broker.

        Raises:
            MessageError: if it breaks the contract; whoever sent it has then been answered.
        """
        try:
            _, message = open_message(topic, payload)
        except MessageError as error:
            self._answer_malformed(topic, payload, error)
            raise
        match message:
            case ImageChunk():
                self._chunk(message)
            case ImageOffer():
                self._offer(message)
            case ActivateRequest():
                self._activate(message)
            case DevicesRequest():
                listed = self._staff.devices.entries(self._staff.transfers.entry)
                self._say(self._response("devices", message, more={"devices": listed}))
            case TransferRequest() | ConfigureRequest():
                self._order(message)
            case _:
                work = self._waits_for_somebody.get(type(message))
                if work is None:
                    raise MessageError(f"{type(message).__name__} is for a hub to send")
                self._in_its_own_time(message, work(message))

    def stop(self) -> None:
        """Forget the requests that are under way."""
        for task in self._under_way.values():
            task.cancel()

    def let_go(self, image_id: str, held: Held, why: str) -> None:
        """An image has left its slot: tell its devices and its sender."""
        self._staff.serving.withdraw(image_id)
        self._staff.transfers.let_go(held)
        if held.stage is Stage.ARRIVING:
            for request_id in dict.fromkeys(each.request_id for each in held.assignments):
                self._say(
                    ImageWanted(
                        image_id=image_id,
                        offset=0,
                        complete=False,
                        code="discarded",
                        reason=why,
                        request_id=request_id,
                        **self._envelopes.stamp(),
                    )
                )

    def _offer(self, offer: ImageOffer) -> None:
        staff = self._staff
        for decision in staff.custody.offer(offer):
            match decision:
                case Refused(why=why, code=code):
                    self._say(self._response("offer", offer, code=code, reason=why))
                case Preempted(victim=victim, why=why):
                    self.let_go(victim.image_id, victim, why)
                case Accepted():
                    self._say(self._response("offer", offer), staff.custody.stand(offer.image_id))
                case Joined(image=image, added=added):
                    if image.stage is Stage.STORED and added:
                        staff.serving.offer(image, added)
                    self._say(self._response("offer", offer), staff.custody.stand(offer.image_id))
                case Expired() | MovedToMemory() | Lost():
                    pass
        self._changed()

    def _chunk(self, chunk: ImageChunk) -> None:
        before = self._staff.custody.held(chunk.image_id)
        wanted, stored = self._staff.custody.take(chunk)
        self._say(wanted)
        if stored is not None:
            self._staff.serving.offer(stored, stored.assignments)
        if stored is not None or self._staff.custody.held(chunk.image_id) is not before:
            self._changed()

    def _activate(self, request: ActivateRequest) -> None:
        refusal = self._objection(request)
        if refusal is None:
            self._say(self._response("activate", request))
            return
        self._facts.say("hub", "request.refused", verb="activate", device=request.device, why=refusal[1])
        self._say(self._response("activate", request, code=refusal[0], reason=refusal[1]))

    def _objection(self, request: ActivateRequest) -> tuple[str, str] | None:
        """Pass the command on; or why it goes to no device, as code and words."""
        try:
            device = self._reachable(Eui64.parse(request.device))
        except _Refusal as refusal:
            return refusal.code, str(refusal)
        if device.device_type in {"PPMID", "IHD"}:
            return "unsupported-device-type", f"11.3 is not for a {device.device_type}"
        try:
            match self._staff.activation.activate(request):
                case "ended":
                    return "ended", f"request {request.request_id} has ended here: use a new one"
                case TooBusy(why=why):
                    return "too-busy", why
                case _:
                    return None
        except TheirError as error:
            return "malformed", str(error)

    def _order(self, order: TransferRequest | ConfigureRequest) -> None:
        if isinstance(order, TransferRequest):
            verb, said, verdict = "transfer", {"action": order.action}, self._staff.orders.transfer(order)
        else:
            verdict = self._staff.orders.configure(order)
            verb, said = "configure", {"terms": msgspec.to_builtins(order.terms)}
        self._facts.say(
            "hub", f"request.{verb}", device=order.device, code=verdict.code, why=verdict.why, **said
        )
        more = {"terms": verdict.terms}
        self._say(self._response(verb, order, code=verdict.code, reason=verdict.why, more=more))

    async def _join(self, request: JoinRequest) -> None:
        device = Eui64.parse(request.device)
        code, why = "ok", ""
        try:
            if device in {self._staff.house.eui64, 0, 0xFFFF_FFFF_FFFF_FFFF}:
                raise OurError(f"{device} is no address of a device")
            install_code = bytes.fromhex(request.install_code)
            admitted = await self._staff.house.admit(
                device,
                install_code,
                request.device_type,
                request.seconds,
                establishes_keys=request.key_establishment,
            )
        except (RadioGone, RadioBusy) as error:
            code, why = "radio-down", str(error)
        except InstallCodeError as error:
            code, why = "malformed", str(error)
        except HanError as error:
            code, why = "refused", str(error)
        else:
            self._staff.devices.admitted(admitted)
        self._facts.say("hub", "request.join", device=str(device), code=code, why=why)
        self._say(self._response("join", request, code=code, reason=why))

    async def _remove(self, request: RemoveRequest) -> None:
        device = Eui64.parse(request.device)
        code, why = "ok", ""
        try:
            await self._staff.house.remove(device)
        except (RadioGone, RadioBusy) as error:
            code, why = "radio-down", str(error)
        except UnknownDevice as error:
            code, why = "unknown-device", str(error)
        else:
            self._staff.devices.removed(device)
            self._staff.serving.removed(device)
            self._staff.transfers.removed(device)
            self._staff.activation.removed(device)
        self._facts.say("hub", "request.remove", device=str(device), code=code, why=why)
        self._say(self._response("remove", request, code=code, reason=why))

    async def _switch_key(self, request: SwitchKeyRequest) -> None:
        code, why = "ok", ""
        try:
            await self._staff.house.switch_network_key(by_broadcast=request.broadcast)
        except (RadioGone, RadioBusy) as error:
            code, why = "radio-down", str(error)
        except HanError as error:
            code, why = "refused", str(error)
        self._facts.say("hub", "request.switch-key", code=code, why=why)
        self._say(self._response("switch-key", request, code=code, reason=why))

    async def _read_version(self, request: ReadVersionRequest) -> None:
        device = Eui64.parse(request.device)
        try:
            reading = await self._staff.versions.read(self._reachable(device), bytes.fromhex(request.gbcs))
        except (_Refusal, Unanswered) as error:
            self._refuse_reading(request, error.code, str(error))
            return
        except TheirError as error:
            self._refuse_reading(request, "malformed", str(error))
            return
        more = {"source": reading.source, "gbcs": reading.gbcs.hex()}
        if reading.version is None:
            self._refuse_reading(
                request, "refused", "the device answers that it cannot read its version", more
            )
            return
        version = f"{reading.version:08X}"
        self._staff.devices.runs(device, reading.version)
        self._facts.say("hub", "version.read", device=str(device), version=version, source=reading.source)
        self._say(self._response("read-version", request, more={"file_version": version, **more}))

    def _refuse_reading(
        self,
        request: ReadVersionRequest,
        code: str,
        why: str,
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self._facts.say("hub", "request.refused", verb="read-version", device=request.device, why=why)
        self._say(self._response("read-version", request, code=code, reason=why, more=more))

    def _reachable(self, device: Eui64) -> KnownDevice:
        """The device, if a command can reach it.

        Raises:
            _Refusal: if it was never admitted, was removed, or has left.
        """
        known = self._staff.devices.find(device)
        if known is None:
            gone = device in self._staff.custody.memory.removed
            why = "was removed from this HAN" if gone else "was never admitted to this HAN"
            raise _Refusal("unknown-device", f"{device} {why}: join it first")
        if known.state == "left":
            raise _Refusal("unreachable", f"{device} has left this HAN: let it come back, or join it anew")
        return known

    def _in_its_own_time(self, request: Message, work: Coroutine[Any, Any, None]) -> None:
        """Do what waits for a device beside the other requests; the same request again changes nothing."""
        if request.id in self._under_way:
            work.close()
            return
        task = asyncio.create_task(work, name=f"request {request.id}")
        self._under_way[request.id] = task
        task.add_done_callback(lambda _: self._under_way.pop(request.id, None))

    def _answer_malformed(self, topic: str, payload: bytes, error: MessageError) -> None:
        """Whoever asked hears why, if it can be made out what was asked."""
        with contextlib.suppress(MessageError):
            _, below = split_topic(topic)
            asked = _JustAnId()
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                asked = msgspec.json.decode(payload, type=_JustAnId)
            verb = below.removeprefix("request/")
            if verb in VERBS:
                self._say(self._made(verb, asked.id[:512], "malformed", str(error), {}))

    def _response(
        self,
        verb: str,
        request: Message,
        code: str = "ok",
        reason: str = "",
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> Response:
        about = {"request_id": getattr(request, "request_id", "")}
        return self._made(verb, request.id, code, reason, {**about, **more})

    def _made(
        self, verb: str, in_reply_to: str, code: str, reason: str, more: Mapping[str, object]
    ) -> Response:
        # Converted, not constructed: the verb and the code are what the contract allows, or it fails here.
        fields = {"verb": verb, "in_reply_to": in_reply_to, "ok": code == "ok", "code": code}
        return msgspec.convert(
            {**fields, "reason": reason[:512], **more, **self._envelopes.stamp()}, Response
        )

    def _say(self, *messages: Message | None) -> None:
        self._staff.outbox.put(*[each for each in messages if each is not None])
