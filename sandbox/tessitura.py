"""Tessitura REST of every account: List Manager lists, electronic addresses, and the calls that must never be made.

Facts: reference/prospect2-tessitura.md §3 (service 15.2). A dynamic list has stored contents and, until somebody
regenerates it, other contents that a regeneration would give. Set `TessituraState.knobs` for gateway failures.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox.wire import Json, RefusedError, basic_text, body_object, flag, same, whole_number
from sandbox.world import World

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_IIS_PAGE = """<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"><head><title>500 - Internal server error.</title></head>
<body><div id="header"><h1>Server Error</h1></div>
<h2>500 - Internal server error.</h2><h3>There is a problem with the resource you are looking for.</h3></body></html>"""

Handler = Callable[[World, "TessituraState", Request], Awaitable[Response]]


@dataclass
class TessituraList:
    """A List Manager list. `stored` is what its contents are now, `fresh` what a regeneration would make of them."""

    list_id: int
    description: str
    is_dynamic: bool
    stored: list[int]
    fresh: list[int] | None = None
    inactive: bool = False
    category: str = "Pro2"
    output_set_id: int | None = None
    last_used_at: datetime | None = None
    updated_at: datetime = _EPOCH

    def regenerate(self) -> None:
        """Make the stored contents what the list's criteria give today; a static list stays as it is."""
        if self.is_dynamic and self.fresh is not None:
            self.stored = list(self.fresh)


@dataclass
class Address:
    """One electronic address of a constituent."""

    address_id: int
    constituent_id: int
    address: str
    primary: bool = True
    inactive: bool = False
    type_id: int = 1
    purposes: tuple[int, ...] = ()


@dataclass
class TessituraKnobs:
    """Failures of the gateway in front of the service, off by default."""

    iis_error: bool = False  # every call answers an IIS HTML page with status 500
    unhealthy: bool = False  # Diagnostics/Status says that a dependency is down
    forbidden_ops: set[str] = field(default_factory=set)  # route names the user group has no right to


@dataclass
class TessituraState:
    """One account's Tessitura. The credential has four parts: user, user group's id, machine location, password."""

    account: str
    user: str
    group: str
    location: str
    password: str
    time_zone: str = "Eastern Standard Time"
    lists: dict[int, TessituraList] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  # constituent -> display name
    addresses: dict[int, list[Address]] = field(default_factory=dict)  # by constituent
    knobs: TessituraKnobs = field(default_factory=TessituraKnobs)
    _address_count: int = 0

    def add_list(
        self,
        list_id: int,
        description: str,
        members: Iterable[int],
        *,
        fresh: Iterable[int] | None = None,
        **rest: Any,
    ) -> TessituraList:
        """Add a list; with `fresh` it is dynamic and a regeneration turns its contents into those."""
        made = TessituraList(
            list_id,
            description,
            fresh is not None or bool(rest.pop("is_dynamic", False)),
            list(members),
            list(fresh) if fresh is not None else None,
            **rest,
        )
        self.lists[list_id] = made
        return made

    def add_constituent(self, constituent_id: int, email: str | None = None, *, name: str = "", **rest: Any) -> None:
        """Add a constituent or a further address of one; `rest` are fields of Address."""
        self.names.setdefault(constituent_id, name or f"Patron {constituent_id}")
        if email is not None:
            self._address_count += 1
            made = Address(self._address_count, constituent_id, email, **rest)
            self.addresses.setdefault(constituent_id, []).append(made)

    def rows_for_import(self, list_ref: int, filters: Mapping[str, Any]) -> list[tuple[int, str | None]]:
        """What an Integrated Import reads: the list regenerated now, each member with the address the filters allow.

        Members without such an address are left out, as in an import. Raises KeyError for an unknown list. It is
        Pro2 that reads, so this is no event of the REST service and is not journalled here.
        """
        found = self.lists[list_ref]
        found.regenerate()
        pairs = ((member, self.address_for(member, filters)) for member in found.stored)
        return [(member, address) for member, address in pairs if address is not None]

    def address_for(self, constituent_id: int, filters: Mapping[str, Any]) -> str | None:
        """The address an import with these filters would use, the primary one first; None when there is none."""
        type_id, purpose = filters.get("eaddress_type_id"), filters.get("contact_point_purpose_id")
        usable = [
            address
            for address in self.addresses.get(constituent_id, [])
            if not address.inactive
            and (type_id is None or address.type_id == type_id)
            and (purpose is None or purpose in address.purposes)
            and (address.primary or not filters.get("primary_only"))
        ]
        usable.sort(key=lambda address: not address.primary)
        return usable[0].address if usable else None


