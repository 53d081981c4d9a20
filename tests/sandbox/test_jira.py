from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import jira
import pytest
from jira.exceptions import JIRAError

from sandbox.jira import JiraState, build_app
from sandbox.world import World
from tests.sandbox.contract import Contract, vendor_document
from tests.sandbox.serving import in_process, served

API = "/rest/api/3"


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def document(*texts: str) -> dict:
    blocks = [{"type": "paragraph", "content": [{"type": "text", "text": text}]} for text in texts]
    return {"type": "doc", "version": 1, "content": blocks}


def draft(**fields: object) -> dict:
    named = {"project": {"key": "INC"}, "issuetype": {"name": "Incident"}, "summary": "Two hours down"}
    return {"fields": named | {"description": document("It was down."), "labels": ["rk-1"]} | fields}


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> JiraState:
    return JiraState("ops@x.test", "token")


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    return in_process(build_app(world, state), headers=basic("ops@x.test:token"))


async def create(client: httpx.AsyncClient, **fields: object) -> str:
    reply = await client.post(f"{API}/issue", json=draft(**fields))
    assert reply.status_code == 201, reply.text
    return reply.json()["key"]


async def find(client: httpx.AsyncClient, jql: str, **more: object) -> dict:
    reply = await client.post(f"{API}/search/jql", json={"jql": jql, "fields": ["summary"], **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_requests_and_replies_are_what_the_vendors_document_allows(client, world):
    contract = Contract(vendor_document("jira"), "http://twin", own_times=True)
    await create(client)
    world.advance(5)
    link = {"globalId": "zd=1", "object": {"title": "#1", "url": "https://x.test/1"}}
    search = {"jql": "labels = rk-1", "fields": ["summary", "status"], "properties": ["rk"], "maxResults": 10}
    written = draft() | {"properties": [{"key": "rk", "value": {"key": "K"}}]}
    note = {"body": document("more")}
    calls = [
        ("POST", "/issue", written),
        ("POST", "/issue", draft(labels=["a b"])),
        ("GET", "/issue/INC-1?fields=summary&properties=rk", None),
        ("GET", "/issue/INC-1", None),
        ("POST", "/search/jql", search),
        ("POST", "/issue/INC-1/remotelink", link),
        ("POST", "/issue/INC-1/remotelink", link),
        ("GET", "/issue/INC-1/remotelink?globalId=zd%3D1", None),  # the document has no word for a list of them
        ("POST", "/issue/INC-1/comment", note),
        ("GET", "/issue/INC-1/comment", None),
        ("GET", "/issue/INC-1/transitions", None),
        ("GET", "/myself", None),
        ("GET", "/issue/createmeta/INC/issuetypes/10001", None),
    ]
    replies = [await client.request(method, API + path, json=body) for method, path, body in calls]
    assert [reply.status_code for reply in replies] == [201, 400, 200, 200, 200, 201, 200, 200, 201, *[200] * 4]
    for reply in replies:
        contract.check(reply, request_too=reply.request.method == "POST")


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"description": "plain text"}, "description", "Atlassian Document"),
        ({"summary": "two\nlines"}, "summary", "newline"),
        ({"summary": "x" * 256}, "summary", "255"),
        ({"summary": " "}, "summary", "must specify"),
        ({"labels": ["a b"]}, "labels", "spaces"),
        ({"issuetype": {"name": "Epic"}}, "issuetype", "valid issue type"),
        ({"project": {"key": "NO"}}, "project", "valid project"),
        ({"priority": {"name": "P1"}}, "priority", "invalid"),
        ({"customfield_9": "x"}, "customfield_9", "cannot be set"),
        ({"customfield_1": ""}, "customfield_1", "is required"),
    ],
)
async def test_a_bad_field_is_named(client, state, world, fields, field, words):
    state.add_custom_field("customfield_1", "Customers", required=True)
    reply = await client.post(f"{API}/issue", json=draft(**{"customfield_1": "harbor"} | fields))
    assert reply.status_code == 400
    assert words in reply.json()["errors"][field]
    assert world.read_journal("jira") == []


@pytest.mark.parametrize(
    "node",
    [
        {"type": "text", "text": "outside a block"},
        {"type": "paragraph", "content": [{"type": "text", "text": ""}]},
        {"type": "script", "content": []},
        {"type": "bulletList", "content": []},
        {"type": "heading", "attrs": {"level": 9}, "content": []},
    ],
)
async def test_an_unsound_document_is_refused(client, node):
    reply = await client.post(f"{API}/issue", json=draft(description={"type": "doc", "version": 1, "content": [node]}))
    assert (reply.status_code, reply.json()["errorMessages"]) == (400, ["INVALID_INPUT"])


async def test_two_equal_creates_make_two_issues(client):
    assert [await create(client), await create(client)] == ["INC-1", "INC-2"]


async def test_search_finds_a_new_issue_only_after_the_lag_unless_its_id_is_named(client, world, state):
    state.knobs.search_lag_seconds = 60
    await create(client)
    ref = state.issues["INC-1"].issue_id
    assert (await find(client, "labels = rk-1"))["issues"] == []
    assert len((await find(client, "labels = rk-1", reconcileIssues=[int(ref)]))["issues"]) == 1
    world.advance(61)
    assert (await find(client, "labels = rk-1"))["issues"][0]["key"] == "INC-1"


async def test_search_gives_ids_only_unless_fields_are_named(client, world):
    await create(client)
    world.advance(5)
    issues = (await client.post(f"{API}/search/jql", json={"jql": "project = INC"})).json()["issues"]
    assert [set(issue) for issue in issues] == [{"id"}]


