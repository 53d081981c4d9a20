"""What the ledger keeps beside its database: intents log, workers' locks, the name of the database seen last.

The intents log is the second record of what may have left (reliability.md 2.5): a database that lost commits, through
failover, a restored backup or a copied file, cannot know it, and this file does. It belongs on another disk if there
is one. The locks tell a dead worker from a paused one: the kernel frees a lock when its process is gone, not before.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recovery.errors import LedgerUnavailable
from recovery.ledger.engine import unavailable

TAIL_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Intent:
    """One opened attempt as the intents log has it; `at` and `deadline` are microseconds since 1970 UTC.

    `owner` is the process that may have sent it: before a repeat, it must be proven dead ("": a log of before).
    """

    key: str
    n: int
    at: int
    deadline: int
    owner: str = ""


_INTENT = msgspec.json.Decoder(Intent)


class IntentsLog:
    """The append-only file of opened attempts; every append is one write and one fsync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unavailable(error) from error
        self._torn = True  # the last line may be half-written by a process that was killed

    def append(self, intents: Sequence[Intent]) -> None:
        """Write and fsync; LedgerUnavailable when the disk does not take all of it."""
        lines = b"\n".join(map(msgspec.json.encode, intents))
        data = (b"\n" if self._torn else b"") + lines + b"\n"
        self._torn = True
        try:
            if os.write(self._file, data) != len(data):
                raise LedgerUnavailable("the disk of intents.log is full", "free space; nothing leaves until then")
            os.fdatasync(self._file)
        except OSError as error:
            raise LedgerUnavailable(
                f"intents.log cannot be written: {error.strerror}", f"check the disk and mode of {self.path.parent}"
            ) from error
        self._torn = False

    def tail(self) -> tuple[Intent, ...]:
        """The newest intents (the last 4 MB): enough to notice lost commits, which are lost from the end."""
        return _tail(self._file)

    def whole(self) -> tuple[Intent, ...]:
        """Every intent ever logged."""
        return tuple(_readable(self.path.read_bytes().split(b"\n")))

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


def newest_intents(path: Path) -> tuple[Intent, ...]:
    """`IntentsLog.tail` for who only looks; none where there is no log or it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        return _tail(file)
    finally:
        os.close(file)


def _tail(file: int) -> tuple[Intent, ...]:
    size = os.fstat(file).st_size
    start = max(0, size - TAIL_BYTES)
    lines = os.pread(file, size - start, start).split(b"\n")
    return tuple(_readable(lines[1:] if start else lines))


def _readable(lines: Sequence[bytes]) -> Iterator[Intent]:
    # A line that cannot be read was never finished: its caller was not answered and sent nothing.
    for line in lines:
        try:
            yield _INTENT.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


class Workers:
    """Proofs of life: an exclusive lock on `workers/<owner>.lock`, held by each worker until it ends or closes.

    The file of a worker that may be asked about stays for ever: whose file is missing is taken for alive.
    """

    def __init__(self, state_dir: Path, *, alive: bool) -> None:
        self.host = socket.gethostname()
        self.owner = f"{self.host}:{os.getpid()}:{secrets.token_hex(4)}"
        self._folder = state_dir / "workers"
        self._file: int | None = None
        if alive:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self._path(self.owner), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self, *, named: bool = True) -> None:
        """This worker is over. Its file stays, so that others can see so, unless nothing that it did is `named` so."""
        if self._file is None:
            return
        if not named:
            with suppress(OSError):  # one file more does no harm
                self._path(self.owner).unlink()
        os.close(self._file)
        self._file = None

    def is_dead(self, owner: str) -> bool:
        """True only if `owner` ran on this host and its lock can be taken: the kernel says its process is gone."""
        return self._is_free(owner) is True

    def holds_lock(self, owner: str) -> bool:
        """True only if `owner` runs on this host, with this folder."""
        return self._is_free(owner) is False

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.lock"

    def _is_free(self, owner: str) -> bool | None:
        """Whether the owner's lock can be taken; None where that cannot be told."""
        if "/" in owner or not owner.startswith(self.host + ":"):
            return None
        try:
            probe = os.open(self._path(owner), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # Shared, so that two who look at the same time do not take each other for the owner.
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(probe)
        return True


@contextmanager
def one_at_a_time(state_dir: Path) -> Iterator[None]:
    """Openers of one state folder take turns: creating, migrating and checking the ledger is not for two."""
    file = os.open(state_dir / "open.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def read_seen_install(state_dir: Path) -> str:
    """The name of the database that this folder saw last, or ""."""
    try:
        return (state_dir / "epoch").read_text().strip()
    except FileNotFoundError:
        return ""


def write_seen_install(state_dir: Path, install: str) -> None:
    """Remember the database's name, durably."""
    draft = state_dir / f"epoch.{os.getpid()}"
    with draft.open("w") as file:
        file.write(install)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(state_dir / "epoch")


def read_kill_file(path: Path | None) -> str:
    """Why the kill file says to stop, or "" when there is none. A file that cannot be read counts as a kill."""
    if path is None:
        return ""
    try:
        return path.read_text(errors="replace").strip().split("\n")[0] or f"kill file {path.name}"
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"kill file {path.name} cannot be read: {error.strerror}"
