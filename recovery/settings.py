"""Reads `allclear.toml`, `policy.toml` and the outage playbook into frozen data; unknown keys are errors.

Secrets are named by *where they are* (environment, file, Prefect block), never by value, and read once, at the edge.
Relative paths are relative to the file that names them.
"""

from __future__ import annotations

import os
import tomllib
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator

from recovery.errors import ConfigError
from recovery.model import Remedy
from recovery.policy import Decision, Limits, People, Policy, QuietHours, ValidUntil, Waits
from recovery.settings_remotes import (
    AccountSettings,
    BoardSettings,
    ClickUpSettings,
    JiraSettings,
    PagerDutySettings,
    PanelSettings,
    PendoSettings,
    PlaybookSettings,
    SecretAt,
    SlackSettings,
    SmtpSettings,
    StatuspageSettings,
    Strict,
    WebhookSettings,
    ZendeskSettings,
)

__all__ = [
    "AccountSettings",
    "JiraSettings",
    "SecretAt",
    "Settings",
    "SlackSettings",
    "config_path",
    "load_policy",
    "load_settings",
    "read_toml",
    "reveal",
]

DEFAULT_CONFIG = Path("config/allclear.toml")
M = TypeVar("M", bound=BaseModel)
_WAITS, _LIMITS = Waits(), Limits()
RETIRED = {
    "waits.disarm_lead_seconds": "no setting any more, because every stop is proven by reading; remove the line",
    "pagerduty.sender": "no setting any more, because nothing is written over PagerDuty's REST API; remove the line",
}


class LedgerSettings(Strict):
    """SQLite or PostgreSQL. The URL of a database with a password is itself a secret: name where it is."""

    url: str = "sqlite:///../var/allclear.db"
    url_at: SecretAt | None = None
    state_dir: Path = Path("../var")


class Rehearsal(Strict):
    """A shifted clock for rehearsals; refused unless every base URL is a loopback address."""

    clock_offset_seconds: float = 0.0


class Settings(Strict):
    """All of `allclear.toml`."""

    accounts: list[AccountSettings] = Field(min_length=1)
    marker_key: SecretAt
    ledger: LedgerSettings = LedgerSettings()
    policy_file: Path = Path("policy.toml")
    playbook_file: Path = Path("playbooks/process-failure.toml")
    kill_file: Path = Path("../var/STOP")
    jira: JiraSettings | None = None
    slack: SlackSettings | None = None
    zendesk: ZendeskSettings | None = None
    smtp: SmtpSettings | None = None
    pagerduty: PagerDutySettings | None = None
    clickup: ClickUpSettings | None = None
    board: BoardSettings | None = None
    pendo: PendoSettings | None = None
    statuspage: StatuspageSettings | None = None
    desk_folder: Path = Path()
    maildir: Path | None = None
    panels: tuple[PanelSettings, ...] = ()
    playbooks: PlaybookSettings = PlaybookSettings()
    webhooks: WebhookSettings = WebhookSettings()
    rehearsal: Rehearsal = Rehearsal()
    folder: Path = Path()

    @model_validator(mode="after")
    def _names_differ(self) -> Settings:
        if self.clickup is not None and self.board is not None:
            raise ValueError("name either clickup or board, not both")
        names = [a.name for a in self.accounts]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"account {', '.join(twice)} is named twice")
        tests = {a.name for a in self.accounts if a.test_account}
        lost = sorted({a.proven_by for a in self.accounts if a.proven_by} - tests)
        if lost:
            raise ValueError(f"proven_by names {lost[0]!r}, which is no test account")
        return self

    def path(self, relative: Path) -> Path:
        """A path of the file as an absolute one."""
        return relative if relative.is_absolute() else (self.folder / relative).resolve()


