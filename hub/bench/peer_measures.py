"""The measures beside peers: the same image, the same virtual air, the same security, another host.

Peers know no Smart Energy, so all have NWK security only: for ours a Smart Energy device without certificate,
for theirs a Home Automation device. Everything is as the peer has it by default, at the usual serial speed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

from han.sim.home import Profile
from hub.bench.download import Outcome, overheard_download
from hub.bench.herdsman_peer import measure_herdsman, missing
from hub.bench.host import measure_host
from hub.bench.peers import measure_zigpy
from hub.bench.rows import Row, at_least, at_most
from hub.bench.scale import KB, PAGE, USUAL_BAUD, Scale
from hub.bench.setup import Setup

_OURS = Setup(size=0, baud=USUAL_BAUD, is_secured=False)
_THEIRS = dataclasses.replace(_OURS, profile=Profile.HOME_AUTOMATION)
_MODES: dict[str, tuple[bool, int | None]] = {
    "by block": (True, None),
    "by block without APS acks": (False, None),
    "by page": (True, PAGE),
}
"""Whether requests, and our answers, are acknowledged by APS, and the size of a page. zigpy's answers always
are."""


def beside_zigpy(scale: Scale) -> Iterator[Row]:
    """Zigpy's own OTA manager, in virtual time."""
    for size in scale.peer_images:
        theirs = measure_zigpy(_sized(_THEIRS, size))
        ours = overheard_download(_sized(_OURS, size))
        yield _faster(f"{size // KB} KB beside zigpy's OTA manager", ours, theirs.virtual, "virtual s, zigpy")
        yield at_most(0, _unanswered(f"{size // KB} KB, requests without an answer, ours", ours))
        yield _unanswered(f"{size // KB} KB, requests without an answer, zigpy", theirs)


def beside_herdsman(scale: Scale) -> Iterator[Row]:
    """Herdsman's OTA session, which lives in real time: it is given a smaller image."""
    names = {size: f"{size // KB} KB beside herdsman's OTA session" for size in scale.peer_images}
    why = missing()
    if why:
        for name in names.values():
            yield Row(name=name, unit=why, aim=1)
        return
    measured = min(scale.herdsman_image, *scale.peer_images)
    theirs = measure_herdsman(_sized(_THEIRS, measured))
    for size, name in names.items():
        ours = overheard_download(_sized(_OURS, size))
        source = "real s, herdsman"
        if size != measured:
            source += f", reckoned from {measured // KB} KB"
        yield _faster(name, ours, theirs.virtual * size / measured, source)
    yield _unanswered(f"{measured // KB} KB, requests without an answer, herdsman", theirs)


def host_cost(scale: Scale) -> Iterator[Row]:
    """Processor time of the host's process, the dongle in another: the best mode of each, then by mode."""
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for mode, (acknowledged, page) in _MODES.items():
        changed = functools.partial(
            dataclasses.replace, size=scale.host_image, acknowledged=acknowledged, page=page
        )
        theirs[mode] = 1e6 * measure_host("zigpy", changed(_THEIRS)).per_octet
        ours[mode] = 1e6 * measure_host("ours", changed(_OURS)).per_octet
    yield from cost_rows(ours, theirs)


def cost_rows(ours: dict[str, float], theirs: dict[str, float]) -> Iterator[Row]:
    """From microseconds an octet by mode: the best of ours beside the best of theirs, then each mode."""
    our_best, their_best = min(ours, key=ours.__getitem__), min(theirs, key=theirs.__getitem__)
    yield at_least(
        3, _cost(f"best of each, ours {our_best}", ours[our_best], theirs[their_best], f"zigpy {their_best}")
    )
    for mode, spent in ours.items():
        yield _cost(mode, spent, theirs[mode], "zigpy")


def _sized(setup: Setup, size: int) -> Setup:
    return dataclasses.replace(setup, size=size)


def _faster(name: str, ours: Outcome, theirs: float, source: str) -> Row:
    row = Row(
        name=name,
        value=ours.virtual,
        unit="virtual s",
        reference=source,
        reference_value=theirs,
        ratio=theirs / ours.virtual,
    )
    return at_least(1, row)


def _unanswered(name: str, outcome: Outcome) -> Row:
    lost = sum(each.answered is None for each in outcome.asked)
    return Row(
        name=name,
        value=lost,
        unit="requests",
        reference="requests in all",
        reference_value=len(outcome.asked),
        ratio=lost / len(outcome.asked),
    )


def _cost(mode: str, ours: float, theirs: float, source: str) -> Row:
    return Row(
        name=f"host cost, {mode}",
        value=ours,
        unit="processor us an octet",
        reference=f"us, {source}",
        reference_value=theirs,
        ratio=theirs / ours,
    )
