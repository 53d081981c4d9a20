"""One outage for a test: an estate in this process, a configuration with short waits, and the calls that all doors use.

What happened is judged by the remotes' journals and by the oracle, which is a program of its own.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from recovery.answers import give
from recovery.approvals import acting, reach_of
from recovery.audit import AuditResult
from recovery.ledger.rows import ItemRow
from recovery.model import Approval, Finding, OutageWindow, Plan, iso
from recovery.operate import RecoverResult, Run, audit_window, plan_from
from recovery.settings import load_settings
from recovery.terminal.rehearsal import write_config
from recovery.views import recover_view
from recovery.wiring import Systems, open_systems, silent
from sandbox.estate import Builder, Estate
from sandbox.pro2_records import API_USER
from sandbox.scenarios import begin
from sandbox.story import Account, Story, make_account
from sandbox.world import Fault, World

REPO = Path(__file__).resolve().parents[2]
PLAYBOOK = REPO / "config" / "playbooks" / "process-failure.toml"
PEOPLE = ("Dana Reyes", "Sam Okafor")
WAITS = {
    "grace_seconds": 900,
    "running_limit_seconds": 5400,
    "monitor_seconds": 4200,
    "poll_seconds": 0.03,
    "stop_check_seconds": 0.06,
    "settle_seconds": 0.2,
    "settle_copy_seconds": 0.1,
    "arm_seconds": 0,
    "departure_seconds": 5,
    "job_seconds": 5,
    "lease_seconds": 5,
    "send_within_seconds": 5,
    "write_deadline_seconds": 2,
}
LIMITS = {
    "recipients_per_run": 1_000_000,
    "recipients_per_hour": 1_000_000,
    "mails_per_person_a_day": 100,
    "wave_bake_seconds": 0,
    "waves": [100],
}


def policy_text(
    valid: Iterable[Mapping[str, Any]] = (),
    *,
    waits: Mapping[str, float] = {},
    limits: Mapping[str, Any] = {},
    top: str = "",
    tables: str = "",
) -> str:
    """A policy.toml with a test's own values in place of the short waits."""
    lines = [top, "[waits]", *(f"{k} = {v}" for k, v in {**WAITS, **waits}.items())]
    lines += ["[limits]", *(f"{k} = {v}" for k, v in {**LIMITS, **limits}.items()), tables]
    for row in valid:
        quoted = {k: json.dumps(str(row[k])) for k in ("account", "object", "reason")}
        lines += ["[[valid_until]]", *(f"{k} = {v}" for k, v in quoted.items()), f"at = {row['at']}"]
    return "\n".join(lines) + "\n"


@dataclass
class Night:
    """One outage with everything that a test turns and reads."""

    estate: Estate
    folder: Path
    config: Path
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    claims: list[Path] = field(default_factory=list)
    tell: Callable[[str, Mapping[str, Any]], None] = silent

    # ---- the estate

    @property
    def world(self) -> World:
        return self.estate.world

    def events(self, system: str, *names: str, **fields: object) -> list[dict[str, Any]]:
        """What a remote journalled, by event name and by what stands in the line."""
        return [
            row
            for row in self.world.read_journal(system)
            if (not names or row["event"] in names) and all(row.get(k) == v for k, v in fields.items())
        ]

    def fault(self, system: str, op: str, kind: str, account: str = "*", **more: Any) -> None:
        self.world.faults.add(Fault(system, account, op, kind, **more))

    def sent(self) -> int:
        """How many people got mail that the product released."""
        released = {(r["account"], r["campaign"]) for r in self.events("pro2", "campaign_status", by="api", to=1)}
        return sum(r["count"] for r in self.events("pro2", "delivery") if (r["account"], r["campaign"]) in released)

    def writes(self) -> list[dict[str, Any]]:
        """Everything that the product changed at the systems of the accounts."""
        changes = ("campaign_status", "campaign_stop_ignored", "edit", "copy", "delete", "tag_added", "tag_removed")
        ours = API_USER, "api", f"api:{API_USER}"
        mine = [r for r in self.events("pro2", *changes) if r.get("api_user", r.get("by")) in ours]
        return mine + self.events("dashboard", "run_requested", "stop")

    # ---- the product

    def policy(self, **changes: Any) -> None:
        """Writes the policy anew."""
        text = policy_text(self.estate.story.valid_until, **changes)
        (self.folder / "policy.toml").write_text(text, encoding="utf-8")

    @asynccontextmanager
    async def open(self, *names: str) -> AsyncIterator[Systems]:
        """The product, opened from its configuration."""

        def tell(what: str, facts: Mapping[str, Any]) -> None:
            self.told.append((what, facts))
            self.tell(what, facts)

        async with open_systems(load_settings(self.config), tell=tell, names=names) as systems:
            yield systems

    def window(self, *accounts: str, incident: str = "", **moved: Any) -> OutageWindow:
        start, end = (datetime.fromisoformat(self.estate.info["window"][k]) for k in ("start", "end"))
        names = accounts or tuple(a["name"] for a in self.estate.info["accounts"])
        return OutageWindow(moved.get("start", start), moved.get("end", end), names, incident=incident)

    async def audit(self, window: OutageWindow | None = None) -> dict[str, Finding]:
        """Findings by object id (the last slot of an object counts)."""
        async with self.open() as systems:
            return by_object(await audit_window(systems, window or self.window()))

    async def plan(self, window: OutageWindow | None = None) -> Plan | None:
        async with self.open() as systems:
            return await plan_from(systems, await audit_window(systems, window or self.window()))

    async def recover(
        self,
        window: OutageWindow | None = None,
        *,
        by: tuple[str, ...] = PEOPLE,
        starter: str = "test",
        stop: asyncio.Event | None = None,
    ) -> RecoverResult:
        """Audit, plan, approvals in these names, run; the claims are kept for the oracle."""
        async with self.open() as systems:
            return await self.run(systems, await self.approved(systems, window, by=by), starter, stop)

    async def approved(
        self, systems: Systems, window: OutageWindow | None = None, *, by: tuple[str, ...] = PEOPLE
    ) -> Plan:
        """A plan of what was missed, approved in these names."""
        plan = await plan_from(systems, await audit_window(systems, window or self.window()))
        assert plan is not None, "nothing to recover"
        for person in by:
            await approve(systems, plan, person)
        return plan

    async def run(
        self, systems: Systems, plan: Plan, starter: str = "test", stop: asyncio.Event | None = None
    ) -> RecoverResult:
        done = await Run(systems, plan, starter, stop or asyncio.Event()).recover()
        actions = {r.slot_key: await systems.ledger.actions(r.slot_key) for r in done.items}
        path = self.folder / f"claims-{len(self.claims)}.json"
        path.write_text(json.dumps(recover_view(done, actions, iso(systems.clock.now()))), encoding="utf-8")
        self.claims.append(path)
        return done

    async def answer(self, item: str, choice: str, by: str = "Dana Reyes") -> str:
        async with self.open() as systems:
            return await give(systems.ledger, systems.clock, item, choice, by, "seen by hand")

    def lose_ledger(self) -> None:
        """The database and its second record are gone; configuration and secrets are still there."""
        for path in self.folder.glob("allclear.db*"):
            path.unlink()
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    async def oracle(self, *, claims: bool = True) -> list[str]:
        """The complaints of the judge, "check object: detail" each; [] is a clean run."""
        named = [part for path in (self.claims if claims else []) for part in ("--claims", str(path))]
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sandbox", "oracle", "--json", "--root", str(self.world.root), *named,
            stdout=asyncio.subprocess.PIPE, cwd=REPO,
        )  # fmt: skip
        out, _ = await program.communicate()
        assert program.returncode in (0, 1), out.decode()
        judged = json.loads(out)
        assert judged["clean"] is (program.returncode == 0)
        return [f"{c['check']} {c['object']}: {c['detail']}" for c in judged["complaints"]]


