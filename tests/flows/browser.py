"""The Prefect server's own pages in Debian's Chromium, as a person uses them: forms, runs, artifacts."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
MISSING = "needs Debian's chromium at /usr/bin/chromium and the Python package playwright"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 90_000
TRIES = 5
SHOTS = Path(__file__).resolve().parents[2] / "out" / "prefect"


class Pages:
    """One signed-in browser window. Waits for what is to be seen, never for a time."""

    def __init__(self, page: Any, url: str, api: Any) -> None:
        self.page, self.url, self.api = page, url, api
        self.taken: list[str] = []

    def sign_in(self, login: str) -> None:
        self.page.goto(f"{self.url}/login")
        self.page.get_by_placeholder("admin:pass").fill(login)
        self.page.get_by_role("button", name="Login").click()
        self.page.wait_for_url("**/dashboard**")

    def shot(self, name: str) -> None:
        """Keeps a picture of the whole page under out/prefect."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.taken.append(f"{len(self.taken) + 1:02}-{name}.png")
        self.page.screenshot(path=SHOTS / self.taken[-1], full_page=True)

    def form(self, deployment: str, last_field: str) -> None:
        """Opens the form of a deployment and waits until it is drawn to its end."""
        known = self.api.deployment(deployment)["id"]
        self.page.goto(f"{self.url}/deployments/deployment/{known}/run")
        self.drawn(last_field)

    def drawn(self, last_field: str) -> None:
        self.page.get_by_text(re.compile(rf"^{re.escape(last_field)}( \(Optional\))?$")).first.wait_for()

    def fill(self, field: str, text: str) -> None:
        self.page.get_by_label(re.compile(rf"^{re.escape(field)}( \(Optional\))?$")).first.fill(text)

    def switch(self, field: str) -> None:
        self.page.get_by_label(re.compile(rf"^{re.escape(field)}( \(Optional\))?$")).first.click()

    def choose_moment(self, which: int, text: str) -> None:
        """Chooses a moment (UTC, before noon, on a multiple of five minutes) in the form's calendar."""
        moment = datetime.fromisoformat(text)
        self.page.get_by_role("tab", name="date-time").nth(which).click()
        self.page.locator("fieldset button[aria-haspopup=dialog]").nth(which).click()
        calendar = self.page.get_by_role("dialog")
        calendar.get_by_label("Choose the Month").select_option(str(moment.month - 1))
        calendar.get_by_label("Choose the Year").select_option(str(moment.year))
        calendar.locator(f'button[data-day="{moment.month}/{moment.day}/{moment.year}"]').first.click()
        columns = calendar.locator("[data-slot=scroll-area-viewport]")
        for column, value in enumerate((moment.hour, moment.minute)):
            columns.nth(column).get_by_role("button", name=str(value), exact=True).click()
        self.page.keyboard.press("Escape")
        chosen = f"{moment:%m/%d/%Y %I:%M %p}"
        assert self.page.locator("fieldset button[aria-haspopup=dialog]").nth(which).inner_text() == chosen

    def submit(self, name: str) -> str:
        """Sends the form, again when the server is too busy (503: SQLite lost a race); the run's id."""
        self.shot(f"{name}-form")
        for _ in range(TRIES):
            with self.page.expect_response(lambda reply: "create_flow_run" in reply.url) as sent:
                self.page.get_by_role("button", name="Submit").click()
            if sent.value.status != 503:
                break
        assert sent.value.status == 201, sent.value.text()
        return str(sent.value.json()["id"])

    def artifact(self, run: str, key: str, *texts: str) -> None:
        """Opens one artifact of a run; fails unless the page comes to show every text."""
        known = self.api.artifacts(run)[key]["id"]
        self.page.goto(f"{self.url}/artifacts/artifact/{known}")
        for text in texts:
            self.page.get_by_role("tabpanel").get_by_text(text).first.wait_for()
        self.shot(key)

    def follow(self, link: str, last_field: str) -> None:
        """Follows a link of the page to a form that is filled in as far as is known."""
        self.page.get_by_role("link", name=link).first.click()
        self.drawn(last_field)

    def watch(self, run: str, until: str) -> None:
        """Watches a run on its own page until its state is the one named."""
        self.page.goto(f"{self.url}/runs/flow-run/{run}")
        self.page.get_by_text(until, exact=True).first.wait_for()
        self.shot(f"run-{until.lower().replace(' ', '-')}")


@contextmanager
def opened(port: int, login: str, api: Any) -> Iterator[Pages | None]:
    """A signed-in window, or None where there is no browser."""
    if not CHROMIUM.exists() or importlib.util.find_spec("playwright") is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = running.new_context(viewport={"width": 1400, "height": 1000}, timezone_id="UTC").new_page()
        page.set_default_timeout(PATIENCE_MS)
        # The pages ask a service of their maker for settings; nothing of ours leaves this machine.
        page.route(lambda url: "//127.0.0.1:" not in url, lambda route: route.abort())
        pages = Pages(page, f"http://127.0.0.1:{port}/v2", api)
        pages.sign_in(login)
        yield pages
        running.close()
