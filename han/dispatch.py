"""How a ZCL frame gets to a device: which endpoint, under which key, in one frame or in several.

The hub's end of the network has one of these. It goes by the roll of the admitted devices and by what they
have said so far; who is admitted, and who holds which key, is decided by `han.coordinator`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from han import discovery
from han.admission import Admitted, Roll
from han.discovery import Discovered
from han.errors import HanError
from han.facts import Facts
from han.fragments import FragmentSettings
from han.radio_errors import (
    DeliveryFailed,
    NotSecured,
    PayloadTooLong,
    RadioGone,
    UnknownDevice,
    translated,
)
from han.stack import Stack
from ota.eui64 import Eui64

LARGEST_PAYLOAD = 82
"""Octets of ZCL frame that fit one 802.15.4 frame with NWK security, direct or not, without source
routing."""
APS_SECURITY_OVERHEAD = 9
"""Octets that APS security takes of them: auxiliary header and integrity code."""


class Posted(Protocol):
    """A frame on its way."""

    def cancel(self) -> object:
        """Tell nobody what becomes of it, and do not send it if it still waits."""
        ...


class Link:
    """The stack on the dongle that works at the moment, if one does."""

    def __init__(self) -> None:
        self.stack: Stack | None = None

    def cut(self) -> Stack | None:
        """There is none from now on; gives the one that there was."""
        stack, self.stack = self.stack, None
        return stack

    def working(self) -> Stack:
        """The stack.

        Raises:
            RadioGone: if there is none.
        """
        if self.stack is None:
            raise RadioGone("the dongle is gone; the hub keeps looking for it")
        return self.stack

    @contextlib.contextmanager
    def asking(self, stack: Stack, size: int = 0) -> Iterator[None]:
        """See `translated`. A stack that is not ours any more fails as a dongle that is gone."""
        with translated(size, is_lost=lambda: stack is not self.stack):
            yield


class Dispatch:
    """Sends ZCL frames to admitted devices.

    Args:
        fragments: how long messages may be, and how they are cut.
        link: to the dongle.
        roll: the admitted devices.
        facts: where "message.fragmented" and "device.discovered" are said.
    """

    def __init__(self, fragments: FragmentSettings, link: Link, roll: Roll, facts: Facts) -> None:
        self._fragments = fragments
        self._link = link
        self._roll = roll
        self._facts = facts
        self._endpoints: dict[tuple[Eui64, int], int] = {}
        self._posting: dict[asyncio.Task[None], None] = {}  # in order, as a set would not be

    async def close(self) -> None:
        """Send nothing more of what is under way."""
        for task in list(self._posting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def spoke(self, device: Eui64, cluster: int, endpoint: int) -> None:
        """A device spoke of a cluster from this endpoint: that is where it is answered."""
        self._endpoints[device, cluster] = endpoint

    async def send(
        self, to: Eui64, cluster: int, zcl: bytes, *, aps_ack: bool = True, fragments: bool = True
    ) -> None:
        """Send a ZCL frame to a device, and return once it has acknowledged it.

        It goes to the endpoint that last spoke of this cluster, else to the one found by `discover`; if the
        cluster is protected, under the device's link key. Without ``aps_ack`` the first hop's acknowledgement
        counts.

        What does not fit one frame travels in fragments, unless ``fragments`` or ``aps_ack`` is False: an
        image block is better made smaller, and what nobody acknowledges cannot be repeated.

        Raises:
            DeliveryFailed: it was not acknowledged; it may have arrived all the same.
            PayloadTooLong: it does not fit a frame, or not as many as may be; nothing was sent.
            UnknownDevice: it was not admitted or has not joined; nothing was sent.
            NotSecured: it has no link key yet; nothing was sent.
            RadioBusy: the dongle has no room; the message has not arrived.
            RadioGone: there is no dongle.
        """
        device = self._roll.find(to)
        if device is None:
            raise UnknownDevice(f"{to} was not admitted")
        if device.nwk is None:
            raise UnknownDevice(f"{to} has not joined yet")
        is_protected = device.protects(cluster)
        if is_protected and not device.is_secured:
            raise NotSecured(f"no link key has been established with {to} yet")
        await self._deliver(
            device,
            device.nwk,
            cluster,
            zcl,
            aps_ack=aps_ack,
            aps_security=is_protected,
            fragments=fragments and aps_ack,
        )

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
        """Send a ZCL frame as `send` does, and go on. ``then`` is called later, with what `send` would raise.

        What may be one frame only, to a device that we know well, takes no task: blocks come by the thousand.
        """
        device, stack = self._roll.find(to), self._link.stack
        endpoint = self._endpoints.get((to, cluster))
        is_plain = not (fragments and aps_ack)
        if is_plain and device is not None and stack is not None and endpoint is not None:
            nwk, is_protected = device.nwk, device.protects(cluster)
            may_go = device.is_secured or not is_protected
            if nwk is not None and may_go and len(zcl) <= _room(aps_security=is_protected):
                told = partial(self._posted, stack, len(zcl), then)
                return stack.post(
                    nwk, endpoint, cluster, zcl, told, aps_ack=aps_ack, aps_security=is_protected
                )
        work = self._post(to, cluster, zcl, then, aps_ack=aps_ack, fragments=fragments)
        task = asyncio.get_running_loop().create_task(work, name=f"frame to {to}")
        self._posting[task] = None
        task.add_done_callback(self._posting.pop)
        return task

    def _posted(
        self, stack: Stack, size: int, then: Callable[[HanError | None], None], error: Exception | None
    ) -> None:
        if error is None:
            then(None)
            return
        try:
            with self._link.asking(stack, size):
                raise error
        except HanError as failure:
            then(failure)

    async def _post(
        self,
        to: Eui64,
        cluster: int,
        zcl: bytes,
        then: Callable[[HanError | None], None],
        *,
        aps_ack: bool,
        fragments: bool,
    ) -> None:
        error: HanError | None = None
        try:
            await self.send(to, cluster, zcl, aps_ack=aps_ack, fragments=fragments)
        except HanError as failure:
            error = failure
        then(error)

    async def broadcast(self, cluster: int, zcl: bytes) -> None:
        """Send a ZCL frame to every device that listens all the time, to whichever endpoint has the cluster.

        Nobody shares a link key with all, so it travels under the network key alone; nobody acknowledges it.

        Raises:
            PayloadTooLong: it does not fit a frame; nothing was sent.
            DeliveryFailed, RadioBusy, RadioGone: as `send`.
        """
        if len(zcl) > LARGEST_PAYLOAD:
            raise PayloadTooLong(len(zcl), LARGEST_PAYLOAD)
        stack = self._link.working()
        with self._link.asking(stack, len(zcl)):
            await stack.send_to_all(cluster, zcl)

    async def say_openly(self, device: Admitted, nwk: int, cluster: int, zcl: bytes) -> None:
        """Send a frame without APS security whatever its cluster, to say no to what should have had it.

        Raises:
            DeliveryFailed, PayloadTooLong, RadioBusy, RadioGone: as `send`.
        """
        await self._deliver(device, nwk, cluster, zcl, aps_ack=True, aps_security=False, fragments=False)

    async def _deliver(
        self,
        device: Admitted,
        nwk: int,
        cluster: int,
        zcl: bytes,
        *,
        aps_ack: bool,
        aps_security: bool,
        fragments: bool,
    ) -> None:
        size, room = len(zcl), _room(aps_security=aps_security)
        limit = self._fragments.longest if fragments else room
        if size > limit:
            raise PayloadTooLong(size, limit)
        stack = self._link.working()
        endpoint = self._endpoints.get((device.eui64, cluster), device.endpoint) or await self._found(device)
        if size <= room:
            try:
                with self._link.asking(stack, size):
                    await stack.send(nwk, endpoint, cluster, zcl, aps_ack=aps_ack, aps_security=aps_security)
            except PayloadTooLong:  # the route to the device takes room in the frame
                if not fragments:
                    raise
            else:
                return
        self._facts.say("hub", "message.fragmented", device=str(device.eui64), cluster=cluster, size=size)
        block_size = self._fragments.block_size(room)
        with self._link.asking(stack, size):
            await stack.send_long(
                nwk, endpoint, cluster, zcl, aps_security=aps_security, block_size=block_size
            )

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
        device = self._roll.find(eui64)
        if device is None or device.nwk is None:
            raise UnknownDevice(f"{eui64} is not in the network")
        nwk = device.nwk
        stack = self._link.working()
        with self._link.asking(stack):
            answer = await stack.ask(nwk, discovery.MATCH_DESC_REQ, discovery.match_request(nwk))
            endpoint = discovery.matched_endpoint(answer)
            if endpoint is None:
                return None
            question = discovery.description_request(nwk, endpoint)
            answer = await stack.ask(nwk, discovery.SIMPLE_DESC_REQ, question)
        found = discovery.described(answer)
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


def _room(*, aps_security: bool) -> int:
    """Octets of a ZCL frame that fit one frame on the air."""
    return LARGEST_PAYLOAD - (APS_SECURITY_OVERHEAD if aps_security else 0)
