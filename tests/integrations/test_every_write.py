"""No write of any client is left out of the tests of faults: the list is computed from the classes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import desk_remotes
import test_client_write_faults as main_clients
import test_desk_write_faults as desk_clients

import integrations

# Has no remote to fail: it makes a task for a person (tests/assisted).
BY_HAND = {"assisted", "absent"}
# SMTP is a dialogue, in which the same fault means something else at each step (test_smtp).
DIALOGUES = {"smtp.send"}
MUST_MEET = (
    "refused",
    "reset",
    "429",
    "429 bare",
    "500",
    "502",
    "drip",
    "truncated",
    "html",
    "redirect",
    "without",
)


def writes_of_the_clients() -> set[str]:
    """ "module.method" of every public method that takes an open attempt."""
    found = set()
    for module in pkgutil.iter_modules(integrations.__path__):
        loaded = importlib.import_module(f"integrations.{module.name}")
        for kind in vars(loaded).values():
            if not inspect.isclass(kind) or kind.__module__ != loaded.__name__ or module.name == "http":
                continue
            for name, method in vars(kind).items():
                if not name.startswith("_") and inspect.iscoroutinefunction(method):
                    given = [str(p.annotation) for p in inspect.signature(method).parameters.values()]
                    found |= {f"{module.name}.{name}"} if "OpenAttempt" in given else set()
    return {name for name in found if name.split(".")[0] not in BY_HAND}


def test_every_write_meets_every_fault() -> None:
    met = {name.split(" (")[0] for name in (*main_clients.WRITES, *desk_remotes.WRITES)}
    found = writes_of_the_clients()
    assert len(found) >= 28
    assert found - met == DIALOGUES


def test_both_matrices_hold_every_kind_of_fault() -> None:
    for faults in (main_clients.FAULTS, desk_clients.FAULTS):
        named = [name.replace("_", " ") for name in faults]
        missing = [kind for kind in MUST_MEET if not any(kind in name for name in named)]
        assert missing in ([], ["without"])  # the main clients' missing ids have a test of their own there
