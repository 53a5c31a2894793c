"""How a command talks with a running hub over MQTT: asks, waits for the answer, listens to its progress."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from han.facts import Facts
from hub import messages
from hub.cli.program import clock
from hub.errors import OurError, SurroundingsError
from hub.messages import Envelopes, HubState, Message, Progress, Response
from hub.mqtt import BrokerAddress, Mailbox, MailboxSettings
from ota.eui64 import Eui64

LOOK_AROUND = 45.0
"""Seconds for a hub to come online, if none is: one that forms its first network takes some twenty."""

Heard = Callable[[Progress], None]


class Conversation:
    """With one hub; `conversation` begins one."""

    def __init__(self, place: Mailbox, broker: BrokerAddress, envelopes: Envelopes, hear: Heard) -> None:
        self._place = place
        self._broker = broker
        self._envelopes = envelopes
        self._hear = hear
        self._states: dict[Eui64, HubState] = {}
        self._seen = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Response]] = {}
        self._hub: Eui64 | None = None

    async def begin(self, hub: Eui64 | None) -> None:
        """Turn to this hub, or to the only one there is.

        Raises:
            SurroundingsError: if none is named and none is online.
            OurError: if there are several and none is named.
        """
        self._hub = hub if hub is not None else await self._only_hub()

    async def ask(self, make: Callable[[Envelopes], Message], *, within: float) -> Response:
        """Send a request and give the answer.

        Raises:
            SurroundingsError: if the hub does not answer within so many seconds.
        """
        assert self._hub is not None, "begin comes first"
        request = make(self._envelopes)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._answers[request.id] = answer
        await self._place.publish(messages.topic_of(self._hub, request), messages.encode(request))
        try:
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            raise SurroundingsError(
                f"hub {self._hub} does not answer at {self._broker}: is `gbhan hub` running, on this broker?"
            ) from None

    async def receive(self, topic: str, payload: bytes) -> None:
        """Take a message of any hub."""
        sender, message = messages.open_message(topic, payload)
        if isinstance(message, HubState):
            self._states[sender] = message
            if message.online:
                self._seen.set()
        elif isinstance(message, Response):
            answer = self._answers.get(message.in_reply_to)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif isinstance(message, Progress) and sender == self._hub:
            self._hear(message)

    async def _only_hub(self) -> Eui64:
        """The hub that is online; the broker keeps what each last said of itself."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AROUND):
                await self._seen.wait()
        online = [hub for hub, state in self._states.items() if state.online]
        if len(online) == 1:
            return online[0]
        if online:
            names = ", ".join(map(str, sorted(online)))
            raise OurError(f"there are several hubs ({names}): name one with --hub")
        raise SurroundingsError(
            "the broker knows of no hub that is online: start `gbhan hub`, or name it with --hub"
        )


@asynccontextmanager
async def conversation(
    mailbox: MailboxSettings, hub: Eui64 | None, hear: Heard | None = None
) -> AsyncIterator[Conversation]:
    """Talk with a hub, the only one there is if none is named.

    ``hear`` takes its progress.

    Raises:
        BrokerError: if the broker is not there.
        SurroundingsError: if none is named and none is online.
        OurError: if there are several and none is named.
    """
    utc, seconds = clock()
    dice = random.SystemRandom()
    envelopes = Envelopes(utc.now, lambda: f"{dice.getrandbits(128):032x}")
    place = Mailbox(mailbox, who="command", facts=Facts(seconds), dice=dice)
    talk = Conversation(place, mailbox.address, envelopes, hear or (lambda _: None))
    for below in (HubState.TOPIC, Response.TOPIC, *([] if hear is None else [Progress.TOPIC])):
        await place.on(f"{messages.ROOT}/+/{below}", talk.receive)
    async with place:
        await talk.begin(hub)
        yield talk


async def ask(
    mailbox: MailboxSettings,
    hub: Eui64 | None,
    make: Callable[[Envelopes], Message],
    *,
    within: float,
) -> Response:
    """Ask one question; see `conversation` and `Conversation.ask`."""
    async with conversation(mailbox, hub) as talk:
        return await talk.ask(make, within=within)


def asking_mailbox(address: BrokerAddress) -> MailboxSettings:
    """A place at the broker for one question, under a name that nobody else has."""
    number = random.SystemRandom().getrandbits(48)
    return MailboxSettings(address, client_id=f"gbhan-ask-{number:012x}", keeps_session=False)
