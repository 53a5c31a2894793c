"""What people take for an upgrade file and is none: containers around one, and other kinds of firmware file.

Each is recognised by how it begins, and named, so that whoever chose the wrong file knows which to choose.
"""

from __future__ import annotations

from collections.abc import Iterable

_IDENTIFIER = (0x0BEEF11E).to_bytes(4, "little")
_HEADER_VERSION = (0x0100).to_bytes(2, "little")

_KINDS: Iterable[tuple[bytes, str, str]] = (
    (b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it"),
    (b"BZh", "compressed by bzip2", "unpack it"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"\x7fELF", "an ELF executable", "build an upgrade file from it"),
    (b"\xeb\x17\xa6\x03", "a bootloader file of Silicon Labs (GBL)", "build an upgrade file around it"),
    (b"S0", "firmware as S-records", "convert it to binary and build an upgrade file from it"),
    (b":02", "firmware in Intel HEX", "convert it to binary and build an upgrade file from it"),
    (b":10", "firmware in Intel HEX", "convert it to binary and build an upgrade file from it"),
    (b"<!DOCTYPE", "a web page", "download the file itself"),
    (b"<!doctype", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
    (b"{", "JSON, perhaps an index of upgrade files", "download the file that it names"),
    (b"-----BEGIN ", "a key or certificate in PEM", "name the upgrade file instead"),
)


def offset_within(data: bytes) -> int | None:
    """Where an upgrade file begins inside something else; None if there is none, or it begins at once."""
    at = data.find(_IDENTIFIER, 1)
    while at != -1 and data[at + 4 : at + 6] != _HEADER_VERSION:
        at = data.find(_IDENTIFIER, at + 1)
    return None if at == -1 else at


def wrapping(data: bytes) -> str | None:
    """What these octets are instead of an upgrade file, and what to do about it; None if nobody knows."""
    for beginning, name, advice in _KINDS:
        if data.startswith(beginning):
            return f"{name}: {advice}"
    at = offset_within(data)
    if at is None:
        return None
    cut = f"tail -c +{at + 1}"
    size = int.from_bytes(data[at + 52 : at + 56], "little")
    if size < len(data) - at:
        cut += f" | head -c {size}"
    return f"{_container(data)}: an upgrade file begins at octet {at}, and {cut} cuts it out"


def _container(data: bytes) -> str:
    """Whose way of wrapping an upgrade file that is kept whole inside; as zigpy knows them."""
    if data.startswith(b"NGIS"):
        return "a container of IKEA's (NGIS)"
    if int.from_bytes(data[:4], "little") + 21 == len(data):
        return "a container of Legrand's"
    if int.from_bytes(data[68:72], "little") + 64 == len(data):
        return "a container of Third Reality's"
    return "something unknown in front"
