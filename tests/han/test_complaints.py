"""What fails without anybody waiting for it becomes a fact; what fails in our own code is shown as well."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

from han.clock import Utc
from han.complaints import hear_complaints
from han.facts import Facts


async def _left_behind(
    failing: Coroutine[Any, Any, None], told: tuple[type[Exception], ...] = ()
) -> list[str]:
    """Run it in a task that nobody awaits, and give what the facts say of it."""
    loop = asyncio.get_running_loop()
    facts = Facts(loop.time)
    hear_complaints(loop, facts, told=told)
    with facts.recorded() as heard:
        task = asyncio.ensure_future(failing)
        await asyncio.wait([task])
        del task
        gc.collect()
    assert [fact.what for fact in heard] == ["loop.complaint"]
    return [fact.why for fact in heard]


async def test_what_a_library_leaves_behind_is_a_fact_and_no_traceback(caplog):
    async def fails() -> None:
        raise RuntimeError("Connection has been closed")

    (why,) = await _left_behind(fails())

    assert why.endswith("RuntimeError")
    assert not caplog.records


async def test_a_failure_of_our_own_code_keeps_its_traceback(caplog):
    async def fails() -> None:
        Utc(asyncio.get_running_loop()).loop_seconds(None)  # type: ignore[arg-type] # to make it fail inside

    await _left_behind(fails())

    assert "loop_seconds" in caplog.text


async def test_a_failure_that_the_program_ends_with_anyway_is_not_shown_twice(caplog):
    async def fails() -> None:
        Utc(asyncio.get_running_loop()).loop_seconds(None)  # type: ignore[arg-type] # to make it fail inside

    await _left_behind(fails(), told=(AttributeError, TypeError))

    assert not caplog.records
