"""`allclear incident …`, what comes in and what people say about it: mails, alerts, requests, pauses, pages, teams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recovery.terminal.cli_options import NO_NAMES, App, Config, run_to_exit

intake_app = App(no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/json-desk.md) and nothing else.")]
Ref = Annotated[str, typer.Argument(help="The incident's name, as `allclear incident list` shows it.")]
By = Annotated[str, typer.Option("--by", help="Your name, as desk.toml lists it under a role; it is recorded.")]


@intake_app.command()
def mail(
    files: Annotated[list[Path], typer.Argument(help="Mails as files (.eml).")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Takes mails in: answers each once, asks for what is missing; a P1 mail sets off page, channel, ticket, notice.

    Example:

      allclear incident mail report.eml
    """
    from recovery.terminal import incident_intake

    run_to_exit(lambda: incident_intake.mail(config, files, as_json=as_json), as_json)


@intake_app.command()
def alert(
    alert_ref: Annotated[str, typer.Argument(help="The alert's own id; the same id again is the same alert.")],
    text: Annotated[str, typer.Option("--text", help="What monitoring says, in one line.")],
    service: Annotated[str, typer.Option("--service", help="What is down; joins reports about it.")] = "",
    account: Annotated[str, typer.Option("--account", help="The affected customer, if only one.")] = "",
    planned: Annotated[bool, typer.Option("--planned", help="Planned work: no incident.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """A monitoring alert: opens an incident, or joins the open one it belongs to.

    Example:

      allclear incident alert mon-4711 --text "no mail has left for 10 minutes" --service campaigns
    """
    from recovery.terminal import incident_intake

    said = incident_intake.Alert(alert_ref, text, service, account, planned)
    run_to_exit(lambda: incident_intake.alert(config, said, as_json=as_json), as_json)


@intake_app.command()
def requests(config: Config = None, as_json: AsJson = False) -> None:
    """Mails that nobody has classified yet, oldest first, each with its clock.

    Example:

      allclear incident requests
    """
    from recovery.terminal import incident_intake

    run_to_exit(lambda: incident_intake.requests(config, as_json=as_json), as_json)


@intake_app.command()
def classify(
    request: Annotated[str, typer.Argument(help="The request, as `allclear incident requests` shows it.")],
    severity: Annotated[str, typer.Argument(help="P1, P2, P3 or service_request.")],
    by: By,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Gives a request its severity; it keeps the time it came in, whichever mailbox it came to.

    Example:

      allclear incident classify mail-0f3a9c01d4e8 P3 --by support.lead
    """
    from recovery.terminal import incident_intake

    run_to_exit(lambda: incident_intake.classify(config, request, severity, by, as_json=as_json), as_json)


@intake_app.command()
def answer(
    ref: Ref,
    effect: Annotated[str, typer.Argument(help="The effect, as `allclear incident show` names it.")],
    choice: Annotated[str, typer.Argument(help='"it happened", "it did not happen" or "try again".')],
    by: By,
    reason: Annotated[str, typer.Option("--reason", help="How you know; it is recorded.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Says what became of a mail in doubt, or that a refused effect is to be tried again.

    A request's own answers are named `acknowledgement` and `missing_fields`.

    Examples:

      allclear incident answer inc-1 mail/smtp/inc-1/notice/acme@p1 "it happened" --by success.lead --reason "they rang"

      allclear incident answer mail-0f3a9c01d4e8 acknowledgement "try again" --by support.lead
    """
    from recovery.terminal import incident_intake

    run_to_exit(lambda: incident_intake.answer(config, ref, effect, choice, by, reason, as_json=as_json), as_json)


@intake_app.command()
def acknowledge(ref: Ref, by: By, config: Config = None, as_json: AsJson = False) -> None:
    """You have the page. `tick` reads it from the pager too.

    Example:

      allclear incident acknowledge inc-1 --by engineer.on.call
    """
    from recovery.terminal import incident_intake

    run_to_exit(lambda: incident_intake.acknowledge(config, ref, by, as_json=as_json), as_json)


@intake_app.command()
def pause(
    ref: Ref,
    by: By,
    state: Annotated[str, typer.Option("--state", help="A state that sla.toml allows.")] = "waiting_for_customer",
    report: Annotated[str, typer.Option("--report", help="Only this report's clocks.")] = "",
    end: Annotated[bool, typer.Option("--end", help="Let them go on.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Lets clocks stand still, or go on with --end; never those of a P1.

    Example:

      allclear incident pause inc-1 --by support.lead --report mail-77
    """
    from recovery.terminal import incident_intake

    run_to_exit(lambda: incident_intake.pause(config, ref, by, state, report, end, as_json=as_json), as_json)


@intake_app.command()
def engage(
    ref: Ref,
    by: By,
    team: Annotated[str, typer.Option("--team", help="A further team: it gets a child ticket.")] = "",
    scope: Annotated[str, typer.Option("--scope", help="subset or entire.")] = "",
    customer: Annotated[
        list[str], typer.Option("--customer", help="A further affected account; may be repeated.")
    ] = NO_NAMES,
    role: Annotated[str, typer.Option("--role", help="With --person: who answers for it.")] = "",
    person: Annotated[str, typer.Option("--person", help="With --role: their name.")] = "",
    duty: Annotated[str, typer.Option("--duty", help="With --role: a duty that you have done.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Who works on it and whom it touches: teams, scope, customers, roles and their duties.

    Examples:

      allclear incident engage inc-1 --by engineer.on.call --team database

      allclear incident engage inc-1 --by support.lead --scope entire
    """
    from recovery.terminal import incident_intake

    said = incident_intake.Engaged(team, scope, tuple(customer), role, person, duty)
    run_to_exit(lambda: incident_intake.engage(config, ref, by, said, as_json=as_json), as_json)
