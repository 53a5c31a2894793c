"""The status values that OTA commands carry."""

from __future__ import annotations

from ota.open_enum import OpenEnum


class Status(OpenEnum):
    """A ZCL status. Open: a value that nobody defined keeps its number and shows it."""

    SUCCESS = 0x00
    FAILURE = 0x01
    NOT_AUTHORIZED = 0x7E
    MALFORMED_COMMAND = 0x80
    UNSUP_CLUSTER_COMMAND = 0x81
    INVALID_FIELD = 0x85
    INVALID_VALUE = 0x87
    INSUFFICIENT_SPACE = 0x89
    TIMEOUT = 0x94
    ABORT = 0x95
    INVALID_IMAGE = 0x96
    WAIT_FOR_DATA = 0x97
    NO_IMAGE_AVAILABLE = 0x98
    REQUIRE_MORE_IMAGE = 0x99
