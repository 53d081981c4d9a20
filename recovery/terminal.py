"""How the terminal behaves: errors as sentences, progress on stderr, Ctrl-C once for a clean stop and twice for now."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from recovery.errors import AllclearError

EXIT_INTERRUPTED = 130


def run_command(command: Callable[[], Coroutine[Any, Any, int]], *, as_json: bool) -> int:
    """The command's exit code. No traceback reaches a person; `ALLCLEAR_DEBUG=1` shows one."""
    try:
        return asyncio.run(command())
    except AllclearError as error:
        return _fail(str(error), error.hint, error.exit_code, as_json)
    except KeyboardInterrupt:
        return _fail(
            "Stopped at once.", "Run the same command again: it goes on from the ledger.", EXIT_INTERRUPTED, as_json
        )
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), "", 1, as_json)
    except Exception as error:  # the last place before a person: a sentence instead of a traceback
        if os.environ.get("ALLCLEAR_DEBUG"):
            raise
        what = f"Internal error: {type(error).__name__}: {error}"
        return _fail(what, "Nothing more was sent. Run it with ALLCLEAR_DEBUG=1 and report what it shows.", 1, as_json)


def _fail(message: str, hint: str, exit_code: int, as_json: bool) -> int:
    if as_json:
        from recovery.views import error_view

        print_json(error_view(message, hint, exit_code))
    else:
        print(f"allclear: {message}", file=sys.stderr)
        if hint:
            print(f"  {hint}", file=sys.stderr)
    return exit_code


def print_json(view: Mapping[str, Any]) -> None:
    """One document on stdout."""
    print(json.dumps(view, indent=1, ensure_ascii=False, sort_keys=False))


class Progress:
    """One line on stderr for each thing worth knowing; nothing when quiet. Remote text never steers the terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._started = time.monotonic()
        self._items = 0

    def __call__(self, what: str, facts: Mapping[str, object]) -> None:
        """Tells."""
        if self._quiet:
            return
        line = self._line(what, facts)
        if line:
            print(f"{time.monotonic() - self._started:6.1f}s  {clean(line)}", file=sys.stderr, flush=True)

    def _line(self, what: str, facts: Mapping[str, object]) -> str:
        if what == "item":
            self._items += 1
            return f"[{self._items}] {facts['outcome']:<9} {facts['slot']}: {facts['reason']}"
        words = {
            "audit-done": "read {account}: {slots} slots",
            "step": "{slot}: {what}",
            "settling": "{slot}: not proven either way; looking again whether it happened ({look} of 3)",
            "waiting": "waiting: {request}",
            "bake": "wave {wave} follows in {seconds} s",
            "alarm": "ALARM: {text}",
            "proof": "reading everything again for the closing balance",
        }
        template = words.get(what)
        if template is None:
            return ""
        if what == "waiting" and "request" not in facts:
            return f"waiting: {facts.get('system')} {facts.get('account')}: {facts.get('per_second')} req/s"
        return template.format(**{k: str(v) for k, v in facts.items()})


def clean(text: str) -> str:
    """Text for a terminal: control, bidi and other invisible characters as codes, so that no name can steer it."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def stop_on_signals(stop: asyncio.Event) -> None:
    """The first Ctrl-C (or SIGTERM) stops after the current call; the second one at once."""
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if stop.is_set():
            print("allclear: stopped at once.", file=sys.stderr)
            os._exit(EXIT_INTERRUPTED)
        stop.set()
        print("allclear: stopping after the current call; once more to stop at once.", file=sys.stderr, flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