class _WaitsFile(Strict):
    grace_seconds: float = Field(default=_WAITS.grace, ge=0)
    running_limit_seconds: float = Field(default=_WAITS.running_limit, ge=0)
    monitor_seconds: float = Field(default=_WAITS.monitor, ge=0)
    poll_seconds: float = Field(default=_WAITS.poll, gt=0)
    stop_check_seconds: float = Field(default=_WAITS.stop_check, ge=0)
    settle_seconds: float = Field(default=_WAITS.settle, ge=0)
    settle_copy_seconds: float = Field(default=_WAITS.settle_copy, ge=0)
    arm_seconds: float = Field(default=_WAITS.arm, ge=0)
    departure_seconds: float = Field(default=_WAITS.departure, ge=0)
    job_seconds: float = Field(default=_WAITS.job, ge=0)
    watch_seconds: float = Field(default=_WAITS.watch, ge=0)
    lease_seconds: float = Field(default=_WAITS.lease, gt=0)
    send_within_seconds: float = Field(default=_WAITS.send_within, gt=0)
    write_deadline_seconds: float = Field(default=_WAITS.write_deadline, gt=0)
    read_seconds: float = Field(default=_WAITS.read, gt=0)


class _LimitsFile(Strict):
    releases_per_run: int = Field(default=_LIMITS.releases_per_run, ge=0)
    recipients_per_run: int = Field(default=_LIMITS.recipients_per_run, ge=0)
    recipients_per_hour: int = Field(default=_LIMITS.recipients_per_hour, ge=0)
    mails_per_person_a_day: int = Field(default=_LIMITS.mails_per_person_a_day, ge=0)
    jobs_at_once: int = Field(default=_LIMITS.jobs_at_once, ge=1)
    waves: tuple[int, ...] = _LIMITS.waves
    wave_bake_seconds: float = Field(default=_LIMITS.wave_bake, ge=0)
    removals_percent: float = Field(default=_LIMITS.removals_percent, ge=0, le=100)
    window_hours: float = Field(default=_LIMITS.window_hours, gt=0)
    two_people_above: int = Field(default=_LIMITS.two_people_above, ge=0)
    two_approvers_above: int = Field(default=_LIMITS.two_approvers_above, ge=0)
    max_unknowns_in_a_row: int = Field(default=_LIMITS.max_unknowns_in_a_row, ge=1)


class _QuietFile(Strict):
    start: time = time(0, 0)
    end: time = time(0, 0)


