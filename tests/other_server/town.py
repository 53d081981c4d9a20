"""Three customers on servers of other people: what happened to each on the night of a clock change, and the config.

Half past midnight to half past five in New York; the clocks of St. John's jump at 05:30 UTC. Ids, pages, dates and
habits differ by account.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.other_server.bridge import ALL, Bridge
from tests.other_server.pro2 import Pro2
from tests.other_server.tessitura import Tessitura

REPO = Path(__file__).resolve().parents[2]
Row = dict[str, Any]
NOW = datetime(2027, 3, 14, 12, 0, tzinfo=UTC)
START = datetime(2027, 3, 14, 4, 0, tzinfo=UTC)
END = datetime(2027, 3, 14, 9, 0, tzinfo=UTC)


def at(clock: str, day: int = 14) -> datetime:
    """A time of that night, UTC."""
    hour, minute = map(int, clock.split(":"))
    return datetime(2027, 3, day, hour, minute, tzinfo=UTC)


@dataclass
class Town:
    """All accounts; time goes on from NOW when the server starts."""

    accounts: dict[str, Row] = field(default_factory=dict)
    port: int = 0
    _zero: float = field(default_factory=time.monotonic)

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=time.monotonic() - self._zero)

    def pro2(self, account: str) -> Pro2:
        return self.accounts[account]["pro2"]

    def bridge(self, account: str) -> Bridge:
        return self.accounts[account]["bridge"]

    def add(self, name: str, zone: str, habits: str, **systems: Any) -> Pro2:
        pro2 = Pro2(zone, f"key-{name}-pro2", self.clock, frozenset(habits.split()))
        self.accounts[name] = {"zone": zone, "pro2": pro2, **systems}
        return pro2


class Maker:
    """Fills one Pro2: ids as the caller likes, everything optional absent unless given."""

    def __init__(
        self, pro2: Pro2, people: range, lists: dict[str, range], segments: dict[str, range] | None = None
    ) -> None:
        self.pro2 = pro2
        pro2.contacts = {n: {"id": str(n), "email": f"p{n}@Town.example"} for n in people}
        pro2.lists = {ref: set(found) for ref, found in lists.items()}
        pro2.segments = {ref: set(found) for ref, found in (segments or {}).items()}

    def campaign(self, ref: int, name: str, status: str = "1", due: datetime | None = None, **more: Any) -> Row:
        pro2, lists = self.pro2, more.pop("lists", [next(iter(self.pro2.lists))])
        segment, message = more.pop("segment", ""), str(ref * 3)
        if message not in pro2.messages:
            pro2.messages[message] = {"id": message, "subject": f"{name} ✉", "html": f"<p>{ref}</p>", "fromname": None}
        row: Row = {
            "id": str(ref), "name": name, "type": "single", "status": status, "sdate": pro2.stamp(due) if due else None,
            "ldate": None, "send_amt": "0", "total_amt": "0", "segmentid": segment or "0", "seriesid": "0",
            "cdate": pro2.stamp(at("00:00", 1)), "mdate": pro2.stamp(at("00:00", 1)), "source": "web",
            "_at": due, "_lists": lists, "_segment": segment, "_messages": [message],
        } | more  # fmt: skip
        if "numbers" in pro2.habits:
            row |= {k: int(row[k]) for k in ("id", "status", "send_amt", "total_amt") if k in row}
        pro2.campaigns.append(row)
        if str(row["status"]) == "1" and due and due < NOW:
            pro2.frozen.add(str(ref))
        return row

    def sent(self, ref: int, name: str, due: datetime, **more: Any) -> None:
        stamp = self.pro2.stamp(due)
        self.campaign(ref, name, "5", due, send_amt="40", total_amt="40", ldate=stamp, uniqueopens="7", **more)


# ---- saga: Kolkata, everything there ---------------------------------------------------------------------------------


def build_saga(town: Town) -> None:
    tess = Tessitura("api:7:desk:pass:word")
    bridge = Bridge(
        "key-saga-bridge", town.clock, {**ALL, "log_retention_days": 30, "account_time_zone": "Asia/Kolkata"}
    )
    pro2 = town.add("saga", "Asia/Kolkata", "sparse basic-offset", bridge=bridge, tessitura=tess)
    make = Maker(pro2, range(7001, 7121), {"3": range(7001, 7061), "88": range(7050, 7101)}, {"41": range(7040, 7081)})
    make.campaign(100200300, "नमस्ते दर्शक <b>", "1", at("05:17"), lists=["3", "88"], segment="41")
    make.campaign(99, "Empty report", "5", at("04:00"), lists=["3", "88"])
    make.campaign(5003, "Sending, stuck at zero", "2", at("08:59"))
    make.campaign(5004, "Begun the day before, stuck", "2", at("16:00", 13))
    make.campaign(5005, "Only scheduleddate", "1", None, scheduleddate=pro2.stamp(at("06:06")))
    make.campaign(5006, "Edge: the window's end", "1", END)
    make.campaign(5007, "Overdue before the window", "1", at("03:00"))
    make.campaign(5008, "Recurring", "1", at("05:00"), type="recurring")
    make.campaign(5009, "Split", "1", at("05:00"), type="split")
    make.campaign(5010, "Of an automation", "1", at("05:00"), seriesid="12")
    make.campaign(5011, "Waits for approval", "7", at("05:00"))
    make.campaign(5012, "Partly sent", "2", at("05:00"), send_amt="12", total_amt="60")
    make.campaign(5013, "Paused before", "3", at("05:00"), mdate=pro2.stamp(at("22:00", 12)))
    make.campaign(5014, "Disabled after", "6", at("05:00"), mdate=pro2.stamp(at("10:00")))
    make.campaign(5015, "A field is missing", "1", at("05:00")).pop("send_amt")
    make.campaign(5016, "Sent, yet its report is empty", "5", at("05:00"), send_amt="60", total_amt="60", _empty=True)
    make.campaign(5017, "Draft", "0", at("05:00"))
    make.campaign(5018, "Tomorrow", "1", at("05:00", 15))
    make.campaign(5019, "Autoresponder", "1", None, type="responder")
    make.campaign(5020, "Opens, yet nothing sent", "5", at("05:00"), uniqueopens="3")
    for n in range(60):
        make.sent(6000 + n * 7, f"Healthy {n}", START + timedelta(minutes=5 * n))
    pro2.automations = [{"id": "12", "name": "欢迎", "status": "1"}, {"id": "13", "name": "Off", "status": "2"}]
    _saga_jobs(bridge)
    _saga_sync(pro2, tess, bridge)


def _job(bridge: Bridge, ref: str, kind: str, schedule: Row, **more: Any) -> None:
    bridge.definitions.append(
        {"definition_id": ref, "kind": kind, "name": f"Job {ref}", "active": True, "schedule": schedule, **more}
    )


def _once(clock: str) -> Row:
    return {"type": "once", "value": at(clock).isoformat()}


def _run(bridge: Bridge, ref: str, definition: str, state: str, clock: str, **more: Any) -> None:
    started = at(clock)
    ended = (started + timedelta(minutes=4)).isoformat() if state not in ("running", "queued") else None
    row = {"run_id": ref, "definition_id": definition, "requested_by": "schedule", "state": state,
           "scheduled_for": started.isoformat(), "started_at": started.isoformat(), "ended_at": ended}  # fmt: skip
    bridge.runs.append(row | more)


def _saga_jobs(b: Bridge) -> None:
    _job(b, "imp/Ü 1", "integrated_import", {"type": "cron", "value": "30 10 * * *"})  # 05:00 UTC in Kolkata
    _job(b, "trg.rrule", "scheduled_trigger", {"type": "rrule", "time_zone": "Asia/Kolkata",
         "value": "FREQ=WEEKLY;BYDAY=SU;BYHOUR=12;BYMINUTE=15"}, trigger_type="custom_view")  # fmt: skip
    _job(b, "trg.daily", "scheduled_trigger", {"type": "interval", "value": "P1D",
         "anchor": "2027-01-01T11:45:00+05:30", "time_zone": "Asia/Kolkata"})  # fmt: skip
    _run(b, "8f-0", "trg.daily", "succeeded", "11:00")
    _job(b, "imp.failed", "integrated_import", _once("05:30"))
    _run(b, "8f-1", "imp.failed", "failed", "05:30", counts={"returned": 10, "updated": 0, "errored": 10})
    _job(b, "imp.stuck", "integrated_import", _once("05:40"))
    _run(b, "8f-2", "imp.stuck", "running", "05:40")
    _job(b, "imp.stoppable", "integrated_import", _once("05:50"))
    _run(b, "8f-3", "imp.stoppable", "running", "05:50", scheduled_for=None)
    _job(b, "imp.late-stop", "integrated_import", _once("06:00"))
    _run(b, "8f-4", "imp.late-stop", "running", "06:00")
    b.stops = {"8f-2": "ignored", "8f-4": "409"}
    _job(b, "imp.partial", "integrated_import", _once("06:10"))
    _run(b, "8f-5", "imp.partial", "partial_error", "06:10", counts={"returned": 9, "updated": 7, "errored": 2})
    _job(b, "imp.paused", "integrated_import", _once("06:20"), paused_at=at("20:00", 13).isoformat())
    _job(
        b,
        "imp.switched-off-since",
        "integrated_import",
        _once("06:30"),
        active=False,
        paused_at=at("10:00").isoformat(),
    )
    _job(b, "imp.begun-before", "integrated_import", _once("03:50"))
    _run(b, "8f-6", "imp.begun-before", "failed", "03:50", ended_at=at("04:20").isoformat())
    _run(b, "8f-7", "gone", "failed", "06:40")
    _run(b, "8f-8", "imp.word", "resting", "06:45")
    _job(b, "imp.word", "integrated_import", _once("06:45"))
    _job(b, "seg.1", "segment_transfer", _once("07:00"))
    _job(b, "eas.1", "eaddress_sync", _once("07:10"))
    _job(b, "off", "integrated_import", {"type": "cron", "value": "0 * * * *"}, active=False)
    _job(b, "by-hand", "integrated_import", {"type": "manual"})
    _job(b, "imp.odd", "integrated_import", {"type": "weekdays", "value": "Mon"})
    _job(b, "imp.again", "integrated_import", _once("07:20"))
    _run(b, "8f-9", "imp.again", "failed", "07:20")
    _run(b, "8f-10", "imp.again", "succeeded", "10:20", requested_by="repeat", scheduled_for=None)
    b.definitions.append(
        {"definition_id": "imp.nameless", "kind": "integrated_import", "active": True, "schedule": _once("05:00")}
    )
    _job(b, "imp.zero", "integrated_import", _once("07:30"))
    _run(b, "8f-11", "imp.zero", "succeeded", "07:30", counts={"returned": "5", "updated": "5", "errored": "0"})
    for n in range(20):
        ref = f"ok-{n}"
        _job(b, ref, "integrated_import", {"type": "interval", "value": "PT90M", "anchor": at("00:00").isoformat()})
        for minutes in range(0, 720, 90):
            moment = f"{minutes // 60:02}:{minutes % 60:02}"
            _run(b, f"{ref}@{minutes}", ref, "succeeded", moment)


def _saga_sync(pro2: Pro2, tess: Tessitura, b: Bridge) -> None:
    """The list has 7001 to 7010; the tag (in other letters) has 7003 to 7012 and somebody without an address."""
    pro2.contacts[7999] = {"id": "7999", "email": None}
    pro2.tags = {"501": "Friends of the house", "502": "FRIENDS"}
    pro2.links = {n * 11: (n, "502") for n in (*range(7003, 7011), 7011, 7999)}
    tess.lists[31] = {"name": "Friends", "people": [*range(1, 11), 11], "used": "2027-03-14T01:00:00"}
    tess.lists[32] = {"name": "Friends", "people": [1], "used": "2027-03-14T01:00:00"}
    for n in range(1, 11):
        tess.addresses[n] = [
            {"Id": n, "Address": f"P{7000 + n}@town.example ", "PrimaryIndicator": True, "Inactive": False,
             "Constituent": {"Id": n}, "ElectronicAddressType": {"Id": 1, "Description": "Email"}}
        ]  # fmt: skip
    _job(b, "sync.friends", "data_sync_tag", {"type": "cron", "value": "0 13 * * 0"}, tags=["Friends"],
         list_manager_list_id=31, list_manager_list_name="Friends", sync_mode="add_remove")  # fmt: skip
    _run(b, "8f-20", "sync.friends", "succeeded", "07:30", scheduled_for=at("07:30").isoformat())

    def effect(run: Row) -> int:
        if "_list" not in run:
            return 3
        addresses = [a for ref in tess.lists[run["_list"]]["people"] for a in tess.addresses.get(ref, [])]
        by_mail = {(c["email"] or "").lower(): int(c["id"]) for c in pro2.contacts.values()}
        for tag in run["tags"]:
            ref = next((k for k, name in pro2.tags.items() if name == tag), str(9000 + len(pro2.tags)))
            pro2.tags[ref] = tag
            for a in addresses:
                pro2.links[max(pro2.links) + 3] = (by_mail[a["Address"].strip().lower()], ref)
        return len(addresses)

    b.effect = effect


# ---- harbour and lyceum: the smaller shops ---------------------------------------------------------------------------


def build_harbour(town: Town) -> None:
    """St. John's, whose clock jumps from 02:00 to 03:00 at 05:30 UTC; a bridge that names no run; no Tessitura."""
    bridge = Bridge("key-harbour-bridge", town.clock, {**ALL, "returns_run_id": False, "log_retention_days": 30})
    bridge.names_runs, bridge.page = False, 3
    habits = "no-order-by-id small-pages numbers silent-edit no-parts"
    make = Maker(town.add("harbour", "America/St_Johns", habits, bridge=bridge), range(1, 41), {"1": range(1, 31)})
    for n in range(700):
        make.sent(880_000 - n * 3, f"Old news {n}", at("09:00", 1) + timedelta(minutes=n))
    make.campaign(77, "Tides", "1", at("05:45"))
    _job(bridge, "gap", "integrated_import", {"type": "cron", "value": "30 2 * * *", "time_zone": "America/St_Johns"})
    _job(bridge, "gap-later", "integrated_import", bridge.definitions[0]["schedule"])
    _run(bridge, "n-0", "gap-later", "succeeded", "06:00")  # their scheduler takes 02:30 for 03:30 that night
    _job(bridge, "newer", "integrated_import", {"type": "cron", "value": "0 6 * * *"})
    _run(bridge, "n-1", "newer", "succeeded", "08:30")
    _job(bridge, "fire", "scheduled_trigger", _once("06:30"), automation_id=None)
    _job(
        bridge, "sync.blind", "data_sync_tag", _once("06:40"), tags=["x"], list_manager_list_id=4, sync_mode="add_only"
    )


