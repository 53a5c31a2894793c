"""Files for their owner alone: whole or not there, over a power cut too; refused if others may look."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from han.errors import SurroundingsError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_private(path: Path, text: str) -> None:
    """Make the file hold exactly this, for its owner alone; its directory is made if it is missing.

    Raises:
        SurroundingsError: if that cannot be.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)  # it might be readable to others, and its mode would stay
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync_names(path.parent)
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be written: {error.strerror}") from error


def _sync_names(directory: Path) -> None:
    """Return when a renamed file keeps its new name over a power cut. May raise OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path) -> str:
    """The text of a file that nobody else may read or write.

    Raises:
        FileNotFoundError: if it is not there.
        SurroundingsError: if it cannot be read, or others could; the message says what to do.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _refuse_others(path, os.fstat(file.fileno()), "600")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SurroundingsError(f"{path} cannot be read: it is no text") from None  # its words would be in it


def check_private_directory(path: Path) -> None:
    """Nothing, if this is a directory that nobody else may look into or write to.

    Raises:
        SurroundingsError: if it is not; the message says what to do.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SurroundingsError(f"{path} is no directory")
    _refuse_others(path, status, "700")


def _refuse_others(path: Path, status: os.stat_result, mode: str) -> None:
    if status.st_mode & _OTHERS:
        raise SurroundingsError(f"{path} is open to other users of this machine: say chmod {mode} {path}")
