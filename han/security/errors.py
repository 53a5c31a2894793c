"""What can go wrong with keys and seals. No message here ever holds a key or an install code."""

from __future__ import annotations


class SecurityError(Exception):
    """Anything this package raises about data that came from outside."""


class InstallCodeError(SecurityError):
    """The install code has a wrong length or its CRC does not match: read it again from the label."""


class SealError(SecurityError):
    """The message was not sealed with this key, or was changed on its way."""
