"""A shop's cases for a test: the estate in a thread, the terminal's commands in this one, remotes to be asked after."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from typer.main import get_command

from recovery.case.steps import Step
from recovery.case.wiring import open_case_systems
from recovery.cli import app
from recovery.settings import load_settings
from recovery.terminal.rehearsal import write_config
from sandbox.estate import Estate
from sandbox.world import Fault

REPO = Path(__file__).resolve().parents[2]
PLAYBOOK = REPO / "config" / "playbooks" / "process-failure.toml"
POLICY = """
[waits]
poll_seconds = 0.03
settle_seconds = 2.5
settle_copy_seconds = 0.1
send_within_seconds = 5
write_deadline_seconds = 2
lease_seconds = 5
"""
COMMAND = get_command(app)
DANA = ("--by", "Dana Reyes")


@dataclass(frozen=True)
class Result:
    """How a command ended, and all that it printed."""

    exit_code: int
    output: str


@dataclass
class Shop:
    """The estate, one configuration, and the commands."""

    estate: Estate
    config: Path
    ticket: str

    def run(self, *words: str) -> Result:
        """One command as a person types it."""
        said, code = io.StringIO(), 0
        with redirect_stdout(said), redirect_stderr(said):
            try:
                COMMAND.main(["case", *words, "--config", str(self.config)], prog_name="allclear")
            except SystemExit as end:
                code = int(end.code or 0)
        return Result(code, said.getvalue())

    def case(self, *words: str, exit_code: int | None = None) -> dict[str, Any]:
        """One command with --json; its document."""
        result = self.run(*words, "--json")
        assert result.output.startswith("{"), (words, result.output)
        view: dict[str, Any] = json.loads(result.output)
        assert view["exit_code"] == result.exit_code
        if exit_code is not None:
            assert result.exit_code == exit_code, (words, view)
        return view

    def open(self, account: str, template: str, *more: str, campaign: str = "C-1") -> dict[str, Any]:
        """A case opened and checked."""
        named = ("--account", account, "--template", template, "--campaign", campaign, "--ticket", self.ticket)
        since = ("--field", f"sent_on={self.sent_on}", "--field", "region=US")
        return self.case("open", "link-tracking", *named, *since, *more, "--check", *DANA)

    @property
    def sent_on(self) -> str:
        """Before the templates' counts began, by the estate's clock."""
        return (self.estate.world.now() - timedelta(days=6)).date().isoformat()

    def events(self, system: str, *names: str) -> list[dict[str, Any]]:
        """What a remote journalled."""
        return [r for r in self.estate.world.read_journal(system) if not names or r["event"] in names]

    def fault(self, system: str, op: str, kind: str, **more: Any) -> None:
        """A fault at a remote."""
        self.estate.world.faults.add(Fault(system, "*", op, kind, **more))

    def attest(self, view: dict[str, Any], answers: dict[str, str]) -> dict[str, Any]:
        """A person answers the open checks: the calls of `case attest`, with the ledger opened once for all of them."""

        async def answer() -> dict[str, Any]:
            async with open_case_systems(load_settings(self.config)) as work:
                step = await Step.on(work, view["case"])
                for check, choice in answers.items():
                    await step.attest(check, choice, "Dana Reyes", f"I saw {choice}")
                return await step.view()

        return asyncio.run(answer()) if answers else view

    def comments(self) -> list[dict[str, Any]]:
        """The comments on the client's ticket, without the client's own first one."""
        comments: list[dict[str, Any]] = self.estate.state("zendesk").tickets[int(self.ticket)].comments
        return comments[1:]


@contextmanager
def open_shop(folder: Path) -> Iterator[Shop]:
    """The estate in a thread of its own, so that commands may run their own event loops."""
    ready, stop = threading.Event(), asyncio.Event()
    made: list[Any] = []

    async def serve() -> None:
        async with Estate.start("quiet", folder / "estate", speed=20.0) as estate:
            made.extend((estate, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(20)
        estate, loop = made
        config = write_config(estate.info, folder, PLAYBOOK)
        with_regions = '\n[[panels]]\naccount = "shop-eu"\nprovider = "meta"\nref = "waba1"\nregions = ["EU"]\n'
        meta = estate.info["meta"]
        with_regions += f'base_url = "{meta["base_url"]}"\ntoken = {{ file = "secrets/meta" }}\n'
        text = config.read_text(encoding="utf-8").replace("[playbooks]", "[playbooks]\npictures = false")
        # One list instead of one for each language and status: the rate that Netcore gets is not the point here.
        text = text.replace('languages = ["English", "German"]', "lists_all = true")
        config.write_text(text + with_regions, encoding="utf-8")
        (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
        yield Shop(estate, config, estate.info["zendesk"]["ticket"])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
