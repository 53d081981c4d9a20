"""`allclear doctor`, the desks: every remote of cases and of the incident desk, its settings, who may sign; reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from recovery.case.effects import CaseDesks
from recovery.case.link_witnesses import PANELS
from recovery.case.panel_ports import PanelBook, PanelDesk
from recovery.case.wiring import CaseSystems, open_case_systems
from recovery.desk.deeds import Desks
from recovery.desk.settings import DeskSettings
from recovery.desk_wiring import has_desk, open_desk_systems
from recovery.errors import AllclearError
from recovery.settings import Settings
from recovery.terminal.questions import Answer, Question, answers, told


async def desk_answers(settings: Settings) -> list[Answer]:
    """One answer a check; nothing where nothing is configured. What is wrong with the settings is an answer too."""
    return [*await _of_cases(settings), *await _of_the_desk(settings)]


async def _of_cases(settings: Settings) -> list[Answer]:
    if not settings.panels and settings.zendesk is None and settings.smtp is None:
        return []
    try:
        async with open_case_systems(settings) as opened:
            return await answers(_case_questions(opened))
    except AllclearError as error:
        return [Answer("cases", False, told(error))]


def _case_questions(opened: CaseSystems) -> Iterator[Question]:
    desks: CaseDesks = opened.desks
    if desks.customers is not None:
        yield Question("zendesk", desks.customers.whoami)
    if desks.mail is not None:
        yield Question("smtp", desks.mail.ping)
    book = opened.sources[PANELS]
    assert isinstance(book, PanelBook)
    for panel in book.panels:
        yield Question(panel.provider, _panel(panel.ref, book.desks[panel.provider, panel.ref]), panel.account)


def _panel(ref: str, desk: PanelDesk) -> Callable[[], Awaitable[object]]:
    async def ask() -> str:
        return f"{ref}: {await desk.ping()}"

    return ask


async def _of_the_desk(settings: Settings) -> list[Answer]:
    if not has_desk(settings):
        return []
    try:
        async with open_desk_systems(settings) as opened:
            return [_settings(opened.desk), *await answers(_desk_questions(opened.desks, opened.desk))]
    except AllclearError as error:
        return [Answer("desk", False, told(error))]


def _settings(desk: DeskSettings) -> Answer:
    people = {person for role in desk.desk.roles.values() for person in role}
    cut = [name for name, said in desk.desk.severities.items() if not said.source_text_complete]
    complete = f"; to be completed with the client: {', '.join(cut)}" if cut else ""
    return Answer("desk", True, f"{len(desk.desk.clients)} clients, {len(people)} people{complete}")


def _desk_questions(desks: Desks, desk: DeskSettings) -> Iterator[Question]:
    named = {
        "pagerduty": desks.pager,
        "clickup": desks.board,
        "statuspage": desks.status,
        "pendo": desks.in_app,
    }
    for name, one in named.items():
        if one is not None:
            yield Question(name, one.whoami)
    guides, in_app = desk.desk.in_app.guides, desks.in_app
    if in_app is not None and guides is not None:
        for ref in guides.model_dump().values():
            yield Question("guide", _guide(desks, ref))


def _guide(desks: Desks, ref: str) -> Callable[[], Awaitable[object]]:
    async def ask() -> str:
        assert desks.in_app is not None
        guide = await desks.in_app.guide_state(ref)
        return f"{guide.name} is {guide.state}"

    return ask
