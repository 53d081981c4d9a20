"""What an operator edits for the desk: `config/desk.toml`, with `config/sla.toml` and `config/templates/*.j2`.

Every client's P1 address must be set, outside the file (R003.30). Unknown keys are refused by name.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator

from recovery.desk.business_time import Timetable
from recovery.desk.sla_settings import SEVERITIES, Part, Severity, SlaSettings, Text
from recovery.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Phase = Literal["investigating", "identified", "resolved"]
Scope = Literal["subset", "entire"]
PHASES: tuple[Phase, ...] = ("investigating", "identified", "resolved")
TEMPLATES = (*PHASES, "update", "acknowledgement", "missing_fields", "p1_notice", "rca_customer")
REQUIRED_LINES = {
    "investigating": ("Estimated Resolution Time:", "Symptoms:"),
    "identified": ("Estimated Resolution Time:", "Symptoms:"),
}


class NoticeRules(Part):
    """When signals become an incident (R002.3)."""

    reports_needed: Annotated[int, Field(ge=2)]
    report_window_minutes: Annotated[int, Field(ge=1)]
    merge_window_minutes: Annotated[int, Field(ge=1)]


class SeverityDefinition(Part):
    """The policy text of one severity and what it never covers (R003.31 to R003.41)."""

    definition: Text
    examples: tuple[str, ...] = ()
    excludes_environments: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    mailbox: Literal["p1", "help", "success"]
    source_text_complete: bool = True


class Channels(Part):
    """Chat channels: the teams' and the one for alarms."""

    team: Text
    alarms: Text


class Addresses(Part):
    """Public mailboxes."""

    help: Text
    success: Text


class AnnouncementRules(Part):
    """Announcements and their times in minutes."""

    update_minutes: Annotated[int, Field(ge=1)]
    expiry_minutes: Annotated[int, Field(ge=1)]
    expiry_grace_minutes: Annotated[int, Field(ge=1)]
    rotating_light: bool
    self_approval: bool
    status_page_scopes: tuple[Scope, ...]


class Guides(Part):
    """One prepared guide per phase."""

    investigating: Text
    identified: Text
    resolved: Text


class InAppSettings(Part):
    """Announcements in the product: switch prepared guides, or tell a person what to paste and when to take it down."""

    mode: Literal["guides", "manual", "off"]
    guides: Guides | None = None
    segments: Mapping[Scope, str] = Field(default_factory=dict)
    deep_link: str = ""
    owner_role: Text

    @model_validator(mode="after")
    def _usable(self) -> InAppSettings:
        if self.mode == "guides" and self.guides is None:
            raise ValueError("mode = guides needs the three guide ids in guides")
        if self.mode == "manual" and not self.deep_link:
            raise ValueError("mode = manual needs a deep_link to where the text is pasted")
        return self


class ChainLink(Part):
    """One step of the on-call chain: who, how, and how many minutes after the page."""

    who: Text
    channel: Text
    after_minutes: Annotated[int, Field(ge=0)]


class InternalWords(Part):
    """What must never stand in a text that customers see (R002.33)."""

    jira_projects: tuple[Text, ...]
    words: tuple[Text, ...] = ()


class QueueRules(Part):
    """The order of the queue: earlier in a list comes first (R003.9)."""

    natures: tuple[Text, ...]
    impacts: tuple[Text, ...]


class Client(Part):
    """One client of the desk. The secret P1 address is in the environment variable `p1_address_env`, or in the file
    `p1_address_file` (relative to desk.toml).
    """

    name: Text
    calendar: Text
    p1_address_env: str = ""
    p1_address_file: str = ""
    p1_address: SecretStr = SecretStr("")
    domains: tuple[Text, ...] = ()
    notice_to: tuple[Text, ...] = ()
    board_ref: str = ""
    live_since: datetime | None = None
    brand: str = ""

    def live(self, now: datetime) -> bool:
        """Whether the client has gone live: only then is there a board (R003.7)."""
        return self.live_since is not None and self.live_since <= now


P1Event = Literal["page", "channel", "ticket", "client_notice", "log"]
Step = Literal[
    "declare", "change_severity", "announce", "approve_announcement", "confirm_resolved", "approve_rca", "link"
]


