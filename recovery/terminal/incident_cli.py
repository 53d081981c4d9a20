"""`allclear incident …`: the incident desk at a terminal. Only names, options and help; work comes when needed."""

from __future__ import annotations

from typing import Annotated

import typer

from recovery.terminal.cli_options import NO_NAMES, App, Config, run_to_exit
from recovery.terminal.incident_intake_cli import AsJson, By, Ref, intake_app

incident_app = App(
    name="incident",
    help="The incident desk: declare, tell customers, keep the clocks, draft the root-cause analysis.",
    no_args_is_help=True,
)
incident_app.add_typer(intake_app)

Account = Annotated[str, typer.Option("--account", help="The customer's account.")]
Received = Annotated[str, typer.Option("--received", help="When it came in, if not now.")]
Words = Annotated[str, typer.Option("--words", help="What Engineering says.")]


@incident_app.command()
def declare(
    title: Annotated[str, typer.Argument(help="What is wrong, in one line.")],
    by: By,
    severity: Annotated[str, typer.Option("--severity", help="P1, P2, P3 or service_request.")] = "P2",
    scope: Annotated[str, typer.Option("--scope", help="subset or entire.")] = "subset",
    kind: Annotated[str, typer.Option("--kind", help="degradation or outage.")] = "outage",
    ref: Annotated[str, typer.Option("--ref", help="Its name; a recovery of the same name shares its ticket.")] = "",
    customer: Annotated[list[str], typer.Option("--customer", help="An affected account; may be repeated.")] = NO_NAMES,
    started: Annotated[str, typer.Option("--started", help="When it began; unknown stays an open task.")] = "",
    symptom: Annotated[list[str], typer.Option("--symptom", help="What people see; may be repeated.")] = NO_NAMES,
    step: Annotated[list[str], typer.Option("--step", help="A step to duplicate it; may be repeated.")] = NO_NAMES,
    environment: Annotated[str, typer.Option("--environment", help="production, staging …")] = "production",
    time_zone: Annotated[str, typer.Option("--zone", help="IANA zone of the times in tickets.")] = "UTC",
    planned: Annotated[bool, typer.Option("--planned", help="Planned work: refused, it is no incident.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Opens an incident and everything that hangs on it: page, ticket, channel, boards, client notice. Each once.

    Example:

      allclear incident declare "Campaigns do not go out" --by support.lead --severity P1 --scope entire --ref inc-1
    """
    from recovery.terminal import incident_commands as desk

    said = desk.Saying(
        title,
        by,
        severity,
        scope,
        kind,
        ref,
        tuple(customer),
        started,
        tuple(symptom),
        tuple(step),
        environment,
        time_zone,
        planned,
    )
    run_to_exit(lambda: desk.declare(config, said, as_json=as_json), as_json)


@incident_app.command()
def report(
    ref: Ref,
    report_ref: Annotated[
        str, typer.Option("--report", help="The report's own name; the same name again is the same report.")
    ],
    account: Account,
    subject: Annotated[str, typer.Option("--subject", help="What the customer wrote, in one line.")],
    by: By,
    customer: Annotated[str, typer.Option("--customer", help="Who wrote.")] = "",
    email: Annotated[str, typer.Option("--email", help="Where to answer.")] = "",
    text: Annotated[str, typer.Option("--text", help="What the customer wrote.")] = "",
    received: Received = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Adds a customer's report: one ticket each, linked to the incident ticket; later ones too.

    Example:

      allclear incident report inc-1 --report call-7 --account harbor --subject "Nothing was sent" --by support.lead
    """
    from recovery.terminal import incident_commands as desk

    given = desk.Reported(report_ref, account, customer, email, subject, text or subject, "", received)
    run_to_exit(lambda: desk.report(config, ref, by, given, as_json=as_json), as_json)


@incident_app.command()
def link(
    ref: Ref,
    ticket: Annotated[str, typer.Option("--ticket", help="The customer ticket's number.")],
    account: Account,
    subject: Annotated[str, typer.Option("--subject", help="What it is about, in one line.")],
    by: By,
    received: Received = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Links a customer ticket that exists already: it is told everything, and hangs on the incident ticket.

    Example:

      allclear incident link inc-1 --ticket 4711 --account harbor --subject "Newsletter missing" --by support.lead
    """
    from recovery.terminal import incident_commands as desk

    given = desk.Reported(f"ticket-{ticket}", account, account, "", subject, subject, ticket, received)
    run_to_exit(lambda: desk.report(config, ref, by, given, as_json=as_json), as_json)


@incident_app.command()
def announce(
    ref: Ref,
    phase: Annotated[str, typer.Argument(help="investigating, identified, resolved, or update.")],
    by: By,
    reason: Annotated[
        str, typer.Option("--reason", help="Why a phase is skipped or reopened; the text of an update.")
    ] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Fills the announcement of a phase from the incident; nothing goes out before `approve`.

    Example:

      allclear incident announce inc-1 investigating --by support.lead
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.announce(config, ref, phase, by, reason, as_json=as_json), as_json)


@incident_app.command()
def approve(
    ref: Ref,
    digest: Annotated[str, typer.Argument(help="The digest that `announce` printed.")],
    by: By,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Approves exactly the prepared words; they go to tickets, chat, status page and in-app guide.

    Example:

      allclear incident approve inc-1 3f2a9c01d4e8 --by success.lead
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.step(config, ref, desk.approving(by, digest), as_json=as_json), as_json)


@incident_app.command()
def confirm(
    ref: Ref,
    by: By,
    words: Words = "resolved",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """A named person of Engineering confirms that it is resolved; no resolved notice before that.

    Example:

      allclear incident confirm inc-1 --by engineer.on.call --words "queue drained, sends are current"
    """
    from recovery.desk import rules
    from recovery.terminal import incident_commands as desk

    run_to_exit(
        lambda: desk.step(
            config, ref, lambda d, _i, now: [rules.confirm_resolved(d.desk, by, now, words)], as_json=as_json
        ),
        as_json,
    )


@incident_app.command()
def resolve(
    ref: Ref,
    by: By,
    words: Words = "resolved",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The same as `confirm`.

    Example:

      allclear incident resolve inc-1 --by engineer.on.call
    """
    confirm(ref, by, words, config, as_json)


@incident_app.command()
def update(
    ref: Ref,
    by: By,
    severity: Annotated[str, typer.Option("--severity", help="A new severity; the clocks keep their start.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why the severity changes.")] = "",
    eta: Annotated[str, typer.Option("--eta", help="A time of resolution, in your words.")] = "",
    nature: Annotated[str, typer.Option("--nature", help="Triage: the nature of the issue.")] = "",
    impact: Annotated[str, typer.Option("--impact", help="Triage: the business impact.")] = "",
    fact: Annotated[list[str], typer.Option("--set", help="FIELD=VALUE, for what was not yet known.")] = NO_NAMES,
    task: Annotated[str, typer.Option("--task", help="A task of the list that you have done by hand.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Records what is learnt: severity, triage, ETA, facts, tasks done by hand.

    Examples:

      allclear incident update inc-1 --by engineer.on.call --severity P1 --reason "everyone is affected"

      allclear incident update inc-1 --by support.lead --set "symptoms=campaigns stay in pending send"
    """
    from recovery.terminal import incident_steps

    said = incident_steps.Learnt(severity, reason, eta, nature, impact, tuple(fact), task)
    run_to_exit(lambda: incident_steps.update(config, ref, by, said, as_json=as_json), as_json)


@incident_app.command()
def rca(
    ref: Ref,
    by: By,
    detection: Annotated[str, typer.Option("--detection", help="How it was noticed.")] = "",
    trigger: Annotated[str, typer.Option("--trigger", help="What set it off.")] = "",
    cause: Annotated[list[str], typer.Option("--cause", help="A root cause; may be repeated.")] = NO_NAMES,
    temporary_fix: Annotated[str, typer.Option("--temporary-fix", help="What made it work again for now.")] = "",
    permanent_fix: Annotated[str, typer.Option("--permanent-fix", help="What keeps it from coming back.")] = "",
    action: Annotated[
        list[str], typer.Option("--action", help='"what; owner; 2026-11-30; OPS-1"; may be repeated.')
    ] = NO_NAMES,
    for_customers: Annotated[str, typer.Option("--for-customers", help="What happened, in words for customers.")] = "",
    cause_for_customers: Annotated[
        str, typer.Option("--cause-for-customers", help="The cause, in words for them.")
    ] = "",
    final: Annotated[bool, typer.Option("--final", help="The final version; refused while a field is open.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Drafts the root-cause analysis from the ledger; marked preliminary until `--final`.

    Example:

      allclear incident rca inc-1 --by engineer.on.call --trigger "storage failover" --cause "lost queue"
    """
    from recovery.desk.rca import Counts, RcaFacts
    from recovery.terminal import incident_commands as desk

    facts = RcaFacts(
        Counts(),
        detection=detection,
        trigger=trigger,
        causes=tuple(cause),
        temporary_fix=temporary_fix,
        permanent_fix=permanent_fix,
        summary_for_customers=for_customers,
        causes_for_customers=cause_for_customers,
    )
    run_to_exit(lambda: desk.rca(config, ref, by, facts, tuple(action), final, as_json=as_json), as_json)


@incident_app.command("approve-rca")
def approve_rca(
    ref: Ref,
    digest: Annotated[str, typer.Argument(help="The digest that `rca` printed.")],
    by: By,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Approves a version of the analysis; it is delivered, and delivery stops the clock.

    Example:

      allclear incident approve-rca inc-1 8c1d22e0b7aa --by engineer.on.call
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.approve_rca(config, ref, digest, by, as_json=as_json), as_json)


@incident_app.command()
def show(
    ref: Ref,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Every step, post, link and approval, in order.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """What is delivered, open, unlinked, and to be done by a person.

    Example:

      allclear incident show inc-1
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.show(config, ref, timeline, as_json=as_json), as_json)


@incident_app.command()
def clocks(ref: Ref, config: Config = None, as_json: AsJson = False) -> None:
    """Every promised time, counting down; exit code 1 when one is broken.

    Example:

      allclear incident clocks inc-1
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.clocks(config, ref, as_json=as_json), as_json)


@incident_app.command("list")
def listing(config: Config = None, as_json: AsJson = False) -> None:
    """Every incident: those at work in the order in which they are worked on, then the resolved ones, newest first.

    Example:

      allclear incident list
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.listing(config, as_json=as_json), as_json)


@incident_app.command()
def tick(config: Config = None, as_json: AsJson = False) -> None:
    """Clocks, expiries, overdue updates and everything still to be delivered, once. The deployment `watch` calls it.

    Example:

      allclear incident tick
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.tick(config, as_json=as_json), as_json)


@incident_app.command()
def sla(
    days: Annotated[float, typer.Option("--days", min=0, help="How far back.")] = 90.0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Promises kept and broken, per severity and client.

    Example:

      allclear incident sla --days 30
    """
    from recovery.terminal import incident_commands as desk

    run_to_exit(lambda: desk.promises(config, days, as_json=as_json), as_json)
