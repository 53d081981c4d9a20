"""What `allclear doctor` asks a remote: one reading question each, a bounded wait, one sentence for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from recovery.errors import AllclearError
from recovery.share import MOST_ACCOUNTS_AT_ONCE

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask which system; `account` is "" for one that serves all. An answer of False is a bad one."""

    system: str
    ask: Callable[[], Awaitable[object]]
    account: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the check passed, and what it found or what to do."""

    check: str
    ok: bool
    said: str
    account: str = ""


async def answers(questions: Iterable[Question]) -> list[Answer]:
    """An answer for every question, in their order; so many are asked at once that each has its whole time."""
    room = asyncio.Semaphore(MOST_ACCOUNTS_AT_ONCE)

    async def one(question: Question) -> Answer:
        async with room:
            return await _answer(question)

    return await asyncio.gather(*(one(question) for question in questions))


async def _answer(question: Question) -> Answer:
    ok, said = False, ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answered = await question.ask()
    except TimeoutError:
        said = f"no answer within {PATIENCE_SECONDS:.0f} seconds. To do: look whether it is up, then ask again."
    except AllclearError as error:
        said = told(error)
    else:
        ok = answered is not False
        said = ("healthy" if answered else "not healthy") if isinstance(answered, bool) else str(answered)
    return Answer(question.system, ok, said, question.account)


def told(error: AllclearError) -> str:
    """What is wrong and what to do, on one line."""
    return f"{str(error).rstrip('.')}. To do: {error.hint}" if error.hint else str(error)