@asynccontextmanager
async def night(
    folder: Path, build: str | Builder, *, speed: float = 20.0, desks: bool = False, **policy: Any
) -> AsyncIterator[Night]:
    """A running estate and a configuration for it; `policy` are the arguments of `policy_text`.

    Without `desks` no ticket is filed and nobody is told, which saves a second a run: a chat is slow by its own limits.
    """
    async with Estate.start(build, folder / "estate", speed=speed) as estate:
        for account in estate.story.accounts:
            account.pro2.rate_per_second = 0
        told = estate.info if desks else {k: v for k, v in estate.info.items() if k not in ("jira", "slack")}
        made = Night(estate, folder, configure(told, folder))
        made.policy(**policy)
        yield made


def configure(info: Mapping[str, Any], folder: Path) -> Path:
    """The configuration that the product writes for servers on this machine, with a rate that is not the point."""
    path = write_config(info, folder, PLAYBOOK)
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(\[accounts\.pro2\]\n)", r"\1requests_per_second = 100\n", text)
    path.write_text(text.replace("requests_per_second = 50", "requests_per_second = 500"), encoding="utf-8")
    return path


async def approve(systems: Systems, plan: Plan, by: str, **changes: Any) -> None:
    """A named approval of the whole plan, with the caveat, unless told otherwise."""
    reach = changes.pop("recipients", reach_of(acting(plan)))
    given = {"items": (), "caveat": True, **changes}
    now = systems.clock.now()
    await systems.ledger.approve(Approval(plan.digest, by, now, reach, given["caveat"], given["items"], "test"))


def stage(*plant: Callable[[Story, Account], object], names: tuple[str, ...] = ("harbor",), size: int = 350) -> Builder:
    """A builder of an estate whose accounts hold what `plant` puts into each of them, and nothing else."""
    return functools.partial(_build, plant=plant, names=names, size=size)


def _build(
    world: World, *, plant: Iterable[Callable[[Story, Account], object]], names: tuple[str, ...], size: int
) -> Story:
    story = begin(world, "stage")
    for name in names:
        account = make_account(world, name, "America/New_York")
        story.accounts.append(account)
        account.pro2.add_list(1, "Newsletter", [(10_000, 9_999 + 2 * size)])
        account.pro2.add_list(2, "Subscribers", [(20_000, 19_999 + size)])
        account.pro2.add_list(9, "Board", [(90_000, 90_009)])
        for put in plant:
            put(story, account)
    return story


def by_object(result: AuditResult) -> dict[str, Finding]:
    """Findings by the object they are about."""
    return {f.slot.object_ref: f for f in result.findings}


def items(done: RecoverResult) -> dict[str, ItemRow]:
    """What became of each object (its last slot)."""
    return {row.object_ref: row for row in sorted(done.items, key=lambda r: r.due_at)}


def only(done: RecoverResult) -> ItemRow:
    """The one item there is."""
    (row,) = done.items
    return row
