"""What fails without anybody waiting for it: said as a fact, instead of a traceback on the terminal.

When a connection ends, bellows and the MQTT libraries leave tasks behind whose failure nobody collects. The
loop would print each with its traceback. It is worth knowing, no more than that. A failure of our own code
is another matter: it is a defect, and its traceback stays.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from han.facts import Facts

_OURS = frozenset({"han", "hub", "ota"})


def hear_complaints(
    loop: asyncio.AbstractEventLoop, facts: Facts, *, told: tuple[type[Exception], ...] = ()
) -> None:
    """From now on whatever the loop has to complain of is the fact "loop.complaint".

    Failures of the kinds in ``told`` are known to the program, which ends with them as its message: no
    traceback for these. The fact names the kind of failure only: a library's own words might repeat what it
    was sending.
    """

    def hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        kind = "" if error is None else f": {type(error).__name__}"
        facts.say("loop", "loop.complaint", why=f"{context['message'][:120]}{kind}")
        if error is not None and not isinstance(error, told) and _is_ours(error.__traceback__):
            loop.default_exception_handler(context)

    loop.set_exception_handler(hear)


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether the failure passed through code of ours."""
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS:
            return True
        trace = trace.tb_next
    return False
