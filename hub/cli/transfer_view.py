"""How transfers are shown: in words, and as bars that move where somebody looks on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hub import messages
from hub.messages import TransferEntry

FINAL = ("complete", "failed", "discarded")
"""States after which nothing more comes."""


def speed(octets_per_second: float | None) -> str:
    """``2830 B/s``; a dash where it is not known."""
    return "-" if octets_per_second is None else f"{octets_per_second:.0f} B/s"


def time_left(seconds: float | None) -> str:
    """``4:10``, ``1:02:07``; a dash where it cannot be foretold."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def in_words(entry: messages.Progress | TransferEntry | None) -> str:
    """How a transfer stands, in a few words: ``downloading, 37 %, 2830 B/s, 4:10 left``."""
    if entry is None:
        return ""
    if entry.state in ("waiting", "complete"):
        return entry.state
    words = [entry.state, f"{entry.percent} %"]
    if entry.octets_per_second:
        words.append(speed(entry.octets_per_second))
    if entry.seconds_left is not None:
        words.append(f"{time_left(entry.seconds_left)} left")
    return ", ".join(words)


class TransferView:
    """A bar for each device on a terminal; elsewhere a line whenever something has changed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, str] = {}

    @classmethod
    @contextmanager
    def on(cls, console: Console) -> Iterator[Self]:
        """A view whose bars are there for the length of the block."""
        view = cls(console)
        with view._bars:
            yield view

    def show(self, device: str, entry: messages.Progress | TransferEntry) -> None:
        """This is how the device stands now."""
        words = in_words(entry)
        if not self._console.is_terminal:
            if self._lines.get(device) != words:
                self._lines[device] = words
                self._console.print(f"{device}  {words}", markup=False, highlight=False, soft_wrap=True)
            return
        if device not in self._tasks:
            self._tasks[device] = self._bars.add_task(device, total=100, words="")
        self._bars.update(self._tasks[device], completed=entry.percent, words=words)
