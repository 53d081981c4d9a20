"""The Prefect server's REST interface, as a monitor or the pages use it."""

from __future__ import annotations

import time
import uuid
from typing import Any, Self

import httpx

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
TRIES = 5


class Api:
    """Asks one server, with its login and with a token against forged requests."""

    def __init__(self, url: str, login: str) -> None:
        name, password = login.split(":", 1)
        self.http = httpx.Client(base_url=url, auth=(name, password), timeout=60, trust_env=False)
        token = self.get("/csrf-token?client=tests")["token"]
        self.http.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "tests"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str) -> Any:
        reply = self.http.get(path)
        reply.raise_for_status()
        return reply.json()

    def post(self, path: str, body: Any) -> Any:
        return self.send("POST", path, body)

    def send(self, method: str, path: str, body: Any) -> Any:
        """The reply; a 503 is tried again, as Prefect's own clients do (SQLite lost a race)."""
        for _ in range(TRIES):
            reply = self.http.request(method, path, json=body)
            if reply.status_code != 503:
                break
            time.sleep(0.5)
        reply.raise_for_status()
        return reply.json() if reply.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/deployments/name/{name}")
        return found

    def start(self, name: str, **parameters: Any) -> str:
        """Starts a deployment as the run form does; the run's id."""
        wanted = {"parameters": parameters, "idempotency_key": uuid.uuid4().hex}
        made = self.post(f"/deployments/{self.deployment(name)['id']}/create_flow_run", wanted)
        return str(made["id"])

    def finished(self, run: str, seconds: float = 120) -> dict[str, Any]:
        """The run, once its state is final."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            found: dict[str, Any] = self.get(f"/flow_runs/{run}")
            if found["state_type"] in FINAL:
                return found
            time.sleep(0.3)
        raise AssertionError(f"run {run} is still {found['state']}")

    def run(self, name: str, **parameters: Any) -> dict[str, Any]:
        return self.finished(self.start(name, **parameters))

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        return list(self.post("/flow_runs/filter", {"flow_runs": filters}))

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """The run's artifacts by key, the last of each."""
        found = self.post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}, "sort": "UPDATED_DESC"})
        return {a["key"]: a for a in reversed(found)}

    def tasks(self, run: str) -> list[str]:
        found = self.post("/task_runs/filter", {"task_runs": {"flow_run_id": {"any_": [run]}}})
        return [t["name"] for t in found]

    def logs(self, run: str) -> list[str]:
        found = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
        return [line["message"] for line in found]

    def events(self, name: str) -> list[dict[str, Any]]:
        found = self.post("/events/filter", {"filter": {"event": {"name": [name]}}, "limit": 50})
        return list(found["events"])
