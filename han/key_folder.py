"""The folder in which a hub, or an authority, keeps its keys: labelled text, each file for its owner alone.

    authority-suite2.key               an authority: its name, public and private key
    00db1234567890a2-suite2.key        a device's certificate, its private key, the authority it trusts
    00db1234567890a2-suite2.request    the secret of a request that has no answer yet
    00db1234567890a2.link-key          a link key that is known without key establishment

Nothing that is there is ever overwritten by something else. What is wrong in a file is said with its path.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from han.errors import HanError, OurError, SurroundingsError
from han.private_file import check_private_directory, read_private, write_private
from han.security import key_text
from han.security.certificate import Authority, Certificate, Credentials
from han.security.errors import SecurityError
from han.security.key_pair import KeyPair
from han.security.key_text import Request
from han.security.suite import Suite
from ota.eui64 import Eui64

T = TypeVar("T")


class KeyFolderError(OurError):
    """Something in the folder, or meant for it, cannot be used; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class KnownLinkKey:
    """That a link key is here, and with whom it is shared. Not the key."""

    peer: Eui64


Holding = Authority | Credentials | Request | KnownLinkKey
"""What a file can hold."""

_NAME = re.compile(r"(authority|[0-9a-f]{16})(?:-suite([12]))?\.(key|request|link-key)")