def _errors(status: int, description: str, details: str = "") -> JSONResponse:
    """Tessitura's error body: a collection of ErrorMessage."""
    entry = {"Code": f"TESSITURA_{status}", "Description": description, "Details": details, "ErrorPath": ""}
    headers = {"WWW-Authenticate": 'Basic realm="Tessitura"'} if status == 401 else None
    return JSONResponse([entry], status, headers)


def _check_credential(state: TessituraState, request: Request) -> None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise RefusedError(401, "The Authorization header is missing.")
    text = basic_text(value.strip()) if scheme.lower() == "basic" else None
    parts = text.split(":", 3) if text is not None else []
    if len(parts) != 4:
        raise RefusedError(403, "The Authorization header is not in the correct format.")
    wanted = (state.user, state.group, state.location, state.password)
    if not all(same(given, right) for given, right in zip(parts, wanted, strict=True)):
        raise RefusedError(401, "The supplied credentials are not valid.")


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None


def _summary(found: TessituraList) -> Json:
    return {
        "Id": found.list_id,
        "Description": found.description,
        "Category": {"Id": 1, "Description": found.category, "Inactive": False},
        "ConstituentCount": len(found.stored),
        "Inactive": found.inactive,
        "CreatedBy": "pro2",
        "LastUsedDateTime": _time(found.last_used_at),
        "IsDynamic": found.is_dynamic,
        "EditMode": "C",
    }


def _whole(found: TessituraList) -> Json:
    output = {"Id": found.output_set_id, "Description": "Pro2 fields"} if found.output_set_id is not None else None
    return {
        **_summary(found),
        "ControlGroup": {"Id": 1, "Description": "Default"},
        "TMSIndicator": True,
        "Criteria": [],
        "OutputSet": output,
        "Generate": found.is_dynamic,
        "UpdatedBy": "pro2",
        "UpdatedDateTime": _time(found.updated_at),
    }


def _list_of(state: TessituraState, request: Request) -> TessituraList:
    number = whole_number(request.path_params["list_id"], -1)
    found = state.lists.get(number) if number is not None else None
    if found is None:
        raise RefusedError(404, "The requested list was not found.")
    return found


def _numbers(text: str | None, name: str) -> list[int]:
    try:
        return [int(part) for part in (text or "").split(",") if part.strip()]
    except ValueError:
        raise RefusedError(400, f"{name} must be whole numbers separated by commas.") from None


async def _status(world: World, state: TessituraState, request: Request) -> Response:
    del request
    good = not state.knobs.unhealthy
    database = {"Success": good, "Name": "Database", "Description": "Impresario" if good else "Cannot connect."}
    service = {"Success": True, "Name": "Service", "Description": "15.2.40"}
    told = {
        "Success": good,
        "TimeStamp": _time(world.now()),
        "TimeZone": state.time_zone,
        "Dependencies": [database, service],
    }
    return JSONResponse(told)


async def _summaries(world: World, state: TessituraState, request: Request) -> Response:
    del world
    wanted = _numbers(request.query_params.get("listIds"), "listIds")
    found = [state.lists[ref] for ref in wanted if ref in state.lists] if wanted else list(state.lists.values())
    return JSONResponse([_summary(one) for one in found])


async def _body(request: Request) -> Json:
    body = await body_object(request)
    if body is None:
        raise RefusedError(400, "The request body is not valid.")
    return body


def _paged(rows: Sequence[Any], body: Json, default_size: int) -> tuple[list[Any], dict[str, str]]:
    page, size = body.get("Page", 1), body.get("PageSize", default_size)
    if not isinstance(page, int) or not isinstance(size, int) or page < 1 or size < 1:
        raise RefusedError(400, "Page and PageSize must be positive whole numbers.")
    headers = {"X-Page": str(page), "X-Page-Size": str(size), "X-Total-Count": str(len(rows))}
    return list(rows[(page - 1) * size : page * size]), headers


async def _search(world: World, state: TessituraState, request: Request) -> Response:
    del world
    body = await _body(request)
    text = str(body.get("SearchText") or "").lower()
    found = [one for one in state.lists.values() if text in one.description.lower()]
    if not body.get("ShowEmpty", True):
        found = [one for one in found if one.stored]
    rows, headers = _paged([_summary(one) for one in found], body, 50)
    return JSONResponse(rows, headers=headers)


async def _list(world: World, state: TessituraState, request: Request) -> Response:
    del world
    return JSONResponse(_whole(_list_of(state, request)))


async def _contents(world: World, state: TessituraState, request: Request) -> Response:
    del world
    return JSONResponse([{"ConstituentId": member} for member in _list_of(state, request).stored])


