"""`allclear case`: the names, options and help of casework. Everything heavy is imported when it is needed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from recovery.terminal.cli_options import NO_NAMES, App, By, Config, Group, run_to_exit

if TYPE_CHECKING:
    from recovery.terminal.case_commands import Where

EPILOG = """
Exit codes: 0 the case is clear (or the command has nothing to wait for), 1 failed or refused, 2 usage or configuration,
3 a person is waited for: the answer says whom for, and with which command to go on.
"""


class PlaybooksToo(Group):
    """A playbook's id in place of a command, as in `case link-tracking ...`, opens a case and checks it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the words name; a word that is neither a command nor a playbook stays an error."""
        opens = args[0] not in self.commands and _is_playbook(args)
        return super().resolve_command(ctx, ["open", args[0], "--check", *args[1:]] if opens else args)


def _is_playbook(args: list[str]) -> bool:
    from recovery.errors import AllclearError
    from recovery.settings import load_settings

    try:
        given = next((Path(value) for name, value in pairwise(args) if name in ("-c", "--config")), None)
        settings = load_settings(given)
    except AllclearError:
        return False
    return (settings.path(settings.playbooks.folder) / f"{Path(args[0]).name}.toml").is_file()


case_app = App(
    cls=PlaybooksToo,
    help="Plays a playbook for one complaint: asks for what is missing, runs every check, names every cause, answers "
    "the client or escalates with a complete package, and keeps the evidence. A playbook's id in place of a command "
    "opens a case and checks it.",
    epilog=EPILOG,
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/json-case.md) and nothing else.")]
Ref = Annotated[str, typer.Argument(help="The case, or how its reference begins.")]
Stage = Annotated[str, typer.Argument(help="The playbook's stage.")]
Fields = Annotated[list[str], typer.Option("--field", help="A field of the intake, name=value; may be repeated.")]
Shot = Annotated[Optional[Path], typer.Option("--file", help="A screenshot: PNG, JPEG, PDF or text.")]  # noqa: UP045 # typer
Note = Annotated[str, typer.Option("--note", help="For colleagues; the client never sees it.")]