def build_lyceum(town: Town) -> None:
    """Lisbon, Pro2 alone, thousands of campaigns, v1 with its documented `api_key`."""
    make = Maker(town.add("lyceum", "Europe/Lisbon", "zulu v1-key-in-query"), range(1, 26), {"9": range(1, 21)})
    for n in range(2300):
        make.sent(n * 2 + 1, f"Programa {n}", at("09:00", 1) + timedelta(minutes=n))
    make.campaign(1_000_001, "Fado à meia-noite", "1", at("04:30"))


# ---- serving and configuration ---------------------------------------------------------------------------------------


@contextmanager
def served(*builds: Callable[[Town], None]) -> Iterator[Town]:
    """All servers on one loopback port, in a thread of this process, so that a test reads their journals."""
    town = Town()
    for build in builds or (build_saga, build_harbour, build_lyceum):
        build(town)

    async def handle(request: Request) -> Response:
        system, account, path = (request.path_params[k] for k in ("system", "account", "path"))
        raw = request.scope["raw_path"].decode().split(f"/{system}/{account}/", 1)[1]
        text = await request.body()
        body = json.loads(text) if text else {}
        trouble = town.accounts[account].get("trouble", {}).get(system)
        if trouble is not None and (answer := await trouble(request)) is not None:
            return answer
        return town.accounts[account][system].answer(request, raw if system == "bridge" else path, body)

    methods = ["GET", "POST", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{system}/{account}/{path:path}", handle, methods=methods)])
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        town.port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield town
        finally:
            server.should_exit = True
            thread.join(5)


POLICY = """
valid_for_hours = 48
[waits]
running_limit_seconds = 5400
monitor_seconds = 4200
poll_seconds = 0.1
stop_check_seconds = 0.1
settle_seconds = 0.3
settle_copy_seconds = 0.2
arm_seconds = 1
departure_seconds = 8
job_seconds = 8
lease_seconds = 5
[limits]
wave_bake_seconds = 0
waves = [100]
"""


def write_config(town: Town, folder: Path, waits: str = "") -> Path:
    """What an operator would write: where each system is, and nothing else."""
    offset = (town.clock() - datetime.now(UTC)).total_seconds()
    lines = ["[rehearsal]", f"clock_offset_seconds = {offset}"]
    for name, found in town.accounts.items():
        base = f"http://127.0.0.1:{town.port}"
        lines += ["[[accounts]]", f'name = "{name}"', f'time_zone = "{found["zone"]}"']
        lines += _table(folder, "pro2", f"{base}/pro2/{name}", found["pro2"].token, "token")
        lines += ["v1_key_in_url = true"] * ("v1-key-in-query" in found["pro2"].habits)
        if "bridge" in found:
            lines += _table(folder, "dashboard", f"{base}/bridge/{name}", found["bridge"].token, "token")
        if "tessitura" in found:
            user, group, location, password = found["tessitura"].login.split(":", 3)
            lines += _table(folder, "tessitura", f"{base}/tessitura/{name}", password, "password")
            lines += [f'user = "{user}"', f'group = "{group}"', f'location = "{location}"']
    head = ['marker_key = { file = "marker" }', f'playbook_file = "{REPO / "config/playbooks/process-failure.toml"}"']
    head += ['kill_file = "STOP"', "[ledger]", 'url = "sqlite:///book.db"', 'state_dir = "state"']
    (folder / "marker").write_text("any long random text, kept for good")
    (folder / "policy.toml").write_text(POLICY.replace("[limits]", f"{waits}\n[limits]"))
    (folder / "allclear.toml").write_text("\n".join(head + lines) + "\n")
    return folder / "allclear.toml"


def _table(folder: Path, system: str, url: str, secret: str, field_name: str) -> list[str]:
    place = folder / f"secret-{len(list(folder.iterdir()))}"
    place.write_text(secret)
    return [f"[accounts.{system}]", f'base_url = "{url}"', f'{field_name} = {{ file = "{place.name}" }}',
            "requests_per_second = 100"]  # fmt: skip
