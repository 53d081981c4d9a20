"""Every error of the product, named by what the caller does next.

    AllclearError                       one clear sentence and a hint; `exit_code` is what the terminal returns
    ├── UsageError                      the command or the window is wrong: correct it and call again            (2)
    ├── ConfigError                     a setting is missing, unknown or unreadable: stop before doing anything  (2)
    ├── RefusedError                    a rule forbids it (approval, role, cap, empty set): nothing was done     (1)
    ├── LedgerError                     the ledger cannot be used: no write may leave                            (1)
    │   ├── LedgerUnavailable           read-only, full, unreachable
    │   ├── LedgerTooNew                written by a newer allclear: upgrade, never downgrade
    │   └── LedgerConflict              someone else moved this record first: read it again
    └── RemoteError(system, account)    a *read* of a remote failed, or its reply cannot be understood           (1)
        ├── Unavailable                 no answer after the allowed retries, or 5xx
        ├── AuthFailed                  401/403: stop using this system for the run
        ├── NotFound                    the object is not there
        ├── Refused                     any other 4xx with a parsed reason
        └── BadReply                    HTML, truncated, missing field: the contract does not hold

A *write* never raises for what the remote said: it returns `recovery.model.WriteResult`, because "unknown" is a state.
"""

from __future__ import annotations


class AllclearError(Exception):
    """Base of all errors a person may see: `str(error)` is one sentence, `hint` says what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(AllclearError):
    """The command, the outage window or a name on the command line is wrong."""

    exit_code = 2


class ConfigError(AllclearError):
    """A setting is missing, unknown, contradictory or unreadable."""

    exit_code = 2


class RefusedError(AllclearError):
    """A rule of the product forbids the step; nothing was done."""


class LedgerError(AllclearError):
    """The ledger cannot be used; no write may leave until it can."""


class LedgerUnavailable(LedgerError):
    """The ledger is read-only, full or unreachable."""


class LedgerTooNew(LedgerError):
    """The ledger's schema is newer than this program."""


class LedgerConflict(LedgerError):
    """Another runner moved the record first (fence, epoch or unique constraint)."""


class RemoteError(AllclearError):
    """A read of one remote system failed."""

    def __init__(self, system: str, account: str, message: str, hint: str = "") -> None:
        super().__init__(f"{system} ({account}): {message}" if account else f"{system}: {message}", hint)
        self.system = system
        self.account = account


class Unavailable(RemoteError):
    """No usable answer after the allowed retries: down, hanging, throttled or 5xx."""


class AuthFailed(RemoteError):
    """The credentials were refused (401, or 403 that stays)."""


class NotFound(RemoteError):
    """The object does not exist at the remote."""


class Refused(RemoteError):
    """The remote understood the read and refused it (4xx with a reason)."""


class BadReply(RemoteError):
    """The reply is not what the contract says: HTML, truncated, a missing field, a repeated page."""


def sentence(said: object) -> str:
    """What was said, with a full stop where it brought none: another sentence follows."""
    text = str(said).rstrip()
    return text if text.endswith((".", "?", "!")) else f"{text}."
