"""Reading and writing the tables: a class for each kind of thing, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, insert, select, update

from hub.dcc import tables
from hub.dcc.controls import Service
from hub.dcc.inventory import Device, DeviceStatus
from hub.dcc.lifecycle import Result, Stage
from hub.dcc.records import Errand, KeptRequest, Notice, Part, StoryLine
from hub.errors import OurError
from ota.eui64 import Eui64


class _Rows:
    """A connection inside a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection


class Inventory(_Rows):
    """Devices and Communications Hubs."""

    def put_device(self, device: Device) -> None:
        """Add a device to the inventory, or replace what is known of it."""
        row = {
            "device_type": device.device_type,
            "hub": device.hub.hex,
            "version": device.version,
            "status": device.status.value,
        }
        _put(self._db, tables.devices, {"eui64": device.eui64.hex}, row)

    def devices(self, among: Iterable[Eui64] | None = None) -> dict[Eui64, Device]:
        """The inventory, or the part of it that is among these, by EUI-64 in rising order."""
        wanted = None if among is None else {device.hex for device in among}
        query = select(tables.devices).order_by(tables.devices.c.eui64)
        # Beyond some number a full reading is cheaper than the question.
        if wanted is not None and len(wanted) <= 500:
            query = query.where(tables.devices.c.eui64.in_(sorted(wanted)))
        rows = self._db.execute(query).mappings()
        found = (_device(row) for row in rows if wanted is None or row["eui64"] in wanted)
        return {device.eui64: device for device in found}

    def put_version(self, device: Eui64, hub: Eui64, version: str) -> None:
        """Note which version a device executes, if the inventory has it behind this hub."""
        columns = tables.devices.c
        self._db.execute(
            update(tables.devices)
            .where(columns.eui64 == device.hex, columns.hub == hub.hex)
            .values(version=version)
        )

    def put_hub(self, hub: Eui64, *, is_old: bool = False) -> None:
        """Note a Communications Hub, and whether its firmware is from before SECMP0007."""
        _put(self._db, tables.hubs, {"eui64": hub.hex}, {"is_old": is_old})

    def hubs(self) -> dict[Eui64, bool]:
        """The known hubs, and whether each is old."""
        rows = self._db.execute(select(tables.hubs).order_by(tables.hubs.c.eui64))
        return {Eui64.parse(row.eui64): bool(row.is_old) for row in rows}


class Requests(_Rows):
    """Service Requests as they were judged, the files they carry, and numbers for new ones."""

    def add(self, request: KeptRequest) -> None:
        """Keep a Service Request and its answer."""
        self._db.execute(
            insert(tables.requests).values(
                request_id=request.request_id,
                service=request.service.value,
                fingerprint=request.fingerprint,
                submitted_at=request.submitted_at,
                image_id=request.image_id,
                version=request.version,
                image_hash=request.image_hash,
                execution_time=request.execution_time,
                originator_counter=request.originator_counter,
                response=request.response,
            )
        )

    def get(self, request_id: str) -> KeptRequest | None:
        """A Service Request by its id."""
        query = select(tables.requests).where(tables.requests.c.request_id == request_id)
        row = self._db.execute(query).mappings().one_or_none()
        return None if row is None else KeptRequest(**{**row, "service": Service(row["service"])})

    def ids(self) -> list[str]:
        """The ids of all requests, in the order they were submitted."""
        order = (tables.requests.c.submitted_at, tables.requests.c.request_id)
        return list(self._db.execute(select(tables.requests.c.request_id).order_by(*order)).scalars())

    def put_image(self, image_id: str, version: str, data: bytes) -> None:
        """Keep an upgrade file until no errand needs it."""
        _put(
            self._db,
            tables.images,
            {"image_id": image_id},
            {"version": version, "size": len(data), "data": data},
        )

    def image(self, image_id: str) -> bytes | None:
        """An upgrade file, or None if it is gone."""
        query = select(tables.images.c.data).where(tables.images.c.image_id == image_id)
        data = self._db.execute(query).scalar_one_or_none()
        return None if data is None else bytes(data)

    def next_number(self, name: str, first: int) -> int:
        """The next number of a counter that never gives one twice."""
        return _next_number(self._db, name, first)


