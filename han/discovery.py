"""What is asked of a device to find its OTA client, and what it answers (Zigbee 2.4.3.1). Pure.

Octets in and out, behind the transaction sequence number, which is the radio's.
"""

from __future__ import annotations

from dataclasses import dataclass

from han.zcl import OTA_CLUSTER, SMART_ENERGY_PROFILE

MATCH_DESC_REQ = 0x0006
SIMPLE_DESC_REQ = 0x0004
_NO_INPUTS = b"\x00"


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a device says of the endpoint with its OTA client."""

    endpoint: int
    profile: int
    device_id: int
    input_clusters: tuple[int, ...]
    output_clusters: tuple[int, ...]


def match_request(nwk: int) -> bytes:
    """Which of its endpoints has an OTA client?"""
    one = b"\x01"
    return _u16(nwk) + _u16(SMART_ENERGY_PROFILE) + _NO_INPUTS + one + _u16(OTA_CLUSTER)


def matched_endpoint(answer: bytes) -> int | None:
    """The first endpoint that a Match_Desc_rsp names: status, address, how many, which."""
    return answer[4] if len(answer) >= 5 and answer[0] == 0 else None


def description_request(nwk: int, endpoint: int) -> bytes:
    """What is this endpoint?"""
    return _u16(nwk) + bytes((endpoint,))


def described(answer: bytes) -> Discovered | None:
    """What a Simple_Desc_rsp says: status, address, length, then the descriptor; None if it is none."""
    if len(answer) < 12 or answer[0] != 0:
        return None
    body = answer[4:]
    inputs = body[7 : 7 + 2 * body[6]]
    rest = body[7 + 2 * body[6] :]
    if len(inputs) != 2 * body[6] or not rest or len(rest) < 1 + 2 * rest[0]:
        return None
    return Discovered(
        body[0],
        int.from_bytes(body[1:3], "little"),
        int.from_bytes(body[3:5], "little"),
        _clusters(inputs),
        _clusters(rest[1 : 1 + 2 * rest[0]]),
    )


def _clusters(octets: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(octets[at : at + 2], "little") for at in range(0, len(octets), 2))


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "little")