@case_app.command("open")
def open_(
    playbook: Annotated[str, typer.Argument(help="The playbook's id, such as link-tracking.")],
    account: Annotated[str, typer.Option("--account", "-a", help="The client's account.")],
    by: By,
    template: Annotated[str, typer.Option("--template", help="Exact name of the template.")] = "",
    campaign: Annotated[str, typer.Option("--campaign", help="The campaign's id.")] = "",
    journey: Annotated[str, typer.Option("--journey", help="Or the journey's id.")] = "",
    ticket: Annotated[str, typer.Option("--ticket", help="The client's ticket.")] = "",
    field: Fields = NO_NAMES,
    check: Annotated[bool, typer.Option("--check", help="Run the checks at once when nothing is missing.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Opens a case, or finds the one that was opened for the same complaint; tells exactly what is missing.

    Examples:

      allclear case open link-tracking --account harbor --template spring_offer --campaign C-77 --by "Dana Reyes"

      allclear case open link-tracking -a harbor --template spring_offer --journey J-5 --ticket 4711 --field region=US
      --field sent_on=2026-11-01 --by "Dana Reyes" --check
    """
    from recovery.terminal import case_commands as commands

    named = {"template_name": template, "campaign_ref": campaign, "journey_ref": journey, "ticket_ref": ticket}

    async def run() -> int:
        fields = commands.fields_of(named, field)
        return await commands.open_(commands.Where(config, as_json), playbook, account, fields, by, check)

    run_to_exit(run, as_json)


@case_app.command()
def give(ref: Ref, by: By, field: Fields = NO_NAMES, config: Config = None, as_json: AsJson = False) -> None:
    """Adds fields that the intake lacked.

    Example:

      allclear case give link-tracking-1a2b3c --field since=2026-11-01 --by "Dana Reyes"
    """
    from recovery.terminal import case_commands as commands

    async def run() -> int:
        fields = commands.fields_of({}, field)
        return await commands.do(commands.Where(config, as_json), ref, "give", fields, by)

    run_to_exit(run, as_json)


@case_app.command()
def show(ref: Ref, config: Config = None, as_json: AsJson = False) -> None:
    """Where the case stands: checks, causes, who is waited for and the next commands. Reads no remote.

    Example:

      allclear case show link-tracking-1a2b3c
    """
    _step(config, as_json, ref, "view")


@case_app.command("list")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """Every case, the newest first.

    Example:

      allclear case list --json
    """
    from recovery.terminal import case_commands as commands

    run_to_exit(lambda: commands.list_(commands.Where(config, as_json)), as_json)


@case_app.command()
def check(ref: Ref, by: By = "", config: Config = None, as_json: AsJson = False) -> None:
    """Runs every check of every block, whatever was checked before; keeps each answer as evidence. Only reads.

    Example:

      allclear case check link-tracking-1a2b3c --by "Dana Reyes"
    """
    _step(config, as_json, ref, "check", by)


@case_app.command()
def attest(
    ref: Ref,
    check: Annotated[str, typer.Argument(help="The open check.")],
    choice: Annotated[str, typer.Argument(help="One of its answers.")],
    by: By,
    statement: Annotated[str, typer.Option("--statement", help="What you saw, in your own words.")],
    file: Shot = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Records what you saw where no API can tell: signed with your name, with a screenshot if you have one.

    Example:

      allclear case attest link-tracking-1a2b3c panel on --statement "it is on" --file panel.png --by "Dana Reyes"
    """
    from recovery.terminal import case_commands as commands

    async def run() -> int:
        upload = commands.read_upload(file)
        return await commands.do(commands.Where(config, as_json), ref, "attest", check, choice, by, statement, upload)

    run_to_exit(run, as_json)


@case_app.command()
def attach(
    ref: Ref,
    check: Annotated[str, typer.Argument(help="The check it belongs to.")],
    file: Annotated[Path, typer.Argument(help="PNG, JPEG, PDF or text.")],
    by: By,
    slot: Annotated[str, typer.Option("--slot", help='The evidence slot; "log" for logs.')] = "log",
    title: Annotated[str, typer.Option("--title", help="What it shows.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Adds a file as evidence. It answers no check.

    Example:

      allclear case attach link-tracking-1a2b3c clicks report.png --slot report --title "the report" --by "Dana Reyes"
    """
    from recovery.terminal import case_commands as commands

    async def run() -> int:
        content = commands.read_upload(file) or b""
        return await commands.do(
            commands.Where(config, as_json), ref, "attach", check, slot, title or file.name, by, content
        )

    run_to_exit(run, as_json)


@case_app.command()
def references(ref: Ref, by: By, config: Config = None, as_json: AsJson = False) -> None:
    """Searches for similar cases and tickets and records what was found; "none found" is recorded too.

    Example:

      allclear case references link-tracking-1a2b3c --by "Dana Reyes"
    """
    _step(config, as_json, ref, "references", by)


@case_app.command()
def reply(
    ref: Ref,
    approve: Annotated[str, typer.Option("--approve", help="Send exactly the draft of this digest.")] = "",
    by: By = "",
    again: Annotated[bool, typer.Option("--again", help="Although the client has had a reply.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Shows the reply to the client with its digest; with --approve, sends exactly that, once.

    Examples:

      allclear case reply link-tracking-1a2b3c

      allclear case reply link-tracking-1a2b3c --approve 3f2a9c41d0e8 --by "Dana Reyes"
    """
    _step(config, as_json, ref, "reply", approve, by, again)


@case_app.command()
def offers(ref: Ref, config: Config = None, as_json: AsJson = False) -> None:
    """Changes of settings that would help, with their consequences. Nothing is ever switched unasked.

    Example:

      allclear case offers link-tracking-1a2b3c
    """
    _step(config, as_json, ref, "view")


@case_app.command("approve-setting")
def approve_setting(
    ref: Ref,
    offer: Annotated[str, typer.Argument(help="The offer.")],
    by: By,
    accept: Annotated[bool, typer.Option("--accept-consequences", help="I have read the consequences.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Consents to one offered change, in the name of an approver of the settings; a person then makes it by hand.

    Example:

      allclear case approve-setting link-tracking-1a2b3c panel-on-meta --accept-consequences --by "Dana Reyes"
    """
    _step(config, as_json, ref, "approve_setting", offer, by, accept)


@case_app.command()
def stage(
    ref: Ref,
    stage: Stage,
    team: Annotated[str, typer.Option("--team", help="Which team looked.")],
    by: By,
    resolved: Annotated[bool, typer.Option("--resolved/--not-resolved", help="Whether it found the resolution.")],
    note: Note = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Records that a team has gone through a verification stage; without a resolution it is handed over.

    Example:

      allclear case stage link-tracking-1a2b3c business --team CSM --not-resolved --note "looks right" --by "Ann Lee"
    """
    _step(config, as_json, ref, "stage", stage, team, resolved, note, by)


@case_app.command()
def escalate(
    ref: Ref,
    stage: Stage,
    by: By,
    absent: Annotated[list[str], typer.Option("--absent", help="A contact who is away; may be repeated.")] = NO_NAMES,
    override: Annotated[str, typer.Option("--override", help="Why it goes although something is missing.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Opens an escalation with the whole package; refused while a part of it is missing.

    Examples:

      allclear case escalate link-tracking-1a2b3c sme --absent sme1 --by "Dana Reyes"

      allclear case escalate link-tracking-1a2b3c cross_functional --by "Dana Reyes"
    """
    _step(config, as_json, ref, "escalate", stage, by, tuple(absent), override)


@case_app.command()
def post(
    ref: Ref,
    stage: Stage,
    text: Annotated[str, typer.Argument(help="The message.")],
    by: By,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """A message to an escalation's channel; refused unless that escalation is open.

    Example:

      allclear case post link-tracking-1a2b3c cross_functional "any news?" --by "Dana Reyes"
    """
    _step(config, as_json, ref, "post", stage, text, by)


@case_app.command()
def resolve(
    ref: Ref,
    stage: Stage,
    by: By,
    client_text: Annotated[str, typer.Option("--client-text", help="What the client is told.")],
    note: Note = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The team has solved it: the parent ticket gets an internal note, and the client is told.

    Example:

      allclear case resolve link-tracking-1a2b3c cross_functional --note "domain mended" --client-text "Clicks are
      counted again." --by "Ann Lee"
    """
    _step(config, as_json, ref, "resolve", stage, note, client_text, by)


@case_app.command()
def send(ref: Ref, config: Config = None, as_json: AsJson = False) -> None:
    """Does what the case asked of the desks and could not be done yet. Each thing happens at most once.

    Example:

      allclear case send link-tracking-1a2b3c
    """
    _step(config, as_json, ref, "send")


@case_app.command()
def settle(
    ref: Ref,
    effect: Annotated[str, typer.Argument(help="Its number or name, as `case show` has it.")],
    answer: Annotated[str, typer.Argument(help="happened, not-happened or drop.")],
    by: By,
    reason: Annotated[str, typer.Option("--reason", help="What you did or saw.")],
    remote_ref: Annotated[str, typer.Option("--ref", help="What it produced, such as the child ticket's key.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Says what became of something that a person had to do, or that could not be proven.

    Example:

      allclear case settle link-tracking-1a2b3c 2 happened --ref OPS-12 --reason "opened by hand" --by "Dana Reyes"
    """
    _step(config, as_json, ref, "settle", effect, answer, by, reason, remote_ref)


@case_app.command()
def feedback(
    ref: Ref,
    answer: Annotated[str, typer.Argument(help="What helped, what was wrong or missing.")],
    by: By,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Keeps what you say about the playbook, with the version that this case was opened under.

    Example:

      allclear case feedback link-tracking-1a2b3c "the menu path has changed" --by "Dana Reyes"
    """
    _step(config, as_json, ref, "feedback", answer, by)


@case_app.command()
def export(
    ref: Ref,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip.")] = Path("case.zip"),
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Writes the whole case as one zip: timeline, every piece of evidence, and the digest of each file.

    Example:

      allclear case export link-tracking-1a2b3c -o case.zip
    """
    from recovery.terminal import case_commands as commands

    run_to_exit(lambda: commands.export(commands.Where(config, as_json), ref, output), as_json)


def _step(config: Path | None, as_json: bool, ref: str, step: str, *values: Any) -> None:
    from recovery.terminal import case_commands as commands

    where: Where = commands.Where(config, as_json)
    run_to_exit(lambda: commands.do(where, ref, step, *values), as_json)
