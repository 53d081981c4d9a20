"""Tessitura REST (15.2 and later): lists as they are stored, and the e-mail addresses an import would use.

Facts: prospect2-tessitura.md §3. Everything here reads. The calls that change Tessitura are not in this module at all:
`Generate` rewrites a list's contents, `FlushIncomplete` fails every running report. `Results` regenerates a dynamic
list unless `DisableListGenerate` is true, so it is always true here, and the plain `Contents` call is preferred.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.fields import FIRST_MOMENT
from integrations.http import CapabilityManifest, Fields, Reply, Transport
from recovery.errors import AuthFailed, BadReply, ConfigError, NotFound, RemoteError
from recovery.ports import Constituent, Listing, TessituraList

BATCH = 100
RESULTS_PAGE = 1000
MAX_PAGES = 5000
_OWNER_COLUMNS = ("constituentid", "constituentno", "customerno", "customernumber", "id")
_KNOWN_FILTERS = ("primary_only", "eaddress_type_id", "contact_point_purpose_id")


class TessituraClient:
    """Lists and addresses of one account: the `ListDesk`. `time_zone` reads times that come without an offset."""

    def __init__(self, transport: Transport, time_zone: str = "UTC", proven: CapabilityManifest | None = None) -> None:
        self._http = transport
        self._proven = proven or CapabilityManifest(transport.system)
        try:
            self._zone: tzinfo = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigError(f"{transport.account}: {time_zone!r} is not a time zone", "use an IANA name") from None

    @staticmethod
    def credentials(user: str, group: str, location: str, password: str) -> dict[str, str]:
        """The four-part Basic header: user, user group id, machine location, password (alone free to hold a colon)."""
        parts = {"user": user, "group": group, "location": location}
        wrong = [name for name, value in parts.items() if ":" in value or not value]
        if wrong:
            raise ConfigError(
                f"Tessitura's {', '.join(wrong)} must be set and hold no colon", "the four parts are joined with colons"
            )
        joined = ":".join((*parts.values(), password))
        return {"Authorization": f"Basic {base64.b64encode(joined.encode()).decode()}"}

    def manifest(self) -> CapabilityManifest:
        """What this service is proven to do."""
        return self._proven

    async def healthy(self) -> bool:
        """Diagnostics/Status says so, for itself and for everything it depends on."""
        got = await self._http.record("status", "/Diagnostics/Status")
        parts = got.records("Dependencies") if got.values.get("Dependencies") else []
        return got.flag("Success") and all(part.flag("Success", True) for part in parts)

    async def list_summary(self, list_ref: int) -> TessituraList:
        """The list without its contents."""
        got = await self._http.record("list", f"/Reporting/Lists/{int(list_ref)}")
        found = self._list(got)
        if found.ref != list_ref:
            raise got.bad(f"asked for list {list_ref} and got {found.ref}")
        return found

    async def find_lists(self, name: str) -> tuple[TessituraList, ...]:
        """Lists whose name matches as List Manager's own search matches, all pages."""
        found: dict[int, TessituraList] = {}
        for page in range(1, MAX_PAGES):
            body = {"MyListsOnly": False, "ShowEmpty": True, "SearchText": name, "Page": page, "PageSize": BATCH}
            reply = await self._http.read("list_search", "POST", "/Reporting/Lists/Search", json=body)
            before, total = len(found), _header_total(reply.headers)
            found.update((row.integer("Id"), self._list(row)) for row in self._rows("list_search", reply))
            # The server may give fewer rows a page than were asked for, so a short page is no end.
            if len(found) == before or 0 < total <= len(found):
                break
        return tuple(found.values())

    async def constituents(self, list_ref: int, filters: Mapping[str, int | bool | None]) -> Listing[Constituent]:
        """The list's stored contents (never regenerated) with addresses chosen as the import's filters say.

        A filter that cannot be applied here (contact point purposes are readable for one constituent at a time only)
        makes the listing incomplete, because the addresses might not be the ones an import would use.
        """
        owners, digests, problem = await self._members(list_ref)
        other = [n for n, v in filters.items() if v not in (None, False) and n not in _KNOWN_FILTERS[:2]]
        if other and not problem:
            problem = f"the filter {', '.join(other)} cannot be applied to addresses here"
        rows: list[Constituent] = []
        members = iter(owners)
        while batch := list(islice(members, BATCH)):
            try:
                chosen, digest = await self._addresses(batch, filters)
            except RemoteError as failure:
                if not rows:
                    raise
                problem = f"addresses could not be read to the end: {failure}"
                break
            digests.append(digest)
            rows.extend(Constituent(owner, chosen.get(owner, "")) for owner in batch)
        return Listing(tuple(rows), not problem, self._http.clock.now(), problem, tuple(digests))

    async def _members(self, list_ref: int) -> tuple[list[int], list[str], str]:
        """Ids of the list's stored contents, through `Contents`, or page by page where that is barred or too long."""
        try:
            reply = await self._http.read("contents", "GET", f"/Reporting/Lists/{int(list_ref)}/Contents")
            owners = [row.integer("ConstituentId") for row in self._rows("contents", reply)]
        except (AuthFailed, BadReply, NotFound):
            return await self._result_members(list_ref)
        return list(dict.fromkeys(owners)), [reply.digest], ""

    async def _result_members(self, list_ref: int) -> tuple[list[int], list[str], str]:
        owners: dict[int, None] = {}
        digests: list[str] = []
        total = read = 0
        for page in range(1, MAX_PAGES):
            body = {"Page": page, "PageSize": RESULTS_PAGE, "DisableListGenerate": True}
            reply = await self._http.read("results", "POST", f"/Reporting/Lists/{int(list_ref)}/Results", json=body)
            rows = self._rows("results", reply)
            digests.append(reply.digest)
            if total and _header_total(reply.headers) != total:
                return list(owners), digests, "the list changed while it was read"
            total = _header_total(reply.headers)
            owners.update((_owner(row), None) for row in rows)
            read += len(rows)
            if not rows or read >= total:
                break
        problem = "" if len(owners) == total else f"Tessitura counts {total} and {len(owners)} were read"
        return list(owners), digests, problem

    async def _addresses(
        self, owners: Sequence[int], filters: Mapping[str, int | bool | None]
    ) -> tuple[dict[int, str], str]:
        """The address of each constituent that has one: active, of the type asked for, the primary one first."""
        query: dict[str, str | int] = {
            "constituentIds": ",".join(str(owner) for owner in owners),
            "primaryOnly": "true" if filters.get("primary_only") else "false",
            "includeAffiliations": "false",
        }
        type_ref = filters.get("eaddress_type_id")
        if type_ref is not None:
            query["electronicAddressTypeId"] = int(type_ref)
        reply = await self._http.read("electronic_addresses", "GET", "/CRM/ElectronicAddresses", params=query)
        now = self._http.clock.now()
        chosen: dict[int, tuple[bool, str]] = {}
        for row in self._rows("electronic_addresses", reply):
            owner, primary = row.record("Constituent").integer("Id"), row.flag("PrimaryIndicator", False)
            if not self._usable(row, filters, now) or (owner in chosen and (chosen[owner][0] or not primary)):
                continue
            chosen[owner] = (primary, row.text("Address", "").strip().lower())
        return {owner: address for owner, (_, address) in chosen.items()}, reply.digest

    def _usable(self, row: Fields, filters: Mapping[str, int | bool | None], now: datetime) -> bool:
        kind = row.maybe_record("ElectronicAddressType")
        wanted = filters.get("eaddress_type_id")
        by_type = kind.flag("IsEmail", True) if kind else True
        starts_at, ends_at = self._time(row, "StartDate"), self._time(row, "EndDate")
        return (
            not row.flag("Inactive", False)
            and row.flag("IsEmail", by_type)
            and (row.flag("PrimaryIndicator", False) or not filters.get("primary_only"))
            and (wanted is None or (kind is not None and kind.maybe_integer("Id") == wanted))
            and (starts_at is None or starts_at <= now)
            and (ends_at is None or ends_at > now)
        )

    def _time(self, row: Fields, name: str) -> datetime | None:
        """A time, no later than any zone can show; None for the first that .NET knows, which means none."""
        moment = row.moment(name, self._zone, clamped=True)
        return None if moment == FIRST_MOMENT else moment

    def _rows(self, op: str, reply: Reply) -> list[Fields]:
        """The rows of a reply; 204 is Tessitura's word for none."""
        return [] if reply.status == 204 else self._http.rows(op, reply)

    def _list(self, row: Fields) -> TessituraList:
        return TessituraList(
            ref=row.integer("Id"),
            name=row.text("Description", ""),
            count=row.integer("ConstituentCount", 0),
            dynamic=row.flag("IsDynamic", False),
            inactive=row.flag("Inactive", False),
            last_used_at=self._time(row, "LastUsedDateTime"),
            updated_at=self._time(row, "UpdatedDateTime"),
        )


def _header_total(headers: Mapping[str, str]) -> int:
    text = headers.get("x-total-count", "")
    return int(text) if text.isdigit() else 0


def _owner(row: Fields) -> int:
    """The constituent's id among the columns of an output set, whose names the customer chose."""
    by_name = {"".join(c for c in name.lower() if c.isalnum()): name for name in row.values}
    for column in _OWNER_COLUMNS:
        if column in by_name:
            return row.integer(by_name[column])
    raise row.bad("no column with the constituent's id")
