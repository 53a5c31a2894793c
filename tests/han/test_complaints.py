"""What fails without anybody waiting for it becomes a fact."""

import asyncio
import gc

from han.complaints import hear_complaints
from han.facts import Facts


async def test_a_failed_task_that_nobody_awaits_is_a_fact_and_no_traceback(capsys):
    loop = asyncio.get_running_loop()
    facts = Facts(loop.time)
    hear_complaints(loop, facts)

    async def fails() -> None:
        raise RuntimeError("Connection has been closed")

    with facts.recorded() as told:
        task = asyncio.ensure_future(fails())
        await asyncio.wait([task])
        del task
        gc.collect()

    assert [fact.what for fact in told] == ["loop.complaint"]
    assert "RuntimeError: Connection has been closed" in told[0].why
    assert capsys.readouterr().err == ""
