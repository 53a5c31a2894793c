"""The CSP model: the pump around the carriages.

It carries each open errand of the store to its Communications Hub over MQTT, keeps the count of attempts
there, and hands every end of an errand to the DSP as a notice. One task does all sending, so that what
leaves for the broker leaves in one order.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from han.clock import Utc
from han.facts import Facts
from han.gbcs.codes import ANSWERS_CS08
from han.gbcs.messages import activate_firmware, read_firmware_version
from han.gbcs.payloads import ActivateFirmwareCommand
from hub.dcc.carriage import (
    CarriageSettings,
    CommandCarriage,
    Finished,
    ImageCarriage,
    Line,
    Postponed,
    SendChunk,
    SendCommand,
    SendOffer,
)
from hub.dcc.controls import Service
from hub.dcc.delivery import DELIVERY, Delivery
from hub.dcc.post import Post
from hub.dcc.proof import Belief, Trust, examine_reading
from hub.dcc.records import Errand, KeptRequest, Notice, Part, StoryLine
from hub.dcc.store import Change, Store
from hub.dcc.wait import Alarm
from hub.errors import OurError
from hub.messages import (
    ActivateRequest,
    Envelopes,
    ImageChunk,
    ImageOffer,
    ImageWanted,
    Message,
    ReadVersionRequest,
    Response,
    Target,
    encode,
    topic_of,
)
from ota.eui64 import Eui64
from ota.gbcs_image import replaces

_Carriage = ImageCarriage | CommandCarriage


class Csp:
    """Carries errands.

    Args:
        post: our place at the broker.
        store: where errands, images and attempts are kept.
        settings: the model of the WAN.
        trust: by whose keys the answers of devices are checked.
        envelopes: ids, times and sequence numbers for what is sent.
        utc: the one clock.
        facts: where "csp.asked", "csp.chunk", "csp.answered", "csp.postponed" and "csp.finished" are said.
        on_notice: takes each delivery notice; called once an errand is finished in the store.
    """

    def __init__(
        self,
        post: Post,
        store: Store,
        settings: CarriageSettings,
        trust: Trust,
        *,
        envelopes: Envelopes,
        utc: Utc,
        facts: Facts,
        on_notice: Callable[[Change, Notice], None],
    ) -> None:
        self._post = post
        self._store = store
        self._settings = settings
        self._trust = trust
        self._envelopes = envelopes
        self._utc = utc
        self._facts = facts
        self._on_notice = on_notice
        self._carriages: dict[str, _Carriage] = {}
        self._lines: dict[Eui64, Line] = {}
        self._images: dict[str, bytes] = {}
        self._outgoing: deque[tuple[Errand, SendOffer | SendCommand | SendChunk]] = deque()
        self._alarm = Alarm(utc)

    def resume(self) -> None:
        """Take up every errand that the store says is open, at once: a hub that still waits should not."""
        with self._store.change() as change:
            errands = change.errands.open()
        for errand in errands:
            self.carry(errand)
            self._carriages[errand.errand_id].hub_appeared(self._utc.seconds())

    def carry(self, errand: Errand) -> None:
        """Begin an errand that is open in the store."""
        if errand.image_id is None:
            self._carriages[errand.errand_id] = CommandCarriage(errand, self._settings)
        else:
            line = self._lines.setdefault(errand.hub, Line(self._settings))
            size = len(self._image(errand.image_id))
            self._carriages[errand.errand_id] = ImageCarriage(errand, size, self._settings, line)
        self._alarm.ring()

    def abandon(self, change: Change, request_id: str, hub: Eui64) -> None:
        """Stop carrying what no device waits for any more."""
        for errand_id, carriage in list(self._carriages.items()):
            if (carriage.errand.request_id, carriage.errand.hub) == (request_id, hub):
                self._drop(errand_id)
                change.errands.finish(errand_id, "abandoned")

    def receive(self, hub: Eui64, message: Response | ImageWanted) -> None:
        """What a hub answered. When this returns, what follows from it is in the store."""
        now = self._utc.seconds()
        for carriage in list(self._carriages.values()):
            if carriage.errand.hub != hub or not _concerns(message, carriage.errand):
                continue
            if isinstance(message, Response):
                believed = self._believed(carriage.errand, message)
                if believed is None:
                    continue
                carriage.receive_response(believed, now)
            elif isinstance(carriage, ImageCarriage):
                carriage.receive_wanted(message, now)
            self._absorb(carriage)
        self._alarm.ring()

    def _believed(self, errand: Errand, response: Response) -> Response | None:
        """The answer, marked if it cannot be verified; None, after telling of it, if it does not hold."""
        if not response.gbcs:
            return response
        request, part = self._asked(errand)
        finding = examine_reading(response, part.device, request.originator_counter, self._trust)
        if finding.belief is not Belief.REFUSED:
            self._facts.say(
                "csp",
                "csp.answered",
                hub=str(errand.hub),
                request=errand.request_id,
                service=errand.service.value,
                device=str(part.device),
                gbcs=response.gbcs,
            )
        if finding.belief is Belief.PROVEN:
            return response
        if finding.belief is Belief.UNVERIFIED:
            return msgspec.structs.replace(response, reason=f"unverified: {finding.why}")
        self._facts.say(
            "dsp",
            "alert.refused",
            kind=f"response/{response.verb}",
            code=response.source,
            device=str(part.device),
            hub=str(errand.hub),
            id=response.id,
            why=finding.why,
            gbcs=response.gbcs,
        )
        with self._store.change() as change:
            change.story.tell(
                StoryLine(
                    request_id=errand.request_id,
                    device=part.device,
                    at=self._utc.seconds(),
                    event="answer refused",
                    code=response.source,
                    text=finding.why,
                )
            )
        return None

    def hub_appeared(self, hub: Eui64) -> None:
        """A hub came (back) to the network: try its errands at once."""
        now = self._utc.seconds()
        for carriage in self._carriages.values():
            if carriage.errand.hub == hub:
                carriage.hub_appeared(now)
        self._alarm.ring()

    async def run(self) -> None:
        """Carry, until cancelled."""
        while True:
            now = self._utc.seconds()
            for carriage in list(self._carriages.values()):
                carriage.tick(now)
                self._absorb(carriage)
            while self._outgoing:
                await self._send(*self._outgoing.popleft())
            timers = [carriage.timer() for carriage in self._carriages.values()]
            await self._alarm.wait(min((timer for timer in timers if timer is not None), default=None))

    def _absorb(self, carriage: _Carriage) -> None:
        """Keep what a carriage concluded, at once; line up what it has to send."""
        for said in carriage.drain():
            match said:
                case SendOffer() | SendCommand() | SendChunk():
                    self._outgoing.append((carriage.errand, said))
                case Postponed():
                    self._postpone(carriage.errand, said)
                case Finished():
                    self._finish(carriage.errand, said)

    async def _send(self, errand: Errand, said: SendOffer | SendCommand | SendChunk) -> None:
        if errand.errand_id not in self._carriages:
            return  # over, or abandoned, while the broker was slow
        message = self._message(errand, said)
        if isinstance(message, ImageChunk):
            self._facts.say(
                "csp", "csp.chunk", hub=str(errand.hub), image=message.image_id, offset=message.offset
            )
        else:
            self._facts.say(
                "csp",
                "csp.asked",
                hub=str(errand.hub),
                request=errand.request_id,
                service=errand.service.value,
                **_whole(message),
            )
        await self._post.publish(topic_of(errand.hub, message), encode(message))

    def _message(self, errand: Errand, said: SendOffer | SendCommand | SendChunk) -> Message:
        match said:
            case SendChunk(offset, length):
                return self._chunk(errand, offset, length)
            case SendCommand(round_):
                return self._command(errand, f"{errand.errand_id}#{round_}")
            case SendOffer():
                return self._offer(errand)

    def _chunk(self, errand: Errand, offset: int, length: int) -> ImageChunk:
        assert errand.image_id is not None
        data = self._image(errand.image_id)[offset : offset + length]
        return ImageChunk(
            image_id=errand.image_id,
            offset=offset,
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            **self._envelopes.stamp(),
        )

    def _offer(self, errand: Errand) -> ImageOffer:
        assert errand.image_id is not None
        image = self._image(errand.image_id)
        with self._store.change() as change:
            parts = [part for part in change.parts.of(errand.request_id) if part.hub == errand.hub]
        return ImageOffer(
            request_id=errand.request_id,
            service_request="11.4" if errand.service is Service.UPDATE_PPMID_FIRMWARE else "11.1",
            image_id=errand.image_id,
            file_version=parts[0].version,
            size=len(image),
            force_replace=replaces(image, parts[0].device_type),
            chunk_size=self._settings.chunk_size,
            targets=tuple(
                Target(device=str(part.device), device_type=part.device_type)
                for part in parts
                if part.result is None
            ),
            **self._envelopes.stamp(),
        )

    def _command(self, errand: Errand, message_id: str) -> ActivateRequest | ReadVersionRequest:
        request, part = self._asked(errand)
        stamp = self._envelopes.stamp(message_id)
        device, counter = part.device, request.originator_counter
        assert counter is not None
        if errand.service is Service.READ_FIRMWARE_VERSION:
            by_message = part.device_type in ANSWERS_CS08
            gbcs = read_firmware_version(device, counter).to_bytes().hex() if by_message else ""
            return ReadVersionRequest(request_id=errand.request_id, device=str(device), gbcs=gbcs, **stamp)
        assert request.image_hash is not None
        when = request.execution_time
        command = ActivateFirmwareCommand(
            bytes.fromhex(request.image_hash),
            counter,
            None if when is None else datetime.fromtimestamp(when, UTC),
        )
        # The Supplier signs its pre-command, the ACB puts the MAC to it: both are lab parties in this stub.
        message = activate_firmware(device, command).to_bytes()
        return ActivateRequest(request_id=errand.request_id, device=str(device), gbcs=message.hex(), **stamp)

    def _asked(self, errand: Errand) -> tuple[KeptRequest, Part]:
        with self._store.change() as change:
            request = change.requests.get(errand.request_id)
            parts = change.parts.of(errand.request_id)
        if request is None or not parts:
            raise OurError(
                f"errand {errand.errand_id} belongs to no request: the database has been tampered with"
            )
        return request, parts[0]

    def _postpone(self, errand: Errand, said: Postponed) -> None:
        with self._store.change() as change:
            change.errands.put_attempts(
                errand.errand_id,
                first_at=said.first_at,
                failures=said.failures,
                next_at=said.next_at,
                round_=said.round,
            )
        self._facts.say(
            "csp",
            "csp.postponed",
            hub=str(errand.hub),
            request=errand.request_id,
            why=said.reason,
            code=said.code,
            failures=said.failures,
            next_in=round(said.next_at - self._utc.seconds(), 3),
        )

    def _finish(self, errand: Errand, said: Finished) -> None:
        self._drop(errand.errand_id)
        delivery = Delivery(
            request_id=errand.request_id,
            happening=said.happening,
            code=said.code,
            reason=said.reason,
            file_version=said.file_version,
        )
        notice = Notice(
            notice_id=f"{DELIVERY}:{errand.errand_id}",
            kind=DELIVERY,
            hub=errand.hub,
            body=msgspec.json.encode(delivery),
            received_at=self._utc.seconds(),
        )
        self._facts.say(
            "csp",
            "csp.finished",
            hub=str(errand.hub),
            request=errand.request_id,
            how=said.happening.value,
            code=said.code,
            why=said.reason,
        )
        with self._store.change() as change:
            change.errands.finish(errand.errand_id, said.happening.value)
            self._on_notice(change, notice)

    def _image(self, image_id: str) -> bytes:
        """An image of an open errand; kept at hand until no errand needs it."""
        if image_id not in self._images:
            with self._store.change() as change:
                data = change.requests.image(image_id)
            if data is None:
                raise OurError(f"image {image_id} is needed but gone: the database has been tampered with")
            self._images[image_id] = data
        return self._images[image_id]

    def _drop(self, errand_id: str) -> None:
        del self._carriages[errand_id]
        needed = {carriage.errand.image_id for carriage in self._carriages.values()}
        self._images = {image_id: data for image_id, data in self._images.items() if image_id in needed}


def _whole(message: Message) -> dict[str, str]:
    """For whom a command is and its GBCS message, where it has one."""
    if isinstance(message, ActivateRequest | ReadVersionRequest):
        return {"device": message.device, "gbcs": message.gbcs}
    return {}


def _concerns(message: Response | ImageWanted, errand: Errand) -> bool:
    """Whether an answer of the right hub is about this errand."""
    if isinstance(message, ImageWanted):
        of_request = message.request_id in {"", errand.request_id}
        return of_request and message.image_id == errand.image_id
    return message.request_id == errand.request_id