class DeskFile(Part):
    """`config/desk.toml`."""

    brand: Text
    customer_ticket_url: Text
    notice: NoticeRules
    severities: Mapping[Severity, SeverityDefinition]
    roles: Mapping[Text, tuple[Text, ...]]
    permissions: Mapping[Step, tuple[Text, ...]]
    duties: Mapping[Text, tuple[Text, ...]]
    channels: Channels
    addresses: Addresses
    announcements: AnnouncementRules
    in_app: InAppSettings
    on_call: tuple[ChainLink, ...]
    p1_events: tuple[P1Event, ...]
    internal: InternalWords
    queue: QueueRules
    required_fields: tuple[Text, ...]
    status_components: tuple[str, ...] = ()
    team_tickets: tuple[str, ...] = ()
    clients: Mapping[str, Client] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_roles(self) -> DeskFile:
        for step, roles in self.permissions.items():
            unknown = [r for r in roles if r not in self.roles]
            if unknown:
                raise ValueError(f"permissions.{step} names an unknown role: {', '.join(unknown)}")
        missing = [s for s in SEVERITIES if s not in self.severities]
        if missing:
            raise ValueError(f"severities lacks {', '.join(missing)}")
        if not self.on_call or [c.after_minutes for c in self.on_call] != sorted(c.after_minutes for c in self.on_call):
            raise ValueError("on_call must have at least one step, in order of after_minutes")
        return self


class DeskSettings(Part):
    """Everything the desk may be told, checked as a whole."""

    desk: DeskFile
    sla: SlaSettings
    templates: Mapping[str, str]

    def with_project(self, key: str) -> DeskSettings:
        """These settings with a ticket project whose keys are internal too."""
        internal = self.desk.internal
        projects = tuple(dict.fromkeys((*internal.jira_projects, key)))
        internal = internal.model_copy(update={"jira_projects": projects})
        return self.model_copy(update={"desk": self.desk.model_copy(update={"internal": internal})})

    def timetable(self, account: str = "") -> Timetable:
        """The business calendar of a client; of the first calendar when the client is not known."""
        client = self.desk.clients.get(account)
        return self.sla.timetable(client.calendar if client else next(iter(self.sla.calendars)))

    def brand(self, account: str = "") -> str:
        """The brand name a client knows (R003.50)."""
        client = self.desk.clients.get(account)
        return (client.brand if client else "") or self.desk.brand


def load_desk(config_dir: Path, environ: Mapping[str, str] | None = None) -> DeskSettings:
    """Read and check the desk's settings; raises ConfigError naming the file, the field and what is wrong with it.

    `environ` holds the secret P1 addresses under the names that the clients' `p1_address_env` give.
    """
    environ = os.environ if environ is None else environ
    sla = _checked(SlaSettings, config_dir / "sla.toml")
    desk = _checked(DeskFile, config_dir / "desk.toml")
    clients = {name: _with_address(name, client, environ, config_dir) for name, client in desk.clients.items()}
    for name, client in clients.items():
        if client.calendar not in sla.calendars:
            raise ConfigError(f'desk.toml: clients.{name}.calendar: sla.toml has no calendar "{client.calendar}".')
    templates = {name: _template(config_dir / "templates" / f"{name}.j2") for name in TEMPLATES}
    return DeskSettings(desk=desk.model_copy(update={"clients": clients}), sla=sla, templates=templates)


def _checked(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path.name}: {field or 'the file'}: {first['msg']}.") from error


def _with_address(name: str, client: Client, environ: Mapping[str, str], folder: Path) -> Client:
    if client.p1_address.get_secret_value():
        raise ConfigError(
            f"desk.toml: clients.{name}.p1_address: the P1 address is a secret and must not stand in the file.",
            "Name the environment variable (p1_address_env) or the file (p1_address_file) that holds it.",
        )
    if bool(client.p1_address_env) == bool(client.p1_address_file):
        raise ConfigError(f"desk.toml: clients.{name}: name exactly one of p1_address_env and p1_address_file.")
    address = environ.get(client.p1_address_env, "").strip()
    if client.p1_address_file:
        try:
            address = (folder / client.p1_address_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            address = ""
    if "@" not in address:
        field = "p1_address_env" if client.p1_address_env else "p1_address_file"
        raise ConfigError(
            f"desk.toml: clients.{name}.{field}: {getattr(client, field)} holds no mail address.",
            "The P1 address comes from the client's onboarding; set it before the desk starts.",
        )
    return client.model_copy(update={"p1_address": SecretStr(address.lower())})


def _template(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"templates/{path.name} cannot be read.") from error
    if "\n" not in text:
        raise ConfigError(f"templates/{path.name}: the first line is the title, the text follows from the second on.")
    missing = [line for line in REQUIRED_LINES.get(path.stem, ()) if line not in text]
    if missing:
        raise ConfigError(f'templates/{path.name}: the line "{missing[0]}" is missing.')
    return text
