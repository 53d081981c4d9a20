"""Where each remote system is and where its secret is, as tables of `allclear.toml`; unknown keys are errors.

Secrets are named by *where they are* (environment, file, Prefect block), never by value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recovery.window import known_zone

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretAt(Strict):
    """Where one secret is: exactly one of an environment variable, a file, a Prefect Secret block."""

    env: str | None = None
    file: Path | None = None
    prefect_block: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretAt:
        if sum(x is not None for x in (self.env, self.file, self.prefect_block)) != 1:
            raise ValueError("name exactly one of env, file, prefect_block")
        return self

    @property
    def place(self) -> str:
        """Where it is, for people; never its value."""
        if self.env is not None:
            return f"environment variable {self.env}"
        return f"file {self.file}" if self.file is not None else f"Prefect block {self.prefect_block}"


class Pro2Settings(Strict):
    """One account's Prospect2 URL (from its developer page; never built from a name) and key.

    The key goes into a header. Where v1 takes it only as its old `api_key` parameter, `v1_key_in_url` puts it there
    too; servers on the way may log it, so it is off unless an operator says otherwise.
    """

    base_url: str
    token: SecretAt
    v1_key_in_url: bool = False
    requests_per_second: float = Field(default=5.0, gt=0, le=100)


Button = Literal["stop", "reprocess", "run_now", "repeat", "imports"]
Page = Literal["activity_log", "console", "imports", "triggers"]


class AssistedSettings(Strict):
    """How a person assists: what they may press, where the pages are, and for how long things are believed.

    A reading of the logs is believed for `log_age_minutes`; a claim lasts `lease_minutes`; after "about to click" the
    statement is late after `click_minutes`; a recovery's go-ahead is good for `go_ahead_minutes`.
    """

    offers: tuple[Button, ...] = ("stop", "reprocess", "run_now", "repeat", "imports")
    links: dict[Page, str] = Field(default_factory=dict)
    log_age_minutes: float = Field(default=30.0, gt=0)
    definitions_age_hours: float = Field(default=168.0, gt=0)
    lease_minutes: float = Field(default=15.0, gt=0)
    click_minutes: float = Field(default=10.0, gt=0)
    go_ahead_minutes: float = Field(default=60.0, gt=0)

    @field_validator("links")
    @classmethod
    def _web_addresses(cls, value: dict[Page, str]) -> dict[Page, str]:
        if any(urlsplit(link).scheme != "https" for link in value.values()):
            raise ValueError("links must be https: people open them with their login")
        return value


class DashboardSettings(Strict):
    """The Integrated Dashboard: through a bridge that serves the contract, or assisted by a named person."""

    mode: Literal["bridge", "assisted"] = "bridge"
    base_url: str = ""
    token: SecretAt | None = None
    requests_per_second: float = Field(default=10.0, gt=0, le=1000)
    assisted: AssistedSettings = AssistedSettings()

    @model_validator(mode="after")
    def _bridge_needs_a_url(self) -> DashboardSettings:
        if self.mode == "bridge" and (not self.base_url or self.token is None):
            raise ValueError('mode "bridge" needs base_url and token')
        return self


class TessituraSettings(Strict):
    """Tessitura REST with its four-part Basic credentials."""

    base_url: str
    user: str
    group: str
    location: str
    password: SecretAt
    requests_per_second: float = Field(default=10.0, gt=0, le=1000)


class AccountSettings(Strict):
    """One customer of the platform.

    `test_account` allows `allclear doctor --prove`, which writes; `seed_list` is the id of a Pro2 list that holds only
    addresses of our own, without which no truth test ever comes near a send. `proven_by` names the test account of the
    same platform whose proofs count for this one. `dashboard` and `tessitura` are left out where there is none.
    """

    name: Name
    time_zone: str
    pro2: Pro2Settings
    dashboard: DashboardSettings | None = None
    tessitura: TessituraSettings | None = None
    test_account: bool = False
    seed_list: str = ""
    proven_by: str = ""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if known_zone(value) is None:
            raise ValueError(f"{value!r} is not an IANA time zone such as America/New_York")
        return value


class Paced(Strict):
    """A remote with a pace of its own; None keeps the vendor's published limit."""

    requests_per_second: float | None = Field(default=None, gt=0, le=1000)


