"""The ways in which a device's OTA client may be peculiar, each a small class.

`peculiar` says what a personality can change. `sizes`, `blocks`, `paces`, `queries` and `endings` hold them,
by the part of an update in which they show. `machine_for` finds them by the name that a home file gives.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from han.sim.devices.personalities import blocks, endings, paces, queries, sizes
from han.sim.devices.personalities.peculiar import Peculiar
from han.sim.personality import Personality
from ota.client import ClientSettings, Identity, OtaClient, StoredDownload

__all__ = ["PERSONALITIES", "Peculiar", "machine_for"]

PERSONALITIES: Mapping[str, type[Peculiar]] = {
    Personality.TAKES_40: sizes.Takes40,
    Personality.EXACTLY_48: sizes.Exactly48,
    Personality.NEEDS_64: sizes.Needs64,
    Personality.ODD_SIZES: sizes.OddSizes,
    Personality.ASKS_PAST_THE_END: sizes.AsksPastTheEnd,
    Personality.ASKS_AHEAD: blocks.AsksAhead,
    Personality.RESTARTS_AFTER_LOSS: blocks.RestartsAfterLoss,
    Personality.SHIFTS_DATA: blocks.ShiftsData,
    Personality.ACCEPTS_LATE_DUPLICATES: blocks.AcceptsLateDuplicates,
    Personality.ABORTS_ON_DUPLICATES: blocks.AbortsOnDuplicates,
    Personality.FALLS_BACK_TO_BLOCKS: blocks.FallsBackToBlocks,
    Personality.ONE_BLOCK_PER_HOUR: paces.OneBlockPerHour,
    Personality.STOPS_AFTER_30_MINUTES: paces.StopsAfter30Minutes,
    Personality.ABORTS_OFTEN: paces.AbortsOften,
    Personality.PERIOD_IN_SECONDS: paces.PeriodInSeconds,
    Personality.ASKS_EVERY_FEW_SECONDS: queries.AsksEveryFewSeconds,
    Personality.ALTERNATES_IMAGE_TYPES: queries.AlternatesImageTypes,
    Personality.IGNORES_NOTIFY: queries.IgnoresNotify,
    Personality.ANSWERS_NO_IMAGE: queries.AnswersNoImage,
    Personality.REFUSES_DOWNGRADE: queries.RefusesDowngrade,
    Personality.UNENCRYPTED: queries.Unencrypted,
    Personality.FINDS_IMAGE_INVALID: endings.FindsImageInvalid,
    Personality.MALFORMED_AFTER_ABORT: endings.MalformedAfterAbort,
    Personality.SILENT_BEFORE_UPGRADE_END: endings.SilentBeforeUpgradeEnd,
    Personality.ENDS_TWICE: endings.EndsTwice,
    Personality.RESTARTS_WHEN_ANSWER_LATE: endings.RestartsWhenAnswerLate,
    Personality.TIME_IS_ABSOLUTE: endings.TimeIsAbsolute,
    Personality.CUTS_LONG_DELAYS: endings.CutsLongDelays,
    Personality.KEEPS_OLD_VERSION: endings.KeepsOldVersion,
    Personality.OTHER_VERSION_ENCODING: endings.OtherVersionEncoding,
    Personality.NO_VERSION_ATTRIBUTE: endings.NoVersionAttribute,
}
"""All but the honest one, which needs nothing around its machine."""


def machine_for(
    personality: str,
    settings: ClientSettings,
    identity: Identity,
    dice: random.Random,
    stored: StoredDownload | None = None,
    *,
    aside: Sequence[StoredDownload] = (),
) -> OtaClient | Peculiar:
    """The OTA machine of a device with this personality, one of `han.sim.personality`."""
    peculiar = PERSONALITIES.get(personality, OtaClient)
    return peculiar(settings, identity, dice, stored, aside)
