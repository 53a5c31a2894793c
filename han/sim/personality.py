"""The names of the ways in which a device's OTA client may be peculiar, and of how an update of one may end.

All personalities but the first were met in the field, in other people's bug reports, or follow from what a
widespread stack does. What each comes to is written in `han.sim.devices.personalities`.
"""

from __future__ import annotations

from enum import StrEnum


class Personality(StrEnum):
    """How a device behaves as a client of the OTA Upgrade cluster."""

    HONEST = "honest"

    # How much it takes at once.
    TAKES_40 = "takes-40"
    EXACTLY_48 = "exactly-48"
    NEEDS_64 = "needs-64"
    ODD_SIZES = "odd-sizes"
    ASKS_PAST_THE_END = "asks-past-the-end"

    # What becomes of a block.
    ASKS_AHEAD = "asks-ahead"
    RESTARTS_AFTER_LOSS = "restarts-after-loss"
    SHIFTS_DATA = "shifts-data"
    ACCEPTS_LATE_DUPLICATES = "accepts-late-duplicates"
    ABORTS_ON_DUPLICATES = "aborts-on-duplicates"
    FALLS_BACK_TO_BLOCKS = "falls-back-to-blocks"

    # When it asks for the next.
    ONE_BLOCK_PER_HOUR = "one-block-per-hour"
    STOPS_AFTER_30_MINUTES = "stops-after-30-minutes"
    ABORTS_OFTEN = "aborts-often"
    PERIOD_IN_SECONDS = "period-in-seconds"

    # How it asks for an image.
    ASKS_EVERY_FEW_SECONDS = "asks-every-few-seconds"
    ALTERNATES_IMAGE_TYPES = "alternates-image-types"
    IGNORES_NOTIFY = "ignores-notify"
    ANSWERS_NO_IMAGE = "answers-no-image"
    REFUSES_DOWNGRADE = "refuses-downgrade"
    UNENCRYPTED = "unencrypted"

    # How it ends.
    FINDS_IMAGE_INVALID = "finds-image-invalid"
    MALFORMED_AFTER_ABORT = "malformed-after-abort"
    SILENT_BEFORE_UPGRADE_END = "silent-before-upgrade-end"
    ENDS_TWICE = "ends-twice"
    RESTARTS_WHEN_ANSWER_LATE = "restarts-when-answer-late"
    TIME_IS_ABSOLUTE = "time-is-absolute"
    CUTS_LONG_DELAYS = "cuts-long-delays"
    KEEPS_OLD_VERSION = "keeps-old-version"
    OTHER_VERSION_ENCODING = "other-version-encoding"
    NO_VERSION_ATTRIBUTE = "no-version-attribute"


class Outcome(StrEnum):
    """How the update of a device ends, as far as anybody outside can tell."""

    UPDATED = "updated"
    """It told that it runs the new version."""
    UNCHANGED = "unchanged"
    """It took the new version, and runs another one."""
    UNCONFIRMED = "unconfirmed"
    """It took the new version; which one it runs cannot be found out."""
    FAILED = "failed"
    """It did not take the new version."""
