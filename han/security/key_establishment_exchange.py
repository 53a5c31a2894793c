"""One exchange with one peer: what each of its steps checks and computes, for both roles.

Who sends what when, and what happens if nothing comes, is told in ``han.security.key_establishment``.
"""

from __future__ import annotations

import random

from han.security.binary_curve import Point
from han.security.cbke import Party, SecretKeys, same_mac
from han.security.certificate import Certificate, Credentials, parse_certificate, public_key
from han.security.ecmqv import shared_secret
from han.security.errors import CertificateError, PointError, SecurityError
from han.security.key_establishment_commands import (
    LONGEST_TIME,
    Command,
    ConfirmKey,
    EphemeralData,
    Initiate,
    TerminateStatus,
)
from han.security.key_establishment_events import Role, Settings
from han.security.key_pair import KeyPair
from ota.eui64 import Eui64


class RefusalError(SecurityError):
    """What the peer sent ends the exchange; ``status`` is what to tell it."""

    def __init__(self, status: TerminateStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Exchange:
    """One run with one peer under one suite, with an ephemeral key of its own.

    Each side goes through the same three commands: Initiate, EphemeralData, ConfirmKey. ``hello``,
    ``ephemeral`` and ``confirm`` give ours; ``take`` accepts the peer's, in this order.
    """

    def __init__(
        self, peer: Eui64, role: Role, own: Credentials, settings: Settings, dice: random.Random
    ) -> None:
        self.peer = peer
        self.role = role
        self.suite = own.suite
        self.awaits: type[Command] = Initiate
        self.deadline = 0.0  # the machine sets it
        self.taken: Command | None = None  # the newest command of the peer that was accepted
        self.answer: Command | None = None  # what was sent because of it
        self._own = own
        self._settings = settings
        self._dice = dice
        self._ephemeral: KeyPair | None = None
        self._certificate: Certificate | None = None
        self._peer_key: Point | None = None
        self._peer_times = (0, 0)
        self._keys: SecretKeys | None = None
        self._parties: tuple[Party, Party] | None = None  # initiator, responder

    @property
    def from_server(self) -> bool:
        """What direction our commands have."""
        return self.role is Role.RESPONDER

    @property
    def peer_ephemeral_time(self) -> int:
        """How many seconds the peer takes to make its ephemeral key, as it announced."""
        return self._peer_times[0]

    @property
    def peer_confirm_time(self) -> int:
        """How many seconds the peer takes to confirm the key, as it announced."""
        return self._peer_times[1]

    def hello(self) -> Initiate:
        """Our Initiate."""
        times = self._settings
        return Initiate(
            self.suite,
            times.ephemeral_time,
            times.confirm_time,
            self._own.certificate.to_bytes(),
            self.from_server,
        )

    def ephemeral(self) -> EphemeralData:
        """Our EphemeralData."""
        own = self._own_ephemeral()
        return EphemeralData(own.curve.encode(own.public), self.from_server)

    def confirm(self) -> ConfirmKey:
        """Our ConfirmKey, once both ephemeral keys are known."""
        return ConfirmKey(self._mac(self.role), self.from_server)

    def result(self) -> tuple[Certificate, bytes]:
        """The peer's certificate and the link key, once the peer has confirmed it."""
        assert self._certificate is not None
        assert self._keys is not None
        return self._certificate, self._keys.link_key

    def take(self, command: Command) -> None:
        """Accept the next command of the peer.

        Raises:
            RefusalError: if it is not its turn, or it does not hold.
        """
        if not isinstance(command, self.awaits):
            raise RefusalError(
                TerminateStatus.BAD_MESSAGE,
                f"{type(command).__name__} came where {self.awaits.__name__} was due",
            )
        match command:
            case Initiate():
                self._meet(command)
                self.awaits = EphemeralData
            case EphemeralData():
                self._combine(command)
                self.awaits = ConfirmKey
            case ConfirmKey():
                other = Role.RESPONDER if self.role is Role.INITIATOR else Role.INITIATOR
                if not same_mac(self._mac(other), command.mac):
                    raise RefusalError(TerminateStatus.BAD_KEY_CONFIRM, "the peer's MAC does not match")
        self.taken = command

    def _meet(self, command: Initiate) -> None:
        if command.suites != self.suite:
            raise RefusalError(
                TerminateStatus.UNSUPPORTED_SUITE,
                f"suites {command.suites:#06x} where {self.suite} was asked for",
            )
        times = (command.ephemeral_time, command.confirm_time)
        if max(times) > LONGEST_TIME:
            raise RefusalError(TerminateStatus.BAD_MESSAGE, "an announced time of 0xff is invalid")
        if len(command.certificate) != self.suite.certificate_size:
            raise RefusalError(
                TerminateStatus.BAD_MESSAGE,
                f"{len(command.certificate)} octets are no certificate of {self.suite}",
            )
        self._certificate = self._read(command.certificate)
        try:
            self._peer_key = public_key(self._certificate, self._own.root)
        except CertificateError as error:
            raise RefusalError(TerminateStatus.INVALID_CERTIFICATE, str(error)) from error
        self._peer_times = times

    def _read(self, octets: bytes) -> Certificate:
        try:
            certificate = parse_certificate(self.suite, octets)
        except CertificateError as error:
            raise RefusalError(TerminateStatus.INVALID_CERTIFICATE, str(error)) from error
        if certificate.issuer != self._own.root.issuer:
            raise RefusalError(TerminateStatus.UNKNOWN_ISSUER, f"a certificate by {certificate.issuer}")
        if certificate.subject != self.peer:
            why = f"the certificate names {certificate.subject}"
            raise RefusalError(TerminateStatus.INVALID_CERTIFICATE, why)
        if not certificate.agrees_keys:
            why = "the certificate is not for key agreement"
            raise RefusalError(TerminateStatus.INVALID_CERTIFICATE, why)
        return certificate

    def _combine(self, command: EphemeralData) -> None:
        assert self._peer_key is not None
        own, curve = self._own_ephemeral(), self.suite.curve
        try:
            secret = shared_secret(self._own.keys, own, self._peer_key, curve.decode(command.point))
        except PointError as error:
            raise RefusalError(TerminateStatus.BAD_MESSAGE, f"the ephemeral key: {error}") from error
        self._keys = SecretKeys.derive(secret)
        us = Party(self._own.certificate.subject, curve.encode(own.public))
        them = Party(self.peer, command.point)
        self._parties = (us, them) if self.role is Role.INITIATOR else (them, us)

    def _own_ephemeral(self) -> KeyPair:
        if self._ephemeral is None:
            self._ephemeral = KeyPair.draw(self.suite.curve, self._dice)
        return self._ephemeral

    def _mac(self, sender: Role) -> bytes:
        assert self._keys is not None
        assert self._parties is not None
        if sender is Role.INITIATOR:
            return self._keys.initiator_mac(*self._parties)
        return self._keys.responder_mac(*self._parties)