class _ValidFile(Strict):
    account: str
    object: str
    at: datetime
    reason: str

    @field_validator("at")
    @classmethod
    def _zoned(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("needs a zone, for example 2026-11-01T18:00:00Z")
        return value


class _PeopleFile(Strict):
    start: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    clear_stop: tuple[str, ...] = ()


class _UnattendedFile(Strict):
    accounts: tuple[str, ...] = ()


class _PolicyFile(Strict):
    waits: _WaitsFile = _WaitsFile()
    limits: _LimitsFile = _LimitsFile()
    quiet_hours: _QuietFile = _QuietFile()
    people: _PeopleFile = _PeopleFile()
    valid_for_hours: float = Field(default=48.0, gt=0)
    valid_until: list[_ValidFile] = Field(default_factory=list)
    unattended: _UnattendedFile = _UnattendedFile()
    assume_one_shot_release: bool = False
    exclude_automations: bool = True
    plan_expires_minutes: float = Field(default=60.0, gt=0)
    after_successful_stop: Literal["ask", "reprocess"] = "ask"
    defuse: bool = True
    contact_us_url: str = "https://help.prospect2.com"


class _DecisionFile(Strict):
    kind: str
    verdict: str
    code: str = "*"
    remedy: Remedy
    why: str
    question: str = ""
    recommended: str = ""


class _PlaybookFile(Strict):
    id: str
    version: str
    title: str
    source_note: str = ""
    decision: list[_DecisionFile] = Field(min_length=1)


def config_path(given: Path | None) -> Path:
    """The file to read: given, `ALLCLEAR_CONFIG`, or the default."""
    return given or Path(os.environ.get("ALLCLEAR_CONFIG") or DEFAULT_CONFIG)


def load_settings(given: Path | None = None) -> Settings:
    """The checked settings. Raises ConfigError with one sentence that names the field."""
    path = config_path(given)
    data = read_toml(path)
    if "folder" in data:
        raise ConfigError(f"{path}: unknown key 'folder'", "Remove it.")
    return _checked(Settings, {**data, "folder": path.resolve().parent}, path)


def load_policy(settings: Settings) -> Policy:
    """The policy and the decision table. Raises ConfigError with one sentence that names the field."""
    path, table = settings.path(settings.policy_file), settings.path(settings.playbook_file)
    read = _checked(_PolicyFile, read_toml(path), path)
    playbook = _checked(_PlaybookFile, read_toml(table), table)
    known = {a.name for a in settings.accounts}
    named = {"unattended.accounts": set(read.unattended.accounts), "valid_until": {v.account for v in read.valid_until}}
    for field, names in named.items():
        for stranger in sorted(names - known):
            raise ConfigError(f"{path}: {field}: there is no account {stranger!r}", "Correct the name.")
    waits = {k.removesuffix("_seconds"): v for k, v in read.waits.model_dump().items()}
    limits = read.limits.model_dump()
    limits["wave_bake"] = limits.pop("wave_bake_seconds")
    return Policy(
        decisions=tuple(Decision(**d.model_dump()) for d in playbook.decision),
        waits=Waits(**waits),
        limits=Limits(**limits),
        quiet=QuietHours(read.quiet_hours.start, read.quiet_hours.end),
        people=People(**read.people.model_dump()),
        valid_for=timedelta(hours=read.valid_for_hours),
        valid_until=tuple(ValidUntil(v.account, v.object, v.at, v.reason) for v in read.valid_until),
        unattended_accounts=read.unattended.accounts,
        assume_one_shot_release=read.assume_one_shot_release,
        exclude_automations=read.exclude_automations,
        plan_expires=timedelta(minutes=read.plan_expires_minutes),
        after_successful_stop=read.after_successful_stop,
        defuse=read.defuse,
        contact_us_url=read.contact_us_url,
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises ConfigError when it is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration at {path}.",
            "Give one with --config FILE or ALLCLEAR_CONFIG; see docs/install.md.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Check the file and its permissions.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", "Correct the line it names.") from None


def _checked(kind: type[M], data: dict[str, Any], path: Path) -> M:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        unknown = RETIRED.get(where, "unknown key")
        what = unknown if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {where}: {what}", "Correct this field and run the command again.") from None


def reveal(secret: SecretAt, settings: Settings, field: str) -> SecretStr:
    """The secret, read from where the settings say. Raises ConfigError that names the place, never the value."""
    if secret.env is not None:
        value = os.environ.get(secret.env, "")
        fix = f"Set {secret.env}."
    elif secret.file is not None:
        value, fix = _from_file(settings.path(secret.file), field), f"Write the secret into {secret.file}."
    else:
        value, fix = _from_block(str(secret.prefect_block), field), "Save the block in the Prefect UI."
    if not value.strip():
        raise ConfigError(f"{field}: the secret in {secret.place} is empty or not set.", fix)
    return SecretStr(value)


def _from_file(path: Path, field: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"{field}: the secret file {path} cannot be read ({error.strerror}).", "Create it, readable only by you."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{field}: the secret file {path} is not text.", "Write the secret as UTF-8 text.") from None


def _from_block(name: str, field: str) -> str:
    """Prefect is imported here only: nothing else needs it to read settings."""
    try:
        from prefect.blocks.system import Secret

        block: Any = Secret.load(name, _sync=True)  # type: ignore[call-arg] # Prefect's own switch to the blocking form
        return str(block.get())
    except Exception as error:  # noqa: BLE001 # whatever Prefect raises, the reader needs the field and the block
        raise ConfigError(
            f"{field}: Prefect block {name!r} cannot be loaded ({type(error).__name__}).",
            "Check PREFECT_API_URL and the block's name.",
        ) from None
