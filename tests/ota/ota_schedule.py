"""What a seed decides before anything happens: the house, its devices, the files, the air, and the mischief.

Numbers are small on purpose: a file of few blocks has as many kinds of interleaving as a large one, and far
more of them are tried in the same time.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from hub.slot import KeepTheWaiting, LatestWins, SlotSettings
from ota.client import ClientSettings, Identity
from ota.eui64 import Eui64
from ota.image import HardwareRange, Header, Image
from ota.server import ServerSettings
from ota.status import Status

MANUFACTURER = 0x121D
HARDWARE = 0x1150
IMAGE_TYPES = {"PPMID": 0x0084, "HCALCS": 0x0085, "GSME": 0x0001}
RUNNING = 1
"""The version that every device runs at first."""

_FIRST_EUI64 = 0x00DB1234567890A0
_SIZES = (4, 5, 60, 150, 333)
"""Octets behind the header: less than a block, and some blocks more."""


@dataclass(frozen=True, slots=True)
class File:
    """An upgrade file, and whom it is for."""

    device_type: str
    data: bytes
    header: Header
    image_id: str


@cache
def file_for(device_type: str, version: int, size: int, twin: int) -> File:
    """A file whose last octets are a check sum; twins differ in their octets, and in nothing else."""
    header = Header(
        manufacturer=MANUFACTURER,
        image_type=IMAGE_TYPES[device_type],
        file_version=version,
        total_size=0,
        hardware_versions=HardwareRange(HARDWARE, HARDWARE),
    )
    body = random.Random(f"{device_type} {version} {twin}").randbytes(size - 4)
    draft = Image.build(header, body + bytes(4)).to_bytes()[:-4]
    data = draft + crc32(draft).to_bytes(4, "little")
    return File(device_type, data, Header.parse(data), hashlib.sha256(data).hexdigest())


def has_its_check_sum(data: bytes) -> bool:
    """What a device with a check of its own looks for."""
    return crc32(data[:-4]) == int.from_bytes(data[-4:], "little")


@dataclass(frozen=True, slots=True)
class Described:
    """A device of the house, as it comes."""

    eui64: Eui64
    device_type: str
    identity: Identity
    settings: ClientSettings


@dataclass(frozen=True, slots=True)
class Air:
    """How frames travel: seconds, and shares of 1."""

    loss: float
    repeats: float
    stragglers: float
    """So many frames come late, and out of order."""
    late_by: float
    """At most. It is less than the time in which a new image arrives."""
    largest_block: int
    """The radio refuses a block of more octets."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that a seed decides at the start; the dice decide the rest on the way."""

    seed: int
    devices: tuple[Described, ...]
    files: tuple[File, ...]
    server: ServerSettings
    slot: SlotSettings
    air: Air
    incidents: int
    """How many things happen besides the downloads."""
    chance: float
    """Of one of them after any step of a download."""

    @classmethod
    def draw(cls, seed: int) -> Schedule:
        """The same for the same seed."""
        dice = random.Random(seed)
        types = dice.choices(("PPMID", "HCALCS", "GSME"), (5, 2, 3), k=dice.choice((1, 1, 1, 2, 2, 3, 4, 8)))
        server = _server(dice)
        devices = tuple(_device(at, each, server, dice) for at, each in enumerate(types))
        return cls(
            seed,
            devices,
            tuple(_files(sorted(set(types)), dice)),
            server,
            SlotSettings(equal_priority=dice.choice((KeepTheWaiting(), LatestWins()))),
            _air(dice),
            incidents=dice.choice((1, 3, 6, 10)),
            chance=dice.choice((0.02, 0.05, 0.15)),
        )


def _device(at: int, device_type: str, server: ServerSettings, dice: random.Random) -> Described:
    eui64 = Eui64(_FIRST_EUI64 + at)
    identity = Identity(MANUFACTURER, IMAGE_TYPES[device_type], RUNNING, HARDWARE, address=eui64)
    check: Callable[[bytes], bool] | None = dice.choice((None, has_its_check_sum))
    settings = ClientSettings(
        maximum_data_size=dice.choice((16, 40, 65, 255)),
        page_size=dice.choice((None, None, 64, 200)),
        page_spacing=dice.choice((0.0, 0.05)),
        acknowledged=dice.random() < 0.5,
        first_query_within=dice.choice((1.0, 60.0)),
        query_every=dice.choice((300.0, 3600.0)),
        errors_allowed=dice.choice((2, 10)),
        end_tries=dice.choice((2, 10)),
        pause_between_blocks=dice.choice((0.0, 0.0, 0.3)),
        reports_block_period=dice.random() < 0.3,
        cluster_revision=dice.choice((1, 2, 3)),
        out_of_band_only=device_type != "PPMID" and dice.random() < 0.7,
        apply_after_timeout=dice.random() < 0.5,
        keeps_aborted=dice.random() < 0.2,
        accepts_downgrade=dice.random() < 0.8,
        accepts_running_version=server.reinstall,
        verify=check,
    )
    return Described(eui64, device_type, identity, settings)


def _files(device_types: list[str], dice: random.Random) -> list[File]:
    """Two or three for each type of device: often of two versions, sometimes twins."""
    found = []
    for device_type in device_types:
        size = dice.choice(_SIZES)
        found.append(file_for(device_type, 2, size, 0))
        if dice.random() < 0.3:
            found.append(file_for(device_type, 2, size, 1))
        if dice.random() < 0.5:
            found.append(file_for(device_type, 3, dice.choice(_SIZES), 0))
    return found


def _server(dice: random.Random) -> ServerSettings:
    return ServerSettings(
        block_ceiling=dice.choice((7, 40, 65)),
        preempted_answer=dice.choice((Status.ABORT, Status.NO_IMAGE_AVAILABLE)),
        nothing_for_you=dice.choice((Status.NO_IMAGE_AVAILABLE, Status.NOT_AUTHORIZED)),
        stall_after=dice.choice((5.0, 600.0)),
        aborts_allowed=dice.choice((1, 3, 1000)),
        gbcs_wait=dice.random() < 0.5,
        acknowledged_blocks=dice.random() < 0.5,
        pause_wait=dice.choice((10.0, 60.0)),
        serves_pages=dice.random() < 0.8,
        page_window=dice.choice((1, 2, 4)),
        page_spacing=dice.choice((0.0, 0.0, 0.3)),
        downloads_at_once=dice.choice((None, None, 1, 2)),
        turn_wait=dice.choice((5.0, 60.0)),
        air_time_per_hour=dice.choice((None, None, None, 0.5)),
        notify_by_broadcast=dice.random() < 0.2,
        notify_type=dice.choice((0, 3)),
        reinstall=dice.random() < 0.1,
    )


def _air(dice: random.Random) -> Air:
    return Air(
        loss=dice.choice((0.0, 0.02, 0.1, 0.4)),
        repeats=dice.choice((0.0, 0.1, 0.5)),
        stragglers=dice.choice((0.0, 0.05, 0.3)),
        late_by=dice.choice((0.05, 1.0, 5.0)),
        largest_block=dice.choice((255, 255, 255, 48, 9)),
    )
