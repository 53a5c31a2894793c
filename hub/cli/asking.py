"""How a command asks a running hub something over MQTT and waits for the answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from han.facts import Facts
from hub import messages
from hub.cli.program import clock
from hub.errors import OurError, SurroundingsError
from hub.messages import Envelopes, HubState, Message, Response
from hub.mqtt import BrokerAddress, Mailbox, MailboxSettings
from ota.eui64 import Eui64

LOOK_AROUND = 45.0
"""Seconds for a hub to come online, if none is: one that forms its first network takes some twenty."""


async def ask(
    mailbox: MailboxSettings,
    hub: Eui64 | None,
    make: Callable[[Envelopes], Message],
    *,
    within: float,
) -> Response:
    """Send a request to a hub, to the only one there is if none is named; gives its answer.

    Raises:
        BrokerError: if the broker is not there.
        SurroundingsError: if no hub answers within so many seconds.
        OurError: if there are several hubs and none is named.
    """
    utc, seconds = clock()
    dice = random.SystemRandom()
    envelopes = Envelopes(utc.now, lambda: f"{dice.getrandbits(128):032x}")
    place = Mailbox(mailbox, who="command", facts=Facts(seconds), dice=dice)
    states: dict[Eui64, HubState] = {}
    seen = asyncio.Event()
    answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    request = make(envelopes)

    async def hear(topic: str, payload: bytes) -> None:
        sender, message = messages.open_message(topic, payload)
        if isinstance(message, HubState):
            states[sender] = message
            if message.online:
                seen.set()
        elif isinstance(message, Response) and message.in_reply_to == request.id and not answered.done():
            answered.set_result(message)

    await place.on(f"{messages.ROOT}/+/state", hear)
    await place.on(f"{messages.ROOT}/+/response/+", hear)
    async with place:
        chosen = hub if hub is not None else await _only_hub(states, seen)
        await place.publish(messages.topic_of(chosen, request), messages.encode(request))
        try:
            async with asyncio.timeout(within):
                return await answered
        except TimeoutError:
            raise SurroundingsError(
                f"hub {chosen} does not answer at {mailbox.address}: is `gbhan hub` running, on this broker?"
            ) from None


def asking_mailbox(address: BrokerAddress) -> MailboxSettings:
    """A place at the broker for one question, under a name that nobody else has."""
    number = random.SystemRandom().getrandbits(48)
    return MailboxSettings(address, client_id=f"gbhan-ask-{number:012x}", keeps_session=False)


async def _only_hub(states: dict[Eui64, HubState], seen: asyncio.Event) -> Eui64:
    """The hub that is online; the broker keeps what each last said of itself."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_AROUND):
            await seen.wait()
    online = [hub for hub, state in states.items() if state.online]
    if len(online) == 1:
        return online[0]
    if online:
        raise OurError(f"there are several hubs ({', '.join(map(str, sorted(online)))}): name one with --hub")
    raise SurroundingsError(
        "the broker knows of no hub that is online: start `gbhan hub`, or name it with --hub"
    )
