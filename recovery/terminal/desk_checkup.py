"""`allclear doctor`, the incident desk's rows: its settings, who may sign, and every desk that is configured; reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from recovery.desk.deeds import Desks
from recovery.desk.settings import DeskSettings
from recovery.desk_wiring import has_desk, open_desk_systems
from recovery.errors import AllclearError
from recovery.settings import Settings

Answer = tuple[str, bool, str]
"""The check, whether it passed, and what it found."""


async def desk_answers(settings: Settings) -> list[Answer]:
    """One answer a check; nothing where no desk is configured. What is wrong with the settings is an answer too."""
    if not has_desk(settings):
        return []
    try:
        async with open_desk_systems(settings) as opened:
            asked = await asyncio.gather(*(_ask(name, ask) for name, ask in _questions(opened.desks, opened.desk)))
            return [_settings(opened.desk), *asked]
    except AllclearError as error:
        return [("desk", False, _said(error))]


def _settings(desk: DeskSettings) -> Answer:
    people = {person for role in desk.desk.roles.values() for person in role}
    cut = [name for name, said in desk.desk.severities.items() if not said.source_text_complete]
    complete = f"; to be completed with the client: {', '.join(cut)}" if cut else ""
    return "desk", True, f"{len(desk.desk.clients)} clients, {len(people)} people{complete}"


def _questions(desks: Desks, desk: DeskSettings) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    named = {
        "zendesk": desks.customers,
        "pagerduty": desks.pager,
        "clickup": desks.board,
        "statuspage": desks.status,
        "pendo": desks.in_app,
    }
    questions: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        (name, one.whoami) for name, one in named.items() if one is not None
    ]
    guides, in_app = desk.desk.in_app.guides, desks.in_app
    if in_app is not None and guides is not None:
        questions += [("guide", _guide(desks, ref)) for ref in guides.model_dump().values()]
    return questions


def _guide(desks: Desks, ref: str) -> Callable[[], Awaitable[object]]:
    async def ask() -> str:
        assert desks.in_app is not None
        guide = await desks.in_app.guide_state(ref)
        return f"{guide.name} is {guide.state}"

    return ask


async def _ask(name: str, ask: Callable[[], Awaitable[object]]) -> Answer:
    try:
        return name, True, str(await ask())
    except AllclearError as error:
        return name, False, _said(error)


def _said(error: AllclearError) -> str:
    return f"{error}. To do: {error.hint}" if error.hint else str(error)
