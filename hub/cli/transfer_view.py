"""How transfers are shown: as bars that move where somebody looks on, in words elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hub import messages
from hub.messages import TransferEntry
from hub.progress import in_words

FINAL = ("complete", "failed", "discarded")
"""States after which nothing more comes."""


def shown(entry: messages.Progress | TransferEntry | None) -> str:
    """How a transfer stands, in a few words; nothing where there is none."""
    if entry is None:
        return ""
    return in_words(entry.state, entry.percent, entry.octets_per_second, entry.seconds_left)


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
        words = shown(entry)
        if not self._console.is_terminal:
            if self._lines.get(device) != words:
                self._lines[device] = words
                self._console.print(f"{device}  {words}", markup=False, highlight=False, soft_wrap=True)
            return
        if device not in self._tasks:
            self._tasks[device] = self._bars.add_task(device, total=100, words="")
        self._bars.update(self._tasks[device], completed=entry.percent, words=words)
