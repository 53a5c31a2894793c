"""Install codes: the secret on a device's label, and the link key that both sides derive from it.

A code has 6, 8, 12 or 16 octets and is printed with two octets of CRC-16/X.25 behind it, least significant
first. The link key is the AES-MMO hash of code and CRC together.
"""

from __future__ import annotations

from han.security.crc import crc16_x25
from han.security.errors import InstallCodeError
from han.security.mmo import mmo_hash

LENGTHS = (6, 8, 12, 16)  # octets, without the CRC


def with_crc(code: bytes) -> bytes:
    """Append the CRC to a bare install code.

    Raises:
        InstallCodeError: if the code has none of the four lengths.
    """
    _check_length(len(code))
    return code + crc16_x25(code).to_bytes(2, "little")


def link_key(code_with_crc: bytes) -> bytes:
    """The 16-octet link key of an install code that carries its CRC, as printed on the label.

    Raises:
        InstallCodeError: if the length is wrong or the CRC does not match.
    """
    _check_length(len(code_with_crc) - 2)
    if with_crc(code_with_crc[:-2]) != code_with_crc:
        raise InstallCodeError(
            "the install code's last four hex digits (its CRC) do not match: compare it with the label"
        )
    return mmo_hash(code_with_crc)


def parse_install_code(text: str) -> bytes:
    """Read an install code with its CRC from text: hex digits, spaces, ``-`` and ``:`` between them ignored.

    Raises:
        InstallCodeError: if it is no hex, has a wrong length, or its CRC does not match.
    """
    try:
        code = bytes.fromhex(text.translate({ord(mark): None for mark in " -:"}))
    except ValueError:
        # "from None": the original text would show the code in a traceback.
        raise InstallCodeError("an install code consists of hex digits: compare it with the label") from None
    link_key(code)
    return code


def _check_length(size: int) -> None:
    if size not in LENGTHS:
        raise InstallCodeError(
            "an install code has 6, 8, 12 or 16 octets and two of CRC behind them;"
            f" this one has {max(size, 0)} before its CRC"
        )