class JiraSettings(Paced):
    """Where incident tickets are filed: a site, or https://api.atlassian.com/ex/jira/{cloudId} for scoped tokens.

    `extra_fields` are what this project requires beyond summary and description, by field id, as Jira's API takes them.
    """

    base_url: str
    email: str = ""
    token: SecretAt
    project: str
    issue_type: str = "Incident"
    browse_url: str = ""
    extra_fields: dict[str, Any] = Field(default_factory=dict)


class SlackSettings(Paced):
    """An internal Slack app and the channel it writes to."""

    base_url: str = "https://slack.com/api"
    token: SecretAt
    channel: str


class ZendeskSettings(Paced):
    """Where customers are answered: OAuth with a client of its own, or `token` for an API token while it lives.

    With an API token `client_id` is the e-mail address of its user. Token pairs are kept in the ledger's state folder.
    """

    base_url: str
    client_id: Text
    client_secret: SecretAt | None = None
    scope: str = "tickets:read tickets:write"
    grant: Literal["client_credentials", "refresh_token"] = "client_credentials"
    first_refresh: SecretAt | None = None
    token: SecretAt | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> ZendeskSettings:
        if (self.client_secret is None) == (self.token is None):
            raise ValueError("name exactly one of client_secret (OAuth) and token (API token)")
        return self


class PagerDutySettings(Paced):
    """One PagerDuty service: its Events v2 routing key and a REST token to look with."""

    events_url: str = "https://events.pagerduty.com"
    rest_url: str = "https://api.pagerduty.com"
    routing_key: SecretAt
    token: SecretAt
    service: Text


class ClickUpSettings(Paced):
    """The clients' boards; `key_field` is the id of a text custom field that holds our keys."""

    base_url: str = "https://api.clickup.com/api/v2"
    token: SecretAt
    key_field: Text


class BoardSettings(Strict):
    """Another kind of board in ClickUp's place: `factory` is "module:function", called with a `BoardKit`."""

    factory: Text
    base_url: str = ""
    token: SecretAt | None = None
    options: dict[str, str] = Field(default_factory=dict)


class PendoSettings(Paced):
    """In-app guides; the key needs "Allow Write Access" to switch them."""

    base_url: str = "https://app.pendo.io"
    key: SecretAt


class StatuspageSettings(Paced):
    """The public status page."""

    base_url: str = "https://api.statuspage.io/v1"
    key: SecretAt
    page: Text


class SmtpSettings(Strict):
    """How mail goes out. `security` is "none" for a server on this machine only."""

    host: Text
    port: int = Field(default=587, ge=1, le=65535)
    sender: Text
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: SecretAt | None = None


class PanelSettings(Strict):
    """One messaging panel of one customer, for playbooks (R000.7). `account` need not be one of `[[accounts]]`.

    `ref` is Meta's business account id, or any name for a Netcore account; `url` is the panel as people open it.
    `token` holds Meta's token, or the whole Authorization value for Netcore. `languages` are all languages in the
    provider's words; `lists_all` states that a list without filters is proven to hold everything.
    """

    account: Name
    provider: Literal["netcore", "meta"]
    ref: Name
    base_url: str
    token: SecretAt
    url: str = ""
    name: str = ""
    regions: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    lists_all: bool = False

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and urlsplit(value).scheme != "https":
            raise ValueError("must be https: people open it with their login")
        return value

    @field_validator("regions")
    @classmethod
    def _capitals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(v.strip().upper() for v in value)


class WebhookSettings(Strict):
    """Signing secrets of what may call us (`allclear webhooks`); a source without one is not served.

    Two secrets stand beside each other while one replaces the other. `slack_users` are the Slack user ids whose button
    presses count. `statuspage` serves its unsigned hints, of which at most `reads_per_hour` cause a read.
    """

    outage: tuple[SecretAt, ...] = ()
    pagerduty: tuple[SecretAt, ...] = ()
    slack: tuple[SecretAt, ...] = ()
    slack_users: tuple[str, ...] = ()
    statuspage: bool = False
    reads_per_hour: int = Field(default=12, ge=1, le=360)


class PlaybookSettings(Strict):
    """Where playbooks are, this site's names for them, and who may approve a change of a customer's setting.

    With `pictures` evidence cards are also drawn as PNG where a headless browser is there (a second or two each).
    """

    folder: Path = Path("playbooks")
    site: Path | None = None
    approvers: tuple[str, ...] = ()
    pictures: bool = True
