"""Lines for people, made of facts: virtual time, who, what happened in GB words, code.

The short story picks the facts that a Service User or a tester would put into a report; the full one prints
everything but single blocks and frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from han.facts import Fact
from han.security.suite import Suite
from hub.progress import in_words

_TRANSFER = {
    0: "transferred",
    1: "image discarded",
    2: "hardware mismatch",
    3: "transfer failed",
}
_CS06 = {
    None: "accepted",
    0: "activated",
    1: "no image held",
    2: "hash mismatch",
    3: "activation failed",
}
_SERVICES = {
    "11.1": "Update Firmware",
    "11.2": "Read Firmware Version",
    "11.3": "Activate Firmware",
    "11.4": "Update PPMID Firmware",
}
_TOLD_AT_THE_END = (
    "transferred, activation unreported",
    "version read",
    "expired",
    "cancellation accepted",
    "cancelled",
)
"""Outcomes that no alert has told."""
_WORTH_A_LINE = 100_000
"""Octets from which an image's arrival in the slot is news: it took the WAN minutes."""
_TOO_FINE = ("ota.block", "mac.", "csp.chunk", "chunk.taken", "frame.", "tunnel.", "ezsp.", "ash.")


def virtual_time(seconds: float) -> str:
    """Days and time of day, such as ``0d 00:03:12``."""
    days, rest = divmod(int(seconds), 86_400)
    return f"{days:2d}d {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story."""

    at: float
    who: str
    text: str
    code: str = ""

    def __str__(self) -> str:
        return f"{virtual_time(self.at)}  {self.who:<13} {self.text}" + (
            f"  [{self.code}]" if self.code else ""
        )


@dataclass(slots=True)
class Names:
    """What the story calls devices and images."""

    devices: Mapping[str, str]
    """EUI-64 as text -> name in the home file."""
    images: dict[str, str] = field(default_factory=dict)
    """Image id -> whose image it is and its version."""

    def device(self, eui64: str) -> str:
        """A device's name, or its address if the house does not know it."""
        return self.devices.get(eui64, eui64)

    def image(self, image_id: str) -> str:
        """An image in words."""
        return self.images.get(image_id, f"image {image_id[:8]}")


