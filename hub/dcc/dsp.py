"""The DSP stub: takes Service Requests, has the CSP carry them, and tells how they end.

The pump around `hub.dcc.requests` (may it run), `hub.dcc.csp` (carry it) and `hub.dcc.ledger` (what did it
come to). Whatever must survive a restart is committed to the store before it is acted on, and a message from
a hub is acknowledged to the broker only after that: kill the program at any instant and start it again on
the same database.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from han.clock import Utc
from han.facts import Facts
from hub.dcc.controls import Batch
from hub.dcc.csp import Csp
from hub.dcc.desk import Desk
from hub.dcc.downloads import Downloads
from hub.dcc.inventory import DEVICE_TYPES, Device, DeviceStatus
from hub.dcc.ledger import Ledger
from hub.dcc.outcomes import Outcome, read_outcome
from hub.dcc.post import Post
from hub.dcc.proof import Belief
from hub.dcc.records import Notice, Part, StoryLine
from hub.dcc.requests import DspResponse, ServiceRequest, known_form
from hub.dcc.settings import DspSettings
from hub.dcc.store import Change, Store
from hub.dcc.wait import Alarm
from hub.messages import (
    ROOT,
    Alert,
    DevicesRequest,
    Envelopes,
    HubState,
    ImageWanted,
    Progress,
    Response,
    TransferEntry,
    encode,
    open_message,
    topic_of,
)
from ota.eui64 import Eui64

_HEARD = ("state", "response/+", "image/wanted", "progress", "alert/+")
"""What the DSP listens to, of every hub."""


class Dsp:
    """The DSP stub and the CSP model. Use it as ``async with Dsp(...) as dsp`` in one task.

    Args:
        post: our place at the broker; it stays the caller's. Where the broker keeps sessions, connect it
            after entering the Dsp: what the broker has kept must find the handlers, or is lost.
        store: the database; it stays the caller's to close.
        settings: see DspSettings.
        facts: what happens is said here.
        utc: the one clock.
        new_id: fresh message ids, unique across restarts; from the seed under simulation.
    """

    def __init__(
        self,
        post: Post,
        store: Store,
        settings: DspSettings,
        *,
        facts: Facts,
        utc: Utc,
        new_id: Callable[[], str],
    ) -> None:
        self._post = post
        self._store = store
        self._settings = settings
        self._facts = facts
        self._utc = utc
        self._envelopes = Envelopes(utc.now, new_id)
        self._desk = Desk(settings)
        self._ledger = Ledger(settings, facts)
        self._batch: Batch[Notice] = Batch(settings.batch)
        self._alarm = Alarm(utc)
        self._ended = asyncio.Condition()
        self._online: dict[Eui64, bool] = {}
        self._downloads = Downloads()
        self._listings: dict[str, asyncio.Future[None]] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []
        self._csp = Csp(
            post,
            store,
            settings.carriage,
            settings.trust,
            envelopes=self._envelopes,
            utc=utc,
            facts=facts,
            on_notice=self._keep,
        )

    async def __aenter__(self) -> Self:
        """Take up what the store says is open, and begin to listen."""
        with self._store.change() as change:
            self._book(change, change.notices.unapplied())
        self._settle()
        self._csp.resume()
        for below in _HEARD:
            await self._post.on(f"{ROOT}/+/{below}", self._heard)
        await self._tasks.__aenter__()
        self._running = [
            self._tasks.create_task(self._csp.run(), name="csp"),
            self._tasks.create_task(self._watch(), name="dsp"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop. Open requests stay open in the store and are taken up by the next start."""
        self.crash()
        try:
            await self._tasks.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if error is None or group.exceptions != (error,):
                raise  # a task of ours failed: a bug, and the caller's block was cancelled for it

    def crash(self) -> None:
        """Stop without a word; what leaving the context does too, because nothing needs cleaning up."""
        for task in self._running:
            task.cancel()

    # --- what the Service User does ------------------------------------------------------------------------

    async def submit(self, request: ServiceRequest) -> DspResponse:
        """Judge a Service Request and, if it may run, begin it. When this returns, the answer is kept.

        Raises:
            BadRequestError: if its id names another request.
        """
        await self._learn_devices(request)
        self._settle()
        with self._store.change() as change:
            taken = self._desk.take(change, request, self._utc.seconds())
        if not taken.is_repeated:
            self._say_judged(taken.response)
        for errand in taken.errands:
            self._csp.carry(errand)
        self._alarm.ring()
        return taken.response

    async def finished(self, request_id: str) -> Outcome:
        """Wait until a request has ended for every device, and tell how.

        Raises:
            OurError: if there is no such request.
        """
        async with self._ended:
            await self._ended.wait_for(lambda: self.outcome(request_id).is_finished)
        return self.outcome(request_id)

    def outcome(self, request_id: str) -> Outcome:
        """How a request stands.

        Raises:
            OurError: if there is no such request.
        """
        with self._store.change() as change:
            return read_outcome(change, request_id)

    def story(self, request_id: str) -> list[StoryLine]:
        """What happened to a request, line by line."""
        with self._store.change() as change:
            return change.story.of(request_id)

    def download(self, request_id: str, device: Eui64) -> TransferEntry | None:
        """How far a device has come with the image of this request, if its hub has told."""
        return self._downloads.of(request_id, device)

    def request_ids(self) -> list[str]:
        """The ids of all requests ever judged, oldest first."""
        with self._store.change() as change:
            return change.requests.ids()

    # --- inventory -----------------------------------------------------------------------------------------

    def enrol(self, devices: Sequence[Device]) -> None:
        """Put devices into the inventory, or replace what it has of them."""
        with self._store.change() as change:
            for device in devices:
                change.inventory.put_device(device)
                if device.hub not in change.inventory.hubs():
                    change.inventory.put_hub(device.hub)

    def enrol_hub(self, hub: Eui64, *, is_old: bool = False) -> None:
        """Note a Communications Hub; an old one has no SECMP0007 firmware and updates no PPMID or HCALCS."""
        with self._store.change() as change:
            change.inventory.put_hub(hub, is_old=is_old)

    def devices(self) -> dict[Eui64, Device]:
        """The inventory."""
        with self._store.change() as change:
            return change.inventory.devices()

    async def _learn_devices(self, request: ServiceRequest) -> None:
        """Ask the hubs for their devices if the request names one that the inventory does not have ready."""
        asked = {device for entry in request.devices if (device := known_form(entry)) is not None}
        with self._store.change() as change:
            known = change.inventory.devices(asked)
            hubs = change.inventory.hubs()
        ready = {eui64 for eui64, device in known.items() if device.status is DeviceStatus.COMMISSIONED}
        reachable = [hub for hub in hubs if self._online.get(hub, True)]
        if asked <= ready or not reachable:
            return
        # The wait is for the broker too: while that is away, the request is judged by what is known.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.listing_wait):
                await asyncio.gather(*[self._ask_listing(hub) for hub in reachable])

    async def _ask_listing(self, hub: Eui64) -> None:
        """Ask a hub for its devices, and return when its answer is in the inventory."""
        message = DevicesRequest(**self._envelopes.stamp())
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listings[message.id] = answered
        try:
            await self._post.publish(topic_of(hub, message), encode(message))
            await answered
        finally:
            del self._listings[message.id]

    def _listed(self, hub: Eui64, response: Response) -> None:
        with self._store.change() as change:
            for entry in response.devices:
                if entry.device_type not in DEVICE_TYPES:
                    self._facts.say("dsp", "device.unknown", device=entry.device, why="no such device type")
                    continue
                eui64 = Eui64.parse(entry.device)
                before = change.inventory.devices([eui64]).get(eui64)
                device = Device(
                    eui64=eui64,
                    device_type=entry.device_type,
                    hub=hub,
                    version=entry.file_version or (before.version if before else None),
                    status=_STATUS[entry.state],
                )
                change.inventory.put_device(device)
        waiting = self._listings.get(response.in_reply_to)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    # --- what the hubs say ---------------------------------------------------------------------------------

    async def _heard(self, full_topic: str, payload: bytes) -> None:
        """Take one message; when this returns, whatever must survive a crash is in the store."""
        hub, message = open_message(full_topic, payload)
        match message:
            case Alert():
                self._alerted(hub, message, payload)
            case Response(verb="devices"):
                self._listed(hub, message)
            case Response() | ImageWanted():
                self._csp.receive(hub, message)
            case HubState():
                self._hub_state(hub, message)
            case Progress():
                self._downloads.note(message)
            case _:
                pass

    def _alerted(self, hub: Eui64, alert: Alert, payload: bytes) -> None:
        with self._store.change() as change:
            finding = self._ledger.examine(change, hub, alert)
            # One that is refused has an id of its own: under another's it would keep the true one out.
            known_by = alert.id
            if finding.belief is Belief.REFUSED:
                known_by = f"refused-{hashlib.sha256(payload).hexdigest()}"
            notice = Notice(
                notice_id=f"{hub.hex}:{known_by}",
                kind=alert.TOPIC,
                hub=hub,
                body=payload,
                received_at=self._utc.seconds(),
            )
            is_new = change.notices.note(notice)
            if is_new:
                self._book(change, [notice])
        if not is_new:
            self._facts.say("dsp", "alert.repeated", id=alert.id, device=alert.device)
        # Whether or not something has ended: a request that has moved has another deadline.
        self._alarm.ring()

    def _hub_state(self, hub: Eui64, state: HubState) -> None:
        was = self._online.get(hub, False)
        self._online[hub] = state.online
        if not state.online or was:
            return
        with self._store.change() as change:
            if hub not in change.inventory.hubs():
                change.inventory.put_hub(hub)
        self._facts.say("dsp", "hub.appeared", hub=str(hub))
        if self._settings.tries_when_hub_appears:
            self._csp.hub_appeared(hub)

    # --- notices and time ----------------------------------------------------------------------------------

    def _keep(self, change: Change, notice: Notice) -> None:
        """Take a delivery notice into the present batch (control 3), and act on the batch if it is full."""
        if change.notices.note(notice):
            now = self._utc.seconds()
            self._batch.add(notice, now)
            self._book(change, self._batch.drain(now))
            self._alarm.ring()

    async def _watch(self) -> None:
        """Hand batches over and end what has waited long enough, until cancelled."""
        while True:
            self._settle()
            with self._store.change() as change:
                deadline = change.parts.next_deadline()
            due = [moment for moment in (deadline, self._batch.timer()) if moment is not None]
            await self._alarm.wait(min(due, default=None))
            await self._announce()

    def _settle(self) -> None:
        """Act on everything that is due now."""
        now = self._utc.seconds()
        notices = self._batch.drain(now)
        with self._store.change() as change:
            ended = self._book(change, notices)
            ended += self._ledger.time_up(change, now)
            self._abandon(change, ended)
        self._after(ended)

    def _book(self, change: Change, notices: Sequence[Notice]) -> list[Part]:
        now = self._utc.seconds()
        ended = [part for notice in notices for part in self._ledger.book(change, notice, now)]
        self._abandon(change, ended)
        return ended

    def _abandon(self, change: Change, ended: Sequence[Part]) -> None:
        """Have the CSP drop errands that no device waits for any more."""
        for request_id, hub in dict.fromkeys((part.request_id, part.hub) for part in ended):
            parts = change.parts.of(request_id)
            if all(part.result is not None for part in parts if part.hub == hub):
                self._csp.abandon(change, request_id, hub)

    def _after(self, ended: Sequence[Part]) -> None:
        if ended:
            self._alarm.ring()

    async def _announce(self) -> None:
        """Wake whoever waits for a request to end."""
        async with self._ended:
            self._ended.notify_all()

    def _say_judged(self, response: DspResponse) -> None:
        self._facts.say(
            "dsp",
            "request.accepted" if response.ok else "request.refused",
            request=response.request_id,
            service=response.service_request.value,
            code=response.code,
            why=response.reason,
            devices=[str(device) for device in response.accepted],
            left_out={name: list(devices) for name, devices in response.lists.items()},
        )


_STATUS = {
    "admitted": DeviceStatus.PENDING,
    "joined": DeviceStatus.COMMISSIONED,
    "left": DeviceStatus.DECOMMISSIONED,
}
"""What a hub's device list says, in the inventory's words."""
