"""What can go wrong with keys and seals. No message here ever holds a key or an install code."""

from __future__ import annotations

from ota.status import Status


class SecurityError(Exception):
    """Anything this package raises about data that came from outside."""


class InstallCodeError(SecurityError):
    """The install code has a wrong length or its CRC does not match: read it again from the label."""


class SealError(SecurityError):
    """The message was not sealed with this key, or was changed on its way."""


class PointError(SecurityError):
    """Octets that are no point or scalar one may compute with: malformed, off the curve, of a wrong order."""


class CertificateError(SecurityError):
    """Octets that are no certificate of this form, or one that gives no key."""


class KeyTextError(SecurityError):
    """Text that does not hold the keys it should: which line or label is wrong, never what stands there."""


class SignatureError(SecurityError):
    """The signature is missing, misplaced, by somebody else, or does not match what it signs.

    ``status`` is what a device tells the server in Upgrade End Request.
    """

    def __init__(self, message: str, status: Status = Status.INVALID_IMAGE) -> None:
        super().__init__(message)
        self.status = status