@pytest.mark.parametrize(
    "body", [{"jql": ""}, {"jql": "order by created"}, {"jql": "project = INC", "startAt": 0}, {"jql": "colour = red"}]
)
async def test_an_unbounded_or_old_or_wrong_search_is_refused(client, body):
    assert (await client.post(f"{API}/search/jql", json=body)).status_code == 400


async def test_the_old_search_is_gone(client):
    assert (await client.get(f"{API}/search", params={"jql": "project = INC"})).status_code == 410


@pytest.mark.parametrize(
    ("jql", "found"),
    [
        ('project = "INC" AND labels = "rk-1" ORDER BY created DESC', ["INC-2", "INC-1"]),
        ("labels in (rk-1, other) AND status != Done ORDER BY created ASC", ["INC-1", "INC-2"]),
        ("labels not in (rk-1)", []),
        ("key = INC-2 OR (summary ~ nothing)", ["INC-2"]),
        ("created >= -1h AND NOT key = INC-1", ["INC-2"]),
        ("created < -1h", []),
        ("statusCategory = Done", []),
    ],
)
async def test_jql(client, world, jql, found):
    await create(client)
    await create(client)
    world.advance(5)
    assert [issue["key"] for issue in (await find(client, jql))["issues"]] == found


async def test_search_goes_page_by_page_with_a_token(client, world):
    for _ in range(3):
        await create(client)
    world.advance(5)
    first = await find(client, "project = INC", maxResults=2)
    last = await find(client, "project = INC", maxResults=2, nextPageToken=first["nextPageToken"])
    assert (first["isLast"], last["isLast"], len(last["issues"])) == (False, True, 1)
    assert "total" not in first


async def test_properties_set_at_create_come_back(client):
    body = draft() | {"properties": [{"key": "allclear", "value": {"key": "K1"}}]}
    key = (await client.post(f"{API}/issue", json=body)).json()["key"]
    shown = (await client.get(f"{API}/issue/{key}", params={"properties": "allclear"})).json()
    assert shown["properties"] == {"allclear": {"key": "K1"}}


async def test_a_remote_link_is_replaced_by_its_global_id(client):
    await create(client)
    link = {"globalId": "zd=1", "relationship": "customer", "object": {"title": "#1", "url": "https://x.test/1"}}
    first = await client.post(f"{API}/issue/INC-1/remotelink", json=link)
    again = await client.post(
        f"{API}/issue/INC-1/remotelink", json={"globalId": "zd=1", "object": {"title": "new", "url": "https://x.test"}}
    )
    assert (first.status_code, again.status_code) == (201, 200)
    links = (await client.get(f"{API}/issue/INC-1/remotelink")).json()
    assert [link["object"]["title"] for link in links] == ["new"]
    assert "relationship" not in links[0]


async def test_comments_keep_their_properties_apart(client):
    await create(client)
    body = {"body": document("note"), "properties": [{"key": "rk", "value": "K2"}]}
    made = (await client.post(f"{API}/issue/INC-1/comment", json=body)).json()
    listed = (await client.get(f"{API}/issue/INC-1/comment")).json()["comments"]
    assert "properties" not in listed[0]
    assert (await client.get(f"{API}/comment/{made['id']}/properties/rk")).json()["value"] == "K2"
    bad = await client.post(f"{API}/issue/INC-1/comment", json={"body": "plain"})
    assert bad.json()["errors"] == {"comment": "Comment body is not valid!"}


async def test_writes_on_one_issue_are_limited(client, state, world):
    state.knobs.write_limits = ((2, 2.0),)
    await create(client)
    replies = [await client.post(f"{API}/issue/INC-1/comment", json={"body": document("x")}) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [201, 201, 429]
    assert replies[2].headers["ratelimit-reason"] == "jira-per-issue-on-write"
    assert replies[2].headers["retry-after"] == "2"
    world.advance(2.1)
    assert (await client.post(f"{API}/issue/INC-1/comment", json={"body": document("x")})).status_code == 201


async def test_a_scoped_token_works_only_through_the_gateway(client, state):
    state.knobs.scoped = True
    assert (await client.get(f"{API}/myself")).status_code == 401
    assert (await client.get(f"/ex/jira/cloud-1{API}/myself")).status_code == 200


async def test_a_wrong_token_is_401_and_an_unknown_issue_404(client, world, state):
    async with in_process(build_app(world, state), headers=basic("ops@x.test:wrong")) as stranger:
        assert (await stranger.get(f"{API}/myself")).status_code == 401
    assert (await client.get(f"{API}/issue/INC-9")).status_code == 404


def test_the_jira_package_gets_what_it_expects(world, state):
    with served(build_app(world, state)) as base:
        desk = jira.JIRA(base, basic_auth=("ops@x.test", "token"), options={"rest_api_version": "3"}, max_retries=0)
        assert desk.myself()["emailAddress"] == "ops@x.test"
        issue = desk.create_issue(fields=draft()["fields"])
        world.advance(5)
        assert [one.key for one in desk.enhanced_search_issues("labels = rk-1")] == [issue.key]
        desk.add_simple_link(issue, {"title": "#1", "url": "https://x.test/1"})
        assert [link.object.title for link in desk.remote_links(issue)] == ["#1"]
        done = next(one["id"] for one in desk.transitions(issue) if one["name"] == "Done")
        desk.transition_issue(issue, done)
        assert desk.issue(issue.key).fields.status.name == "Done"
        with pytest.raises(JIRAError) as refused:
            desk.create_issue(fields=draft(labels=["a b"])["fields"])
        desk.close()
    assert refused.value.status_code == 400
    assert "spaces" in refused.value.text