class Parts(_Rows):
    """Requests, device by device."""

    def add(self, part: Part) -> None:
        """Keep a request for one device."""
        self._db.execute(
            insert(tables.parts).values(
                request_id=part.request_id,
                device=part.device.hex,
                position=part.position,
                service=part.service.value,
                device_type=part.device_type,
                hub=part.hub.hex,
                image_id=part.image_id,
                version=part.version,
                stage=part.stage.value,
                accepted_at=part.accepted_at,
                deadline=part.deadline,
                version_before=part.version_before,
            )
        )

    def of(self, request_id: str) -> list[Part]:
        """All parts of a request, in the order asked."""
        return self._find(tables.parts.c.request_id == request_id)

    def open(self, *, device: Eui64 | None = None, hub: Eui64 | None = None) -> list[Part]:
        """Parts that have not ended, oldest first; of one device or one hub if named."""
        conditions: list[ColumnElement[bool]] = [tables.parts.c.ended_at.is_(None)]
        if device is not None:
            conditions.append(tables.parts.c.device == device.hex)
        if hub is not None:
            conditions.append(tables.parts.c.hub == hub.hex)
        return self._find(*conditions)

    def last_ended(self, device: Eui64, services: Iterable[Service]) -> Part | None:
        """The part of this device, of one of these services, that ended last."""
        columns = tables.parts.c
        found = self._find(
            columns.device == device.hex,
            columns.ended_at.is_not(None),
            columns.service.in_(sorted(service.value for service in services)),
        )
        return max(found, key=lambda part: part.ended_at or 0.0, default=None)

    def latest_first(self, device: Eui64, hub: Eui64, service: Service) -> list[Part]:
        """The parts of this device behind this hub, of one service, the one accepted last first."""
        columns = tables.parts.c
        found = self._find(
            columns.device == device.hex, columns.hub == hub.hex, columns.service == service.value
        )
        return found[::-1]

    def due(self, now: float) -> list[Part]:
        """Open parts whose time is up."""
        return self._find(tables.parts.c.ended_at.is_(None), tables.parts.c.deadline <= now)

    def next_deadline(self) -> float | None:
        """The earliest deadline of an open part."""
        query = select(func.min(tables.parts.c.deadline)).where(tables.parts.c.ended_at.is_(None))
        found: float | None = self._db.execute(query).scalar_one()
        return found

    def move(self, part: Part, stage: Stage, deadline: float) -> None:
        """Put an open part into another stage, with the time it may take."""
        self._write(part, {"stage": stage.value, "deadline": deadline})

    def end(self, part: Part, result: Result, now: float, version_after: str | None) -> None:
        """Write the one outcome of a part.

        Raises:
            OurError: if it has one already.
        """
        self._write(
            part,
            {
                "stage": Stage.ENDED.value,
                "result": result.value,
                "ended_at": now,
                "version_after": version_after,
            },
        )

    def confirm(self, part: Part, version: str) -> None:
        """Write the version that an ended part is now known to have brought; its outcome stays as it is."""
        columns = tables.parts.c
        self._db.execute(
            update(tables.parts)
            .where(columns.request_id == part.request_id, columns.device == part.device.hex)
            .values(version_after=version)
        )

    def _write(self, part: Part, values: Mapping[str, object]) -> None:
        columns = tables.parts.c
        done = self._db.execute(
            update(tables.parts)
            .where(
                columns.request_id == part.request_id,
                columns.device == part.device.hex,
                columns.ended_at.is_(None),
            )
            .values(**values)
        )
        if done.rowcount != 1:
            raise OurError(f"request {part.request_id} has ended for {part.device}: it has one outcome only")

    def _find(self, *conditions: ColumnElement[bool]) -> list[Part]:
        order = (tables.parts.c.accepted_at, tables.parts.c.request_id, tables.parts.c.position)
        return [
            _part(row)
            for row in self._db.execute(
                select(tables.parts).where(*conditions).order_by(*order),
            ).mappings()
        ]


class Errands(_Rows):
    """What the CSP has to carry."""

    def add(self, errand: Errand) -> None:
        """Give the CSP something to carry."""
        self._db.execute(
            insert(tables.errands).values(
                errand_id=errand.errand_id,
                request_id=errand.request_id,
                hub=errand.hub.hex,
                service=errand.service.value,
                image_id=errand.image_id,
                first_at=errand.first_at,
                failures=errand.failures,
                next_at=errand.next_at,
                round=errand.round,
            )
        )

    def open(self) -> list[Errand]:
        """Errands not finished, oldest first."""
        columns = tables.errands.c
        query = (
            select(tables.errands)
            .where(columns.finished.is_(None))
            .order_by(columns.first_at, columns.errand_id)
        )
        return [_errand(row) for row in self._db.execute(query).mappings()]

    def put_attempts(
        self, errand_id: str, *, first_at: float, failures: int, next_at: float, round_: int
    ) -> None:
        """Note how often an errand failed and when it is tried again."""
        self._db.execute(
            update(tables.errands)
            .where(tables.errands.c.errand_id == errand_id)
            .values(first_at=first_at, failures=failures, next_at=next_at, round=round_)
        )

    def finish(self, errand_id: str, how: str) -> None:
        """Close an errand; the upgrade file's octets go when no other errand needs them."""
        columns = tables.errands.c
        self._db.execute(
            update(tables.errands)
            .where(columns.errand_id == errand_id, columns.finished.is_(None))
            .values(finished=how)
        )
        needed = select(columns.image_id).where(columns.finished.is_(None), columns.image_id.is_not(None))
        self._db.execute(
            update(tables.images)
            .where(tables.images.c.data.is_not(None), tables.images.c.image_id.not_in(needed))
            .values(data=None)
        )