class Narrator:
    """Turns facts into lines.

    Args:
        names: what to call devices and images.
        tell: takes each line.
        full: everything, instead of the short story.
    """

    def __init__(self, names: Names, tell: Callable[[Line], None], *, full: bool) -> None:
        self._names = names
        self._tell = tell
        self._full = full
        self._joined_so_far: dict[str, None] = {}
        self._all_joined = False
        self._keyed_so_far: dict[str, None] = {}
        self._asked: set[tuple[str, ...]] = set()
        self._tellers: dict[tuple[str, str], Callable[[Fact], Line | None]] = {
            ("hub", "device.joined"): self._joined,
            ("hub", "keys.established"): self._keyed,
            ("dsp", "request.accepted"): self._accepted,
            ("dsp", "request.refused"): self._refused,
            ("hub", "slot.stored"): self._stored,
            ("hub", "slot.preempted"): self._preempted,
            ("hub", "ota.started"): self._started,
            ("dsp", "alert.received"): self._alert,
            ("dsp", "request.ended"): self._ended,
            ("story", "story"): self._story,
        }

    def hear(self, fact: Fact) -> None:
        """Tell what this fact has to say, if anything."""
        if self._full:
            if (fact.who, fact.what) == ("hub", "ota.progress"):
                self._tell(self._progress(fact))
            elif not fact.what.startswith(_TOO_FINE):
                details = " ".join(f"{name}={value}" for name, value in fact.fields.items())
                self._tell(Line(fact.at, fact.who, f"{fact.what} {details}"))
            return
        line = self._short(fact)
        if line is not None:
            self._tell(line)

    def _short(self, fact: Fact) -> Line | None:
        """A line, or None where the short story has nothing to say."""
        teller = self._tellers.get((fact.who, fact.what))
        return None if teller is None else teller(fact)

    def _joined(self, fact: Fact) -> Line | None:
        self._joined_so_far.setdefault(fact.device)
        if len(self._joined_so_far) < len(self._names.devices) or self._all_joined:
            return None
        self._all_joined = True
        names = ", ".join(self._names.device(device) for device in self._joined_so_far)
        return Line(fact.at, "CH", f"admitted, each by its install code: {names}")

    def _keyed(self, fact: Fact) -> Line | None:
        # A device may establish another key later, which is no news.
        if fact.device in self._keyed_so_far:
            return None
        self._keyed_so_far.setdefault(fact.device)
        if len(self._keyed_so_far) != len(self._names.devices):
            return None
        suite = Suite[fact.suite]
        return Line(fact.at, "CH", f"shares a link key with each of them, by certificate ({suite})")

    def _accepted(self, fact: Fact) -> Line | None:
        # What an 11.2 or 11.3 comes to says enough, and so does a repetition.
        asked = (fact.service, *fact.devices)
        if fact.service not in ("11.1", "11.4") or asked in self._asked:
            return None
        self._asked.add(asked)
        who = ", ".join(self._names.device(device) for device in fact.devices)
        return Line(fact.at, "DSP", f"SR {fact.service} {_SERVICES[fact.service]} for {who}", fact.code)

    def _refused(self, fact: Fact) -> Line:
        lists = ", ".join(fact.left_out) or fact.why
        return Line(
            fact.at, "DSP", f"SR {fact.service} {_SERVICES[fact.service]} refused: {lists}", fact.code
        )

    def _stored(self, fact: Fact) -> Line | None:
        if fact.size < _WORTH_A_LINE:
            return None
        return Line(fact.at, "CH", f"{self._names.image(fact.image)} is in the slot: {fact.size} octets")

    def _preempted(self, fact: Fact) -> Line | None:
        if not fact.unfinished:
            return None
        where = "still on the WAN" if fact.stage == "arriving" else "in the slot"
        return Line(fact.at, "CH", f"{self._names.image(fact.image)}, {where}, goes: {fact.why}")

    def _started(self, fact: Fact) -> Line | None:
        if fact.offset:
            return Line(fact.at, self._names.device(fact.device), f"goes on at octet {fact.offset}")
        return None

    def _progress(self, fact: Fact) -> Line:
        words = in_words(fact.state, fact.percent, fact.octets_per_second, fact.seconds_left)
        return Line(fact.at, self._names.device(fact.device), f"{self._names.image(fact.image)}: {words}")

    def _alert(self, fact: Fact) -> Line:
        name = self._names.device(fact.device)
        match fact.kind:
            case "firmware-transfer":
                text = f"Firmware Transfer Alert: {_TRANSFER.get(fact.response, 'unknown')}"
            case "ppmid-activation":
                text = f"PPMID Activation Alert: {'activated' if fact.response == 0 else 'activation failed'}"
            case "firmware-verification":
                text = f"receipt: image signature {'good' if fact.code == '0x8F72' else 'bad'}"
            case _ if fact.code == "CS06":
                text = f"answers CS06: {_CS06.get(fact.response, 'an unknown outcome')}"
            case _:
                text = f"has acted on CS06 at its time: {_CS06.get(fact.response, 'an unknown outcome')}"
        if fact.response is None:
            return Line(fact.at, name, text, fact.code)
        return Line(fact.at, name, f"{text}, {fact.file_version}", f"{fact.code} response {fact.response}")

    def _ended(self, fact: Fact) -> Line | None:
        if fact.outcome not in _TOLD_AT_THE_END:
            return None
        version = f" {fact.version_after}" if fact.version_after else ""
        return Line(fact.at, self._names.device(fact.device), f"SR {fact.service}: {fact.outcome}{version}")

    def _story(self, fact: Fact) -> Line:
        return Line(fact.at, fact.fields.get("name", "demo"), fact.text)
