"""The statuses a dongle answers with, each in the three ways in which EZSP has written them.

Up to version 13 an answer carries an EmberStatus or an EzspStatus of one octet, depending on the command;
from version 14 on all of them are an sl_Status of four octets. (The security manager's commands use sl_Status
already in version 13.) The pairs are those seen on real dongles where any were seen, else those of the
vendor's headers.
"""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """EmberStatus, EzspStatus, sl_Status."""

    OK = (0x00, 0x00, 0x0000)
    FAIL = (0x01, 0x38, 0x0001)
    BAD_ARGUMENT = (0x02, 0x36, 0x0021)
    """Also what EzspStatus calls ERROR_INVALID_VALUE."""
    NOT_FOUND = (0x03, 0x36, 0x002D)
    NO_BUFFERS = (0x18, 0x35, 0x0019)
    MAC_INDIRECT_TIMEOUT = (0x42, 0x38, 0x0041)
    DELIVERY_FAILED = (0x66, 0x38, 0x0C02)
    ADDRESS_TABLE_INDEX_OUT_OF_RANGE = (0x6A, 0x36, 0x0028)
    INVALID_CALL = (0x70, 0x38, 0x0002)
    MAX_MESSAGE_LIMIT_REACHED = (0x72, 0x38, 0x0C03)
    MESSAGE_TOO_LONG = (0x74, 0x38, 0x0038)
    PHY_INVALID_CHANNEL = (0x8A, 0x36, 0x0055)
    PHY_INVALID_POWER = (0x8B, 0x36, 0x0056)
    NETWORK_UP = (0x90, 0x38, 0x0015)
    NETWORK_DOWN = (0x91, 0x38, 0x0016)
    NOT_JOINED = (0x93, 0x38, 0x0017)
    NETWORK_OPENED = (0x9C, 0x38, 0x0C18)
    NETWORK_CLOSED = (0x9D, 0x38, 0x0C19)
    NETWORK_BUSY = (0xA1, 0x38, 0x0004)
    INVALID_ENDPOINT = (0xA3, 0x36, 0x0021)
    APS_ENCRYPTION_ERROR = (0xA6, 0x38, 0x0C0A)
    SECURITY_STATE_NOT_SET = (0xA8, 0x38, 0x0C0B)
    SOURCE_ROUTE_FAILURE = (0xA9, 0x38, 0x0C13)
    MANY_TO_ONE_ROUTE_FAILURE = (0xAA, 0x38, 0x0C14)
    INDEX_OUT_OF_RANGE = (0xB1, 0x36, 0x0027)
    KEY_TABLE_INVALID_ADDRESS = (0xB3, 0x36, 0x0021)
    TABLE_FULL = (0xB4, 0x35, 0x001C)
    LIBRARY_NOT_PRESENT = (0xB5, 0x38, 0x000E)
    TABLE_ENTRY_ERASED = (0xB6, 0x36, 0x002D)
    SECURITY_CONFIGURATION_INVALID = (0xB7, 0x36, 0x0023)
    INVALID_ID = (0x02, 0x37, 0x0021)
    OUT_OF_MEMORY = (0x18, 0x35, 0x001A)
    VERSION_NOT_SET = (0x70, 0x30, 0x0C1E)
    INVALID_FRAME_ID = (0x70, 0x31, 0x0C1E)
    TRUNCATED = (0x70, 0x33, 0x0C1E)

    def __init__(self, ember: int, ezsp: int, sl: int) -> None:
        self.ember = ember
        self.ezsp = ezsp
        self.sl = sl