async def _details(world: World, state: TessituraState, request: Request) -> Response:
    del world
    rows = []
    for member in _list_of(state, request).stored:
        name = state.names.get(member, f"Patron {member}")
        rows.append({"Constituent": {"Id": member, "SortName": name.upper(), "DisplayName": name}})
    return JSONResponse(rows)


async def _generate(world: World, state: TessituraState, request: Request) -> Response:
    found = _list_of(state, request)
    before = len(found.stored)
    found.regenerate()
    found.updated_at = world.now()
    world.journal("tessitura", state.account, "generated", list=found.list_id, before=before, after=len(found.stored))
    return JSONResponse(_whole(found))


async def _results(world: World, state: TessituraState, request: Request) -> Response:
    found = _list_of(state, request)
    body = await _body(request)
    if found.is_dynamic and body.get("DisableListGenerate") is not True:
        found.regenerate()
        world.journal("tessitura", state.account, "regenerated", list=found.list_id, after=len(found.stored))
    found.last_used_at = world.now()
    members, headers = _paged(found.stored, body, 100)
    rows = [
        {
            "Constituent ID": member,
            "Display Name": state.names.get(member, f"Patron {member}"),
            "Email": state.address_for(member, {}),
        }
        for member in members
    ]
    return JSONResponse(rows, headers=headers)


def _address_json(address: Address) -> Json:
    return {
        "Id": address.address_id,
        "Address": address.address,
        "PrimaryIndicator": address.primary,
        "Inactive": address.inactive,
        "AllowMarketing": True,
        "AllowHtmlFormat": True,
        "IsEmail": True,
        "Months": "YYYYYYYYYYYY",
        "StartDate": None,
        "EndDate": None,
        "Constituent": {"Id": address.constituent_id},
        "ElectronicAddressType": {"Id": address.type_id, "Description": "Email", "IsEmail": True, "Inactive": False},
        "UpdatedDateTime": _time(_EPOCH),
    }


async def _electronic_addresses(world: World, state: TessituraState, request: Request) -> Response:
    del world
    query = request.query_params
    wanted = _numbers(query.get("constituentIds"), "constituentIds")
    exact, type_id = query.get("address"), whole_number(query.get("electronicAddressTypeId"), 0)
    if not wanted and not exact:
        raise RefusedError(400, "At least one of constituentIds and address is required.")
    owners = wanted or list(state.addresses)
    found = [
        address
        for owner in owners
        for address in state.addresses.get(owner, [])
        if (address.primary or not flag(query.get("primaryOnly")))
        and (not exact or address.address == exact)
        and (not type_id or address.type_id == type_id)
    ]
    return JSONResponse([_address_json(address) for address in found])


async def _flush(world: World, state: TessituraState, request: Request) -> Response:
    del request
    world.journal("tessitura", state.account, "flushed")
    return Response(status_code=204)


_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/Diagnostics/Status", "status", _status),
    ("GET", "/Reporting/Lists/Summary", "list_summaries", _summaries),
    ("POST", "/Reporting/Lists/Search", "list_search", _search),
    ("GET", "/Reporting/Lists/{list_id}", "list", _list),
    ("GET", "/Reporting/Lists/{list_id}/Contents", "contents", _contents),
    ("GET", "/Reporting/Lists/{list_id}/Contents/Details", "contents_details", _details),
    ("POST", "/Reporting/Lists/{list_id}/Generate", "generate", _generate),
    ("POST", "/Reporting/Lists/{list_id}/Results", "results", _results),
    ("GET", "/CRM/ElectronicAddresses", "electronic_addresses", _electronic_addresses),
    ("PUT", "/Reporting/ReportRequests/FlushIncomplete", "flush_incomplete", _flush),
)


async def _serve(
    world: World, states: Mapping[str, TessituraState], name: str, handler: Handler, request: Request
) -> Response:
    state = states.get(request.path_params["account"])
    if state is None or state.knobs.iis_error:
        return HTMLResponse(_IIS_PAGE, 404 if state is None else 500)
    try:
        _check_credential(state, request)
        if name in state.knobs.forbidden_ops:
            raise RefusedError(403, "The user group has no right to this resource.")
        return await handler(world, state, request)
    except RefusedError as refused:
        return _errors(refused.status, refused.message, refused.detail)


def _unrouted(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return HTMLResponse(_IIS_PAGE.replace("500", str(error.status_code)), error.status_code)


def build_app(world: World, states: Mapping[str, TessituraState]) -> Starlette:
    """The Tessitura services of all accounts, each under /{account}."""
    routes = [
        Route("/{account}" + path, functools.partial(_serve, world, states, name, handler), methods=[method], name=name)
        for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