class KeyFolder:
    """A folder of keys; see the top of the file. It remembers nothing: each question reads the files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """A folder that is there.

        Raises:
            SurroundingsError: if it is not, or is open to other users.
        """
        if not path.exists():
            raise SurroundingsError(f"there is no folder {path}: gbhan keys --help says how to make one")
        check_private_directory(path)
        return cls(path)

    @classmethod
    def make(cls, path: Path) -> Self:
        """The folder, made for its owner alone if it is not there. Raises as `open` does."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SurroundingsError(f"{path} cannot be made: {error.strerror}") from error
        return cls.open(path)

    def credentials_of(self, eui64: Eui64) -> tuple[Credentials, ...]:
        """What a device proves itself with, the best suite first; empty if nothing is here for it.

        Raises:
            SurroundingsError: if a file cannot be read or is open to other users.
            KeyFolderError: if a file is spoilt or holds what is meant for another device.
        """
        found = (self._credentials(eui64, suite) for suite in sorted(Suite, reverse=True))
        return tuple(credentials for credentials in found if credentials is not None)

    def link_key_of(self, eui64: Eui64) -> bytes | None:
        """The link key that is known with this device, if there is one. Raises as `credentials_of` does."""
        return self._read(self._link_key_file(eui64), key_text.read_link_key)

    def authority(self, suite: Suite) -> Authority | None:
        """The authority of this suite, if it is here. Raises as `credentials_of` does."""
        return self._read(self._authority_file(suite), lambda text: key_text.read_authority(text, suite))

    def holdings(self) -> Iterator[tuple[Path, Holding | HanError]]:
        """Every file here in order of its name, with what it holds or what is wrong with it.

        Raises:
            SurroundingsError: if the folder itself cannot be read.
        """
        try:
            paths = sorted(self.path.iterdir())
        except OSError as error:
            raise SurroundingsError(f"{self.path} cannot be read: {error.strerror}") from error
        for path in paths:
            try:
                yield path, self._holding(path)
            except HanError as error:
                yield path, error

    def add_authority(self, suite: Suite, issuer: Eui64, keys: KeyPair) -> Authority:
        """Keep a new authority. Raises as `add_credentials` does."""
        self._write(self._authority_file(suite), key_text.write_authority(suite, issuer, keys))
        return Authority(suite, issuer, keys)

    def add_credentials(self, credentials: Credentials) -> Path:
        """Keep a device's credentials; gives the file. A request of the device is done with.

        Raises:
            KeyFolderError: if others are there for this device and suite.
            SurroundingsError: if the file cannot be written.
        """
        subject, suite = credentials.certificate.subject, credentials.suite
        path = self._write(self._device_file(subject, suite), key_text.write_credentials(credentials))
        self._request_file(subject, suite).unlink(missing_ok=True)
        return path

    def add_link_key(self, peer: Eui64, key: bytes) -> Path:
        """Keep a link key; gives the file. Raises as `add_credentials` does."""
        return self._write(self._link_key_file(peer), key_text.write_link_key(peer, key))

    def begin_request(self, suite: Suite, subject: Eui64, dice: random.Random) -> Request:
        """The request with which an authority certifies this device; the same again until the answer is here.

        Raises:
            KeyFolderError: if the device has credentials already, or the secret of the request is spoilt.
            SurroundingsError: if the secret cannot be kept.
        """
        held = self._device_file(subject, suite)
        if held.exists():
            raise KeyFolderError(f"{held} is there already: {subject} needs no other certificate of {suite}")
        pending = self._request(suite, subject)
        if pending is not None:
            return pending
        secret = KeyPair.draw(suite.curve, dice)
        self._write(self._request_file(subject, suite), key_text.write_secret(suite, subject, secret))
        return Request(suite, subject, secret.public)

    def take_in(self, text: str) -> tuple[Credentials, ...]:
        """Keep what a text from outside holds: certificates with their keys, or the answer to a request.

        Raises:
            SecurityError: if the text does not hold what it should, see `key_text.read_credentials`.
            KeyFolderError: as `add_credentials` does; then nothing was kept of this certificate.
            SurroundingsError: if a file cannot be read or written.
        """
        found = key_text.read_credentials(text, self._secret_of)
        for credentials in found:
            self.add_credentials(credentials)
        return found

    def _holding(self, path: Path) -> Holding:
        name, suite, kind = match.groups() if (match := _NAME.fullmatch(path.name)) else ("", None, "")
        held: Holding | None
        match name, suite, kind:
            case "authority", str(), "key":
                held = self.authority(Suite(int(suite)))
            case "authority" | "", _, _:
                raise KeyFolderError(
                    f"{path} has no name that is looked for: gbhan keys import takes keys in"
                )
            case _, str(), "key":
                held = self._credentials(Eui64.parse(name), Suite(int(suite)))
            case _, str(), "request":
                held = self._request(Suite(int(suite)), Eui64.parse(name))
            case _:
                peer = Eui64.parse(name)
                held = None if self.link_key_of(peer) is None else KnownLinkKey(peer)
        if held is None:
            raise KeyFolderError(f"{path} went away meanwhile")
        return held

    def _credentials(self, eui64: Eui64, suite: Suite) -> Credentials | None:
        path = self._device_file(eui64, suite)
        found = self._read(path, key_text.read_credentials)
        if found is None:
            return None
        (credentials, *others) = found
        if others or credentials.suite is not suite or credentials.certificate.subject != eui64:
            held = ", ".join(f"{each.certificate.subject} in {each.suite}" for each in found)
            raise KeyFolderError(f"{path} holds the certificate of {held}: its name should say so")
        return credentials

    def _request(self, suite: Suite, subject: Eui64) -> Request | None:
        secret = self._secret(suite, subject)
        return None if secret is None else Request(suite, subject, secret.public)

    def _secret_of(self, certificate: Certificate) -> KeyPair | None:
        return self._secret(certificate.SUITE, certificate.subject)

    def _secret(self, suite: Suite, subject: Eui64) -> KeyPair | None:
        return self._read(self._request_file(subject, suite), lambda text: key_text.read_secret(text, suite))

    def _authority_file(self, suite: Suite) -> Path:
        return self.path / f"authority-suite{suite:d}.key"

    def _device_file(self, eui64: Eui64, suite: Suite) -> Path:
        return self.path / f"{eui64.hex}-suite{suite:d}.key"

    def _request_file(self, eui64: Eui64, suite: Suite) -> Path:
        return self.path / f"{eui64.hex}-suite{suite:d}.request"

    def _link_key_file(self, peer: Eui64) -> Path:
        return self.path / f"{peer.hex}.link-key"

    def _read(self, path: Path, read: Callable[[str], T]) -> T | None:
        try:
            text = read_private(path)
        except FileNotFoundError:
            return None
        try:
            return read(text)
        except SecurityError as error:
            raise KeyFolderError(f"{path}: {error}") from error

    def _write(self, path: Path, text: str) -> Path:
        try:
            there = read_private(path)
        except FileNotFoundError:
            write_private(path, text)
        else:
            if there != text:
                raise KeyFolderError(f"{path} is there already and holds something else: remove it first")
        return path
