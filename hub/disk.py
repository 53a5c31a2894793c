"""The file system as the flash uses it: a handful of single steps, each of which a power cut may follow.

The tests put a disk in its place that loses power after any step, and forgets what was not synchronised.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from hub.errors import SurroundingsError

LOCK: Final = "in-use"


class Disk(Protocol):
    """One directory of files. Every method may raise OSError."""

    def names(self) -> list[str]:
        """The files that are there, sorted."""
        ...

    def read(self, name: str) -> bytes | None:
        """The file's octets, or None if it is not there."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Make the file hold exactly this; readable by its owner only. Not safe before ``sync``."""
        ...

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Write from this offset on and cut the file off behind it. Not safe before ``sync``."""
        ...

    def sync(self, name: str) -> None:
        """Return when the file's octets are safe."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another's name, atomically. Not safe before ``sync_names``."""
        ...

    def remove(self, name: str) -> None:
        """Take the file away, if it is there. Not safe before ``sync_names``."""
        ...

    def sync_names(self) -> None:
        """Return when renames and removals are safe."""
        ...

    def free(self) -> int:
        """Octets that may still be written."""
        ...


class RealDisk:
    """A directory of the file system; made if it is missing, for its owner only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """See Disk."""
        return sorted(each.name for each in self.directory.iterdir() if each.is_file())

    def read(self, name: str) -> bytes | None:
        """See Disk."""
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """See Disk."""
        with self._opened(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
            _write_all(descriptor, data)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """See Disk."""
        with self._opened(name, os.O_WRONLY | os.O_CREAT) as descriptor:
            os.ftruncate(descriptor, offset)
            os.lseek(descriptor, offset, os.SEEK_SET)
            _write_all(descriptor, data)

    def sync(self, name: str) -> None:
        """See Disk."""
        with self._opened(name, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)

    def rename(self, old: str, new: str) -> None:
        """See Disk."""
        (self.directory / old).replace(self.directory / new)

    def remove(self, name: str) -> None:
        """See Disk."""
        (self.directory / name).unlink(missing_ok=True)

    def sync_names(self) -> None:
        """See Disk."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free(self) -> int:
        """See Disk."""
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        descriptor = os.open(self.directory / name, flags | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def held_alone(directory: Path) -> Iterator[None]:
    """Keep other programs of ours out of a state directory; the system lets go of it when the program dies.

    Raises:
        SurroundingsError: if another program has it, or it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SurroundingsError(f"the state directory {directory} cannot be used: {error}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise SurroundingsError(
                f"the state directory {directory} is in use by process {holder}: stop that program, or give"
                " another --state"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
