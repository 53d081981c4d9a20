"""OAuth tokens that are renewed, shared by every process of a machine without locking each other out.

Zendesk ends the old pair when a refresh token is used. Two workers that refresh at once would therefore leave one of
them with dead tokens, and a pair that is received but not stored is lost for good. So the pair lives in one file:
renewing is done under a lock on that file, after reading it again and after reserving the room for the new pair, and
the new pair is on the disk before anyone uses it. Readers take no lock, because the file is replaced as a whole. Hosts
that share no file system each need a client of their own, or the client_credentials grant.

Source: https://developer.zendesk.com/api-reference/ticketing/oauth/grant_type_tokens/ ·
https://developer.zendesk.com/documentation/api-basics/authentication/oauth-migration/
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from integrations.http import Sockets, Transport
from recovery.errors import AuthFailed, ConfigError, Refused, Unavailable
from recovery.ports import Clock, RateGate

Grant = Literal["client_credentials", "refresh_token"]

MARGIN_SECONDS = 60
"""A token is renewed this long before it ends, so that it does not end on the way."""
FRESH_SECONDS = 30
"""A token younger than this that is refused is refused for another reason than its age."""
LOCK_WAIT_SECONDS = 30.0
_LOCK_POLL_SECONDS = 0.05
_DEFAULT_LIFE_SECONDS = 1800
_RESERVED_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token and, where the grant gives one, the refresh token that follows it. Times are UTC."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime


class TokenFile:
    """One client's pair on disk: mode 0600, replaced as a whole, durable before `save` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._part_path = path.with_name(path.name + ".part")

    def load(self) -> TokenPair | None:
        """The stored pair, None when there is none yet; ConfigError when others may read it or it is damaged."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise ConfigError(f"the token file {self._path.name} cannot be read ({problem.strerror})") from None
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(f"the token file {self._path.name} is open to other users", "chmod 600 it")
            content = file.read()
        try:
            stored = json.loads(content)
            issued_at, expires_at = (datetime.fromisoformat(stored[name]) for name in ("issued_at", "expires_at"))
            return TokenPair(str(stored["access"]), str(stored["refresh"]), issued_at, expires_at)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"the token file {self._path.name} is damaged", "remove it and authorise the client again"
            ) from None

    def reserve(self) -> None:
        """Make sure that the next `save` has its file and its room; ConfigError when it would not.

        Done before a pair is asked for: a full or read-only disk must be noticed while the old pair still lives.
        """
        try:
            descriptor = os.open(self._part_path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                os.posix_fallocate(descriptor, 0, _RESERVED_BYTES)
            finally:
                os.close(descriptor)
        except OSError as problem:
            raise ConfigError(f"the token file {self._path.name} cannot be written ({problem.strerror})") from None

    def save(self, pair: TokenPair) -> None:
        """Replace the stored pair; on return it survives a power cut. Call `reserve` before."""
        stored = {
            "access": pair.access,
            "refresh": pair.refresh,
            "issued_at": pair.issued_at.isoformat(),
            "expires_at": pair.expires_at.isoformat(),
        }
        with self._part_path.open("r+", encoding="utf-8") as file:
            json.dump(stored, file)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._part_path.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @asynccontextmanager
    async def locked(self, clock: Clock) -> AsyncIterator[None]:
        """Alone among all tasks and processes that use this path; the system frees the lock of a process that dies.

        Raises TimeoutError when another holds it for 30 seconds.
        """
        try:
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise ConfigError(f"{self._lock_path.name} cannot be opened ({problem.strerror})") from None
        try:
            give_up_at = clock.monotonic() + LOCK_WAIT_SECONDS
            while not _try_lock(descriptor):
                if clock.monotonic() > give_up_at:
                    raise TimeoutError
                await clock.sleep(_LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)


def token_transport(
    *, system: str, account: str, base_url: str, sockets: Sockets, clock: Clock, gate: RateGate, client_secret: str
) -> Transport:
    """The way to a token endpoint: no evidence, because the replies are tokens, and one try, because a refresh token
    that is used twice is refused.
    """
    return Transport(
        system=system,
        account=account,
        base_url=base_url,
        headers={},
        sockets=sockets,
        clock=clock,
        gate=gate,
        secrets=(client_secret,),
        read_retries=0,
    )


class OAuth:
    """Bearer headers for a `Transport`, renewed in time.

    `transport` is a `token_transport`. `first_refresh` (from the secrets) is used only while the file is absent.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        tokens: TokenFile,
        clock: Clock,
        client_id: str,
        client_secret: str,
        scope: str,
        grant: Grant = "client_credentials",
        first_refresh: str = "",
        path: str = "/oauth/tokens",
    ) -> None:
        self._transport, self._tokens, self._clock = transport, tokens, clock
        self._client = {"client_id": client_id, "client_secret": client_secret, "scope": scope}
        self._grant, self._first_refresh, self._path = grant, first_refresh, path
        self._renewals: set[asyncio.Task[TokenPair]] = set()
        self._turn = asyncio.Lock()

    async def headers(self) -> Mapping[str, str]:
        """The Authorization header of a token that is good for another minute; raises AuthFailed or Unavailable."""
        return {"Authorization": f"Bearer {await self.token()}"}

    async def token(self) -> str:
        """The access token now in force, read from the file each time so that another worker's renewal is seen."""
        pair = await asyncio.to_thread(self._tokens.load)
        if pair is None or self._ends_soon(pair):
            pair = await self._renew(refused="")
        return pair.access

    async def replaced(self, refused: str) -> bool:
        """Whether a token that was just refused has a successor: another worker's, or one renewed here.

        False when the refused token is new: then it is the client that is refused, and asking again will not help.
        """
        pair = await asyncio.to_thread(self._tokens.load)
        if pair is not None and pair.access != refused:
            return True
        if pair is None or (self._clock.now() - pair.issued_at).total_seconds() < FRESH_SECONDS:
            return False
        return (await self._renew(refused=refused)).access != refused

    def _ends_soon(self, pair: TokenPair) -> bool:
        return self._clock.now() >= pair.expires_at - timedelta(seconds=MARGIN_SECONDS)

    async def _renew(self, refused: str) -> TokenPair:
        # A caller that is cancelled (a time-out round a read) must not take a half-done exchange of tokens with it.
        task = asyncio.create_task(self._renew_alone(refused))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)
        return await asyncio.shield(task)

    async def _renew_alone(self, refused: str) -> TokenPair:
        try:
            async with self._turn, self._tokens.locked(self._clock):
                stored = await asyncio.to_thread(self._tokens.load)
                if stored is not None and stored.access != refused and not self._ends_soon(stored):
                    return stored
                await asyncio.to_thread(self._tokens.reserve)
                pair = await self._exchange(stored.refresh if stored else self._first_refresh)
                await asyncio.to_thread(self._tokens.save, pair)
                return pair
        except TimeoutError:
            raise Unavailable(*self._who, "another process holds the token file's lock") from None

    async def _exchange(self, refresh: str) -> TokenPair:
        body: dict[str, str | int] = {**self._client, "grant_type": self._grant}
        if self._grant == "refresh_token":
            if not refresh:
                raise AuthFailed(*self._who, "there is no refresh token", "authorise the client once and set it")
            body["refresh_token"] = refresh
        try:
            reply = await self._transport.read("oauth_token", "POST", self._path, json=body)
        except Refused as problem:
            raise AuthFailed(*self._who, f"no token was given: {problem}", "authorise the client again") from None
        fields, now = self._transport.fields("oauth_token", reply), self._clock.now().astimezone(UTC)
        life = fields.integer("expires_in", _DEFAULT_LIFE_SECONDS)
        access, successor = fields.ref("access_token"), fields.text("refresh_token", "")
        return TokenPair(access, successor or refresh, now, now + timedelta(seconds=life))

    @property
    def _who(self) -> tuple[str, str]:
        return self._transport.system, self._transport.account


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
