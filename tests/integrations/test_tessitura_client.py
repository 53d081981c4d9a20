"""Tessitura: stored contents with the addresses an import would use, and not one call that changes anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from remote_bench import Bench

from integrations.tessitura import TessituraClient
from recovery.errors import AuthFailed, BadReply, ConfigError, NotFound, Unavailable

SUMMARY = {
    "Id": 5,
    "Description": "Members",
    "ConstituentCount": 3,
    "IsDynamic": True,
    "Inactive": False,
    "LastUsedDateTime": "2026-03-01T10:00:00-05:00",
    "UpdatedDateTime": None,
}


def address(owner: int, text: str, *, primary: bool = True, **more: Any) -> dict[str, Any]:
    kind = {"Id": more.pop("type", 1), "IsEmail": True}
    return {
        "Id": 1,
        "Address": text,
        "PrimaryIndicator": primary,
        "Inactive": False,
        "IsEmail": True,
        "Constituent": {"Id": owner},
        "ElectronicAddressType": kind,
        **more,
    }


def service(
    members: list[int], addresses: list[dict[str, Any]], *, contents: int = 200, total: int | None = None
) -> Callable[[httpx.Request], httpx.Response]:
    def remote(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/Contents"):
            if contents != 200:
                return httpx.Response(contents, json=[{"Code": "X", "Description": "no right"}])
            return httpx.Response(200, json=[{"ConstituentId": m} for m in members])
        if path.endswith("/Results"):
            body = json.loads(request.content)
            assert body["DisableListGenerate"] is True
            page = members[(body["Page"] - 1) * body["PageSize"] :][: body["PageSize"]]
            headers = {"X-Total-Count": str(len(members) if total is None else total)}
            return httpx.Response(200, json=[{"Constituent ID": m} for m in page], headers=headers)
        wanted = {int(n) for n in request.url.params["constituentIds"].split(",")}
        assert len(wanted) <= 100
        return httpx.Response(200, json=[a for a in addresses if a["Constituent"]["Id"] in wanted])

    return remote


def client_of(
    remote: Callable[[httpx.Request], httpx.Response], zone: str = "America/New_York"
) -> tuple[TessituraClient, Bench]:
    headers = TessituraClient.credentials("pro2", "12", "web", "can:ary-password")
    bench = Bench(remote, system="tessitura", headers=headers)
    return TessituraClient(bench.transport, zone), bench


async def emails(client: TessituraClient, **filters: Any) -> dict[int, str]:
    return {c.ref: c.email for c in (await client.constituents(5, filters)).items}


def test_the_four_part_credential_is_joined_with_colons_and_only_the_password_may_hold_one() -> None:
    header = TessituraClient.credentials("pro2", "12", "web", "pass:word")["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "pro2:12:web:pass:word"
    for wrong in (("a:b", "12", "web"), ("a", "", "web"), ("a", "1", "w:b")):
        with pytest.raises(ConfigError) as caught:
            TessituraClient.credentials(*wrong, "secret-1")
        assert "secret-1" not in str(caught.value)


async def test_the_primary_active_address_is_chosen_in_lower_case() -> None:
    given = [
        address(1, "second@x.example", primary=False),
        address(1, "First@X.example"),
        address(2, "gone@x.example", Inactive=True),
        address(2, "0151 234567", IsEmail=False),
        address(3, "late@x.example", primary=False, EndDate="2026-02-01T00:00:00-05:00"),
        address(9, "somebody@else.example"),
    ]
    client, _ = client_of(service([1, 2, 3], given))
    assert await emails(client) == {1: "first@x.example", 2: "", 3: ""}


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "UTC"])
async def test_a_date_at_an_end_of_the_calendar_bounds_no_address(zone: str) -> None:
    ends = {"StartDate": "0001-01-01T00:00:00", "EndDate": "9999-12-31T23:59:59.9999999"}
    client, _ = client_of(service([1, 2], [address(1, "a@x.example", **ends), address(2, "b@x.example")]), zone)
    assert await emails(client) == {1: "a@x.example", 2: "b@x.example"}


async def test_an_address_that_begins_in_the_future_is_not_used_yet() -> None:
    given = [
        address(1, "new@x.example", StartDate="2999-01-01T00:00:00"),
        address(1, "now@x.example", primary=False, StartDate="2020-01-01T00:00:00"),
    ]
    client, _ = client_of(service([1], given))
    assert await emails(client) == {1: "now@x.example"}


async def test_an_address_that_does_not_say_whether_it_is_an_e_mail_is_what_its_type_is() -> None:
    page = {**address(1, "https://x.example"), "ElectronicAddressType": {"Id": 5, "IsEmail": False}}
    mail = {**address(2, "b@x.example"), "ElectronicAddressType": {"Id": 5, "IsEmail": False}}
    del page["IsEmail"]
    given = [page, address(1, "a@x.example", primary=False), mail]
    client, _ = client_of(service([1, 2], given))
    assert await emails(client) == {1: "a@x.example", 2: "b@x.example"}


async def test_the_imports_filters_choose_the_address() -> None:
    given = [address(1, "a@x.example", type=1), address(1, "b@x.example", primary=False, type=7)]
    client, bench = client_of(service([1], given))
    assert await emails(client, eaddress_type_id=7) == {1: "b@x.example"}
    assert bench.requests[-1].url.params["electronicAddressTypeId"] == "7"
    assert await emails(client, eaddress_type_id=7, primary_only=True) == {1: ""}
    assert bench.requests[-1].url.params["primaryOnly"] == "true"


async def test_a_filter_that_cannot_be_applied_makes_the_listing_incomplete() -> None:
    client, _ = client_of(service([1], [address(1, "a@x.example")]))
    listing = await client.constituents(5, {"contact_point_purpose_id": 3})
    assert (listing.complete, len(listing.items)) == (False, 1)
    assert "contact_point_purpose_id" in listing.problem
    assert (await client.constituents(5, {"contact_point_purpose_id": None, "primary_only": False})).complete


@pytest.mark.parametrize("count", [0, 1, 100, 250])
async def test_addresses_are_read_a_hundred_constituents_at_a_time(count: int) -> None:
    client, bench = client_of(service(list(range(1, count + 1)), []))
    listing = await client.constituents(5, {})
    assert (len(listing.items), listing.complete) == (count, True)
    assert len([r for r in bench.requests if "ElectronicAddresses" in r.url.path]) == -(-count // 100)


async def test_where_contents_are_barred_results_are_read_without_regenerating() -> None:
    client, bench = client_of(service(list(range(1, 2101)), [], contents=403))
    listing = await client.constituents(5, {})
    assert (len(listing.items), listing.complete) == (2100, True)
    assert len([r for r in bench.requests if r.url.path.endswith("/Results")]) == 3


async def test_results_that_do_not_add_up_make_the_listing_incomplete() -> None:
    client, _ = client_of(service([1, 2], [], contents=403, total=3))
    listing = await client.constituents(5, {})
    assert (listing.complete, listing.problem) == (False, "Tessitura counts 3 and 2 were read")


async def test_addresses_that_fail_midway_leave_the_listing_incomplete() -> None:
    good = service(list(range(1, 151)), [])

    def remote(request: httpx.Request) -> httpx.Response:
        late = "ElectronicAddresses" in request.url.path and "150" in request.url.params["constituentIds"]
        return httpx.Response(500) if late else good(request)

    client, _ = client_of(remote)
    listing = await client.constituents(5, {})
    assert (len(listing.items), listing.complete) == (100, False)


async def test_a_list_is_summarised_with_its_times_in_utc() -> None:
    client, _ = client_of(lambda r: httpx.Response(200, json=SUMMARY))
    found = await client.list_summary(5)
    assert (found.ref, found.name, found.count, found.dynamic, found.updated_at) == (5, "Members", 3, True, None)
    assert found.last_used_at is not None
    assert found.last_used_at.isoformat() == "2026-03-01T15:00:00+00:00"


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
async def test_a_list_that_was_never_used_says_so(zone: str) -> None:
    row = {**SUMMARY, "LastUsedDateTime": "0001-01-01T00:00:00", "UpdatedDateTime": "9999-12-31T23:59:59"}
    client, _ = client_of(lambda r: httpx.Response(200, json=row), zone)
    found = await client.list_summary(5)
    assert found.last_used_at is None
    assert found.updated_at is not None
    assert found.updated_at.astimezone(ZoneInfo("Pacific/Kiritimati")).year == 9999


async def test_lists_are_searched_over_all_pages() -> None:
    rows = [{**SUMMARY, "Id": n} for n in range(1, 131)]

    def remote(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        page = rows[(body["Page"] - 1) * body["PageSize"] :][: body["PageSize"]]
        return httpx.Response(200, json=page, headers={"X-Total-Count": str(len(rows))})

    client, bench = client_of(remote)
    assert len(await client.find_lists("Members")) == 130
    assert len(bench.requests) == 2


@pytest.mark.parametrize("counted", [True, False])
async def test_a_server_that_gives_fewer_rows_a_page_than_asked_for_is_read_to_its_end(counted: bool) -> None:
    """PageSize may be capped, and the headers may be lost behind a gateway."""
    rows = [{**SUMMARY, "Id": n} for n in range(1, 120)]

    def remote(request: httpx.Request) -> httpx.Response:
        page = json.loads(request.content)["Page"]
        headers = {"X-Total-Count": str(len(rows))} if counted else {}
        return httpx.Response(200, json=rows[(page - 1) * 50 :][:50], headers=headers)

    client, _ = client_of(remote)
    assert len(await client.find_lists("Members")) == 119


async def test_results_in_pages_of_the_servers_own_size_are_read_to_their_end() -> None:
    members = list(range(1, 251))

    def remote(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/Contents"):
            return httpx.Response(403, json=[{"Description": "no right"}])
        if request.url.path.endswith("/Results"):
            page = members[(json.loads(request.content)["Page"] - 1) * 100 :][:100]
            rows = [{"customer_no": m} for m in page]
            return httpx.Response(200, json=rows, headers={"X-Total-Count": "250"})
        return httpx.Response(204)

    client, _ = client_of(remote)
    listing = await client.constituents(5, {})
    assert (len(listing.items), listing.complete) == (250, True)


async def test_a_byte_order_mark_before_the_json_is_passed_over() -> None:
    content = b"\xef\xbb\xbf" + json.dumps(SUMMARY).encode()
    client, _ = client_of(lambda r: httpx.Response(200, content=content, headers={"Content-Type": "application/json"}))
    assert (await client.list_summary(5)).name == "Members"


async def test_no_content_is_an_empty_list() -> None:
    client, _ = client_of(lambda r: httpx.Response(204))
    listing = await client.constituents(5, {})
    assert (listing.items, listing.complete) == ((), True)


async def test_times_with_seven_digits_as_dot_net_writes_them_are_read() -> None:
    row = {**SUMMARY, "LastUsedDateTime": "2026-03-01T10:00:00.1234567-05:00"}
    client, _ = client_of(lambda r: httpx.Response(200, json=row))
    found = (await client.list_summary(5)).last_used_at
    assert found is not None
    assert found.isoformat() == "2026-03-01T15:00:00.123456+00:00"


@pytest.mark.parametrize(
    ("body", "healthy"),
    [
        ({"Success": True, "Dependencies": [{"Success": True}]}, True),
        ({"Success": True, "Dependencies": [{"Success": False}]}, False),
        ({"Success": False, "Dependencies": None}, False),
        ({"Success": True}, True),
    ],
)
async def test_health_is_that_of_the_service_and_of_what_it_depends_on(body: Any, healthy: bool) -> None:
    client, _ = client_of(lambda r: httpx.Response(200, json=body))
    assert await client.healthy() is healthy


async def test_errors_come_as_what_they_are() -> None:
    said = [{"Code": "X", "Description": "The requested list was not found."}]
    for status, kind in ((401, AuthFailed), (404, NotFound), (500, Unavailable)):
        client, _ = client_of(lambda r, status=status: httpx.Response(status, json=said))
        with pytest.raises(kind, match="requested list was not found"):
            await client.list_summary(5)
    client, _ = client_of(lambda r: httpx.Response(200, html="<html>IIS</html>"))
    with pytest.raises(BadReply, match="HTML"):
        await client.list_summary(5)