class Notices(_Rows):
    """Alerts and delivery notifications."""

    def note(self, notice: Notice) -> bool:
        """Keep a notice; False if one with its id was there before."""
        columns = tables.notices.c
        known = select(columns.arrival).where(columns.notice_id == notice.notice_id)
        if self._db.execute(known).scalar_one_or_none() is not None:
            return False
        self._db.execute(
            insert(tables.notices).values(
                notice_id=notice.notice_id,
                arrival=_next_number(self._db, "arrival", 1),
                kind=notice.kind,
                hub=notice.hub.hex,
                body=notice.body,
                received_at=notice.received_at,
            )
        )
        return True

    def unapplied(self) -> list[Notice]:
        """Notices that are kept but not yet acted on, in the order they came."""
        columns = tables.notices.c
        query = select(tables.notices).where(columns.applied_at.is_(None)).order_by(columns.arrival)
        return [_notice(row) for row in self._db.execute(query).mappings()]

    def all(self) -> list[Notice]:
        """All notices ever kept, in the order they came."""
        query = select(tables.notices).order_by(tables.notices.c.arrival)
        return [_notice(row) for row in self._db.execute(query).mappings()]

    def applied(self, notice_id: str, now: float) -> None:
        """Note that a notice has been acted on, in the transaction that acts on it."""
        self._db.execute(
            update(tables.notices).where(tables.notices.c.notice_id == notice_id).values(applied_at=now)
        )


class Story(_Rows):
    """What happened to each request."""

    def tell(self, line: StoryLine) -> None:
        """Add a line to a request's story."""
        self._db.execute(
            insert(tables.story).values(
                request_id=line.request_id,
                device=None if line.device is None else line.device.hex,
                at=line.at,
                event=line.event,
                code=line.code,
                text=line.text,
            )
        )

    def of(self, request_id: str) -> list[StoryLine]:
        """A request's story, in the order it happened."""
        query = (
            select(tables.story).where(tables.story.c.request_id == request_id).order_by(tables.story.c.line)
        )
        return [
            StoryLine(
                request_id=row.request_id,
                device=None if row.device is None else Eui64.parse(row.device),
                at=row.at,
                event=row.event,
                code=row.code,
                text=row.text,
            )
            for row in self._db.execute(query)
        ]


def read_number(db: Connection, name: str) -> int | None:
    """A number of the meta table, or None if it was never written."""
    query = select(tables.meta.c.value).where(tables.meta.c.name == name)
    found: int | None = db.execute(query).scalar_one_or_none()
    return found


def _next_number(db: Connection, name: str, first: int) -> int:
    last = read_number(db, name)
    number = first if last is None else last + 1
    _put(db, tables.meta, {"name": name}, {"value": number})
    return number


def _put(db: Connection, table: Table, key: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Insert or update by key, in two statements: each database spells the one differently."""
    matches = [table.c[name] == value for name, value in key.items()]
    if db.execute(update(table).where(*matches).values(**values)).rowcount == 0:
        db.execute(insert(table).values(**key, **values))


def _device(row: Mapping[Any, Any]) -> Device:
    return Device(
        eui64=Eui64.parse(row["eui64"]),
        device_type=row["device_type"],
        hub=Eui64.parse(row["hub"]),
        version=row["version"],
        status=DeviceStatus(row["status"]),
    )


def _part(row: Mapping[Any, Any]) -> Part:
    converted = {
        "device": Eui64.parse(row["device"]),
        "hub": Eui64.parse(row["hub"]),
        "service": Service(row["service"]),
        "stage": Stage(row["stage"]),
        "result": None if row["result"] is None else Result(row["result"]),
    }
    return Part(**{**row, **converted})


def _errand(row: Mapping[Any, Any]) -> Errand:
    return Errand(**{**row, "hub": Eui64.parse(row["hub"]), "service": Service(row["service"])})


def _notice(row: Mapping[Any, Any]) -> Notice:
    return Notice(
        notice_id=row["notice_id"],
        kind=row["kind"],
        hub=Eui64.parse(row["hub"]),
        body=bytes(row["body"]),
        received_at=row["received_at"],
    )
