"""Every command's `--json`: one document, of the documented schema, with the documented exit code."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest

from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from tests.cli.program import REPO, allclear, interrupt, served, started, window
from tests.recovery.stage import stage

CANARIES = ("marker", "harbor-pro2", "harbor-dashboard", "harbor-tessitura", "jira", "slack")


def plant(story, account):
    """A campaign that can be resent, one that must be asked about, a failed import, a sync, and a dormant import."""
    due = story.started_at + timedelta(minutes=20)
    mail.overdue_small(story, account, "Gala", due)
    mail.partly_sent(story, account, "Raffle", due)
    zone = account.time_zone
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", zone), None, 400)
    jobs.plant_import(story, account, "imp", "Guests", jobs.once(due), jobs.full_error, 401)
    jobs.plant_dormant(story, account, zone, ["off"])


def play(folder):
    """The whole road once, every command with --json, in the order in which a night has them."""
    with served(folder, stage(plant)) as n:
        config = ("--config", str(n.config))
        ran = {}

        def run(name, *args, **env):
            ran[name] = allclear(*args, "--json", *config, **env)
            return ran[name]

        run("doctor", "doctor")
        run("audit", "audit", *window(n))
        run("plan", "plan", *window(n))
        waiting = run("waiting", "recover", *window(n), "--by", "Alex").json["digest"]
        run("reject", "reject", waiting[:10], "--by", "Dana Reyes", "--reason", "the gala is cancelled")
        run("rejected", "recover", "--plan", waiting[:10], "--by", "Alex")
        plan = run("dry", "recover", *window(n), "--dry-run").json
        run("yes", "recover", *window(n), "--yes")
        run("approve", "approve", plan["digest"][:10], "--by", "Dana Reyes", "--recipients", "350", "--accept-caveat")
        report = folder / "out" / "report.html"
        run("recover", "recover", "--plan", plan["digest"][:10], "--by", "Alex", "--report", str(report))
        run("status", "status")
        held = run("hold", "hold").json["items"]
        run("explain", "explain", "101")
        run("answer", "answer", held[0]["key"], "drop", "--by", "Dana Reyes", "--reason", "nobody wants it")
        run("explain_answered", "explain", held[0]["key"])
        run("kill", "kill", "--by", "Dana Reyes", "--reason", "rehearsal")
        run("clear", "kill", "--clear", "--by", "Dana Reyes")
        run("quarantine", "quarantine")
        run("report", "report", "-o", str(folder / "out" / "again.html"))
        run("archive", "archive", "--before", "90d", "--to", str(folder / "archive.gz"))
        run("error", "audit", "--last", "soon")
        texts = {
            name: allclear(*args, *config)
            for name, args in {
                "audit": ("audit", *window(n)), "status": ("status",), "hold": ("hold",), "doctor": ("doctor",),
                "explain": ("explain", "101"),
            }.items()
        }  # fmt: skip
        pages = [p.read_text() for p in sorted((folder / "out").iterdir())]
        secrets = [(n.folder / "secrets" / name).read_text() for name in CANARIES]
        return SimpleNamespace(night=n, ran=ran, texts=texts, pages=pages, secrets=secrets, folder=folder)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return play(tmp_path_factory.mktemp("json"))


# ---- exit codes and contents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "schema", "code"),
    [
        ("doctor", "doctor", 0),
        ("audit", "audit", 4),
        ("plan", "plan", 3),
        ("waiting", "plan", 3),
        ("reject", "reject", 0),
        ("rejected", "error", 1),
        ("dry", "plan", 3),
        ("yes", "error", 1),
        ("approve", "approve", 0),
        ("recover", "recover", 3),
        ("status", "status", 3),
        ("hold", "hold", 3),
        ("explain", "explain", 0),
        ("answer", "answer", 0),
        ("kill", "kill", 0),
        ("clear", "kill", 0),
        ("quarantine", "quarantine", 0),
        ("report", "report", 0),
        ("error", "error", 2),
    ],
)
def test_each_command_prints_one_document_with_its_schema_and_exit_code(played, name, schema, code):
    ran = played.ran[name]
    assert ran.json["schema"] == f"allclear.{schema}/1"
    assert (ran.code, ran.json["exit_code"]) == (code, code)
    assert ran.err == ""


@pytest.mark.requirement("R001.13")
def test_a_rejected_plan_is_refused_with_who_said_no_and_why(played):
    assert played.ran["rejected"].json["error"].endswith("was rejected by Dana Reyes: the gala is cancelled")


@pytest.mark.requirement("R001.4", "R001.16", "R001.39")
def test_audit_names_for_every_slot_who_said_what_and_when(played):
    slots = played.ran["audit"].json["slots"]
    assert {(s["object"], s["verdict"]) for s in slots} == {
        ("101", "missed"), ("102", "partial"), ("healthy", "done"), ("imp", "failed"),
    }  # fmt: skip
    for slot in slots:
        assert len(slot["witnesses"]) >= 2
        assert all(w["witness"] and w["at"].endswith("Z") for w in slot["witnesses"])


@pytest.mark.requirement("R001.39")
def test_recover_names_every_outcome_and_for_every_held_item_the_question(played):
    told = played.ran["recover"].json
    outcomes = {i["object"]: i["outcome"] for i in told["items"]}
    assert outcomes == {"101": "confirmed", "102": "held", "imp": "confirmed", "healthy": "done_before"}
    for item in told["items"]:
        assert (item["question"] is not None) == (item["outcome"] == "held")
    assert told["balance"]["adds_up"] is True
    assert told["ticket"]["key"] == "INC-1"


@pytest.mark.requirement("R001.13")
def test_without_an_approval_nothing_is_done_and_the_document_says_what_it_waits_for(played):
    assert played.ran["waiting"].json["waiting_for"] == "approval"


def test_yes_is_refused_where_people_are_reached(played):
    assert "reach people (harbor)" in played.ran["yes"].json["error"]


def test_the_answer_ends_the_held_item(played):
    assert played.ran["answer"].json["effect"] == "The item ends here."
    assert played.ran["explain_answered"].json["answers"][0]["by"] == "Dana Reyes"


def test_the_oracle_takes_the_recover_document_as_the_claims(played):
    claims = played.folder / "claims.json"
    claims.write_text(played.ran["recover"].out)
    judge = [sys.executable, "-m", "sandbox", "oracle", "--root", str(played.night.world.root)]
    judged = subprocess.run([*judge, "--claims", str(claims)], cwd=REPO, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


# ---- docs/json.md ----------------------------------------------------------------------------------------------------


def paths_of(value, prefix=""):
    """Every field of a document as a dotted path; `[]` stands for each member of a list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{prefix}.{key}" if prefix else key
            yield path
            yield from paths_of(inner, path)
    elif isinstance(value, list):
        for inner in value:
            yield from paths_of(inner, f"{prefix}[]")


