"""The tables of the head end's database. Times are seconds of UTC; EUI-64s sixteen lower-case hex digits."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

SCHEMA = 1
"""Raised whenever a table changes its shape; a database of another number is refused."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Integer, nullable=False),
)
"""The schema's number, and counters that never go back."""

devices = Table(
    "devices",
    metadata,
    Column("eui64", String(16), primary_key=True),
    Column("device_type", String(8), nullable=False),
    Column("hub", String(16), nullable=False),
    Column("version", String(8)),
    Column("status", String(16), nullable=False),
)

hubs = Table(
    "hubs",
    metadata,
    Column("eui64", String(16), primary_key=True),
    Column("is_old", Boolean, nullable=False),
)
"""Communications Hubs that the head end serves; ``is_old``: without SECMP0007 firmware."""

images = Table(
    "images",
    metadata,
    Column("image_id", String(64), primary_key=True),
    Column("version", String(8), nullable=False),
    Column("size", Integer, nullable=False),
    Column("data", LargeBinary),
)
"""Upgrade files; ``data`` goes when no errand needs it any more."""

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(128), primary_key=True),
    Column("service", String(4), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("submitted_at", Float, nullable=False),
    Column("image_id", String(64)),
    Column("version", String(8)),
    Column("image_hash", String(64)),
    Column("execution_time", Float),
    Column("originator_counter", Integer),
    Column("response", Text, nullable=False),
)
"""Every Service Request ever judged, refused ones too; ``response`` is the answer as JSON."""

parts = Table(
    "parts",
    metadata,
    Column("request_id", String(128), primary_key=True),
    Column("device", String(16), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("service", String(4), nullable=False),
    Column("device_type", String(8), nullable=False),
    Column("hub", String(16), nullable=False),
    Column("image_id", String(64)),
    Column("version", String(8)),
    Column("stage", String(16), nullable=False),
    Column("accepted_at", Float, nullable=False),
    Column("deadline", Float, nullable=False),
    Column("version_before", String(8)),
    Column("version_after", String(8)),
    Column("result", String(48)),
    Column("ended_at", Float),
    Index("parts_by_device", "device", "ended_at"),
    Index("parts_by_deadline", "ended_at", "deadline"),
)
"""A request for one device. ``result`` is written once."""

errands = Table(
    "errands",
    metadata,
    Column("errand_id", String(160), primary_key=True),
    Column("request_id", String(128), nullable=False),
    Column("hub", String(16), nullable=False),
    Column("service", String(4), nullable=False),
    Column("image_id", String(64)),
    Column("first_at", Float, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("round", Integer, nullable=False),
    Column("finished", String(32)),
    Index("errands_by_finished", "finished"),
)
"""What the CSP carries to a hub: an image, or a command. ``round`` counts the answers that said: later."""

notices = Table(
    "notices",
    metadata,
    Column("notice_id", String(200), primary_key=True),
    Column("arrival", Integer, nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("hub", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("applied_at", Float),
    Index("notices_by_application", "applied_at"),
)
"""Alerts and delivery notifications by id, so that each counts once, however often it comes."""

story = Table(
    "story",
    metadata,
    Column("line", Integer, primary_key=True),
    Column("request_id", String(128), nullable=False),
    Column("device", String(16)),
    Column("at", Float, nullable=False),
    Column("event", String(48), nullable=False),
    Column("code", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Index("story_by_request", "request_id"),
)
"""What happened to each request, line by line."""
