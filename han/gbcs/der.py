"""DER values as Python ones: only the five types that the firmware messages use. Pure.

INTEGER is an int, OCTET STRING bytes, GeneralizedTime a datetime in UTC, NULL None, SEQUENCE a tuple. A value
has one encoding and no other is read, so what is parsed and written again is the same octets.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from asn1crypto import core, parser

from han.errors import OurError, TheirError

Value = int | bytes | datetime | None | tuple["Value", ...]

_DEEPEST = 4
_SEQUENCE = 0x10


def encode(value: Value) -> bytes:
    """The DER octets of a value.

    Raises:
        OurError: if a moment carries no time zone.
    """
    match value:
        case int():
            return _dumped(core.Integer(value))
        case bytes():
            return _dumped(core.OctetString(value))
        case datetime():
            if value.tzinfo is None:
                raise OurError(f"{value} has no time zone: GBCS times are UTC")
            return _dumped(core.GeneralizedTime(value.astimezone(UTC).replace(microsecond=0)))
        case None:
            return _dumped(core.Null())
        case tuple():
            contents = b"".join(encode(part) for part in value)
            octets: bytes = parser.emit(0, 1, _SEQUENCE, contents)
            return octets


def decode(octets: bytes) -> Value:
    """Read one DER value.

    Raises:
        TheirError: if the octets are cut, trailed by others, of another type or not in their one encoding.
    """
    try:
        value, rest = _value(octets, 0)
        if not rest and encode(value) == octets:
            return value
    except (ValueError, TypeError, OverflowError) as error:
        raise TheirError(f"not DER: {error}") from error
    raise TheirError("not DER: octets are left over, or a value is not in its one encoding")


def _value(octets: bytes, depth: int) -> tuple[Value, bytes]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    _, _, tag, header, contents, trailer = parser.parse(octets)
    size = len(header) + len(contents) + len(trailer)
    own, rest = octets[:size], octets[size:]
    kind = _KINDS.get(own[0])
    if own[0] == 0x20 | _SEQUENCE:
        parts: list[Value] = []
        while contents:
            part, contents = _value(contents, depth + 1)
            parts.append(part)
        return tuple(parts), rest
    if kind is None:
        raise ValueError(f"tag {tag} is none of ours")
    value: Value = kind.load(own, strict=True).native
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a time without Z")
    return value, rest


_KINDS: dict[int, Any] = {
    0x02: core.Integer,
    0x04: core.OctetString,
    0x05: core.Null,
    0x18: core.GeneralizedTime,
}


def _dumped(value: Any) -> bytes:  # noqa: ANN401 - of asn1crypto, untyped
    octets: bytes = value.dump()
    return octets