def documented():
    """Schema -> the fields that its table in docs/json.md names."""
    found, schema = {}, ""
    for line in (REPO / "docs" / "json.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"^## `allclear\.(\w+)/1`", line):
            schema = heading[1]
            found[schema] = set()
        elif row := re.match(r"^\| `([^`]+)` \|", line):
            found[schema].add(row[1])
    return found


OPEN = ("audit.counts.", "status.counts.", "status.desk.", "demo.oracle.", "sandbox.window.")
"""Objects whose keys are data; docs/json.md names them with a star."""


def starred(schema, path):
    for start in OPEN:
        if f"{schema}.{path}".startswith(start):
            return f"{start.removeprefix(schema + '.')}*"
    return path


@pytest.fixture(scope="module")
def real(played, tmp_path_factory):
    """Schema -> every field that real documents have, those of `sandbox` and `demo` included."""
    documents = [r.json for r in played.ran.values()]
    folder = tmp_path_factory.mktemp("demo")
    with started("sandbox", "--root", str(folder / "sandbox"), "--scenario", "one-campaign", "--json") as program:
        text = ""
        while not text.rstrip().endswith('"exit_code": 0\n}'):
            text += program.stdout.readline()
        interrupt(program)
        assert program.wait(20) == 0
        documents.append(json.loads(text))
    documents.append(allclear("demo", "--root", str(folder / "demo"), "--scenario", "one-campaign", "--json").json)
    found = {}
    for document in documents:
        schema = document["schema"].removeprefix("allclear.").removesuffix("/1")
        found.setdefault(schema, set()).update(starred(schema, p) for p in paths_of(document))
    return found


def test_every_field_of_every_document_is_documented(real):
    told = documented()
    assert {s: sorted(fields - told.get(s, set())) for s, fields in real.items() if fields - told.get(s, set())} == {}


def test_every_documented_field_is_one_that_real_documents_have(real):
    told = documented()
    assert set(told) == set(real)
    assert {s: sorted(told[s] - real[s]) for s in told if told[s] - real[s]} == {}


# ---- text, pipes and secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["audit", "status", "hold", "doctor", "explain"])
def test_text_in_a_pipe_has_no_escape_codes_and_the_same_exit_code(played, name):
    ran = played.texts[name]
    assert "\x1b" not in ran.out + ran.err
    assert ran.code in ((4,) if name == "audit" else (0, 3))


def test_doctor_says_where_each_secret_is(played):
    told = played.ran["doctor"].json["checks"]
    places = {c["detail"].rpartition("/")[2] for c in told if c["check"] == "secret"}
    assert set(CANARIES) <= places
    assert all(c["ok"] for c in told)


@pytest.mark.requirement("R001.38")
def test_doctor_says_in_words_what_each_dashboard_offers(played):
    (dashboard,) = [c for c in played.ran["doctor"].json["checks"] if c["check"] == "dashboard"]
    assert dashboard["detail"].startswith("offers stop, reprocess, run now, repeat, imports; keeps its log 90 days")


def test_no_secret_appears_in_any_output_report_ledger_or_journal(played):
    said = [r.out + r.err for r in (*played.ran.values(), *played.texts.values())]
    kept = [p.read_bytes().decode("latin-1") for p in played.folder.glob("allclear.db*")]
    kept += [p.read_bytes().decode("latin-1") for p in (played.folder / "state").rglob("*") if p.is_file()]
    journals = [p.read_text() for p in (played.night.world.root / "journal").iterdir()]
    for text in (*said, *played.pages, *kept, *journals):
        for secret in played.secrets:
            assert secret not in text
