"""What fails without anybody waiting for it: said as a fact, instead of a traceback on the terminal.

When a connection ends, bellows and the MQTT libraries leave tasks behind whose failure nobody collects. The
loop would print each with its traceback. It is worth knowing, and no more than that.
"""

from __future__ import annotations

import asyncio
from typing import Any

from han.facts import Facts


def hear_complaints(loop: asyncio.AbstractEventLoop, facts: Facts) -> None:
    """From now on whatever the loop has to complain of is the fact "loop.complaint"."""

    def hear(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        cause = "" if error is None else f": {type(error).__name__}: {error}"
        facts.say("loop", "loop.complaint", why=f"{context['message']}{cause}")

    loop.set_exception_handler(hear)
