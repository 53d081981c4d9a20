"""How the terminal behaves: errors as sentences, lines that fit, questions, one Ctrl-C to stop cleanly, two for now."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from recovery.errors import AllclearError, ConfigError, UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EXIT_INTERRUPTED = 130
CLEAR_LINE = "\r\x1b[K"
PIPE_WIDTH = 80
CANNOT_PRINT = "What it says cannot be written where it should go:"
_LABEL = re.compile(r"^ *\S.*? {2,}(?=\S)")
WIDEST_LABEL = 30
UNBROKEN = "\x00"


def run_command(command: Callable[[], Coroutine[Any, Any, int]], *, as_json: bool) -> int:
    """The command's exit code. No traceback reaches a person; `ALLCLEAR_DEBUG=1` shows one."""
    try:
        import uvloop  # a quarter less processor time a call; imported here, because --help needs no loop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(command())
        sys.stdout.flush()  # here, where what cannot be written still becomes a sentence
    except AllclearError as error:
        return fail(str(error), error.hint or _what_to_do(error), error.exit_code, as_json)
    except KeyboardInterrupt:
        return fail("Stopped.", "`allclear status` says what comes next.", EXIT_INTERRUPTED, as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        what = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        if _writable():
            return fail(what, "", 1, as_json)
        return fail(f"{CANNOT_PRINT} {what}.", "", 1, as_json=False)
    except Exception as error:  # the last place before a person: a sentence instead of a traceback
        if os.environ.get("ALLCLEAR_DEBUG"):
            raise
        what = f"Internal error: {type(error).__name__}: {error}"
        return fail(what, "Nothing more was sent. Run it with ALLCLEAR_DEBUG=1 and report what it shows.", 1, as_json)
    return code


def _writable() -> bool:
    """Whether what was printed so far can be written; if not, it is thrown away, so that the end does not fail too."""
    return _printed(sys.stdout.flush)


def _printed(show: Callable[[], None]) -> bool:
    try:
        show()
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        throw_output_away()
        return False
    return True


def throw_output_away() -> None:
    """From now on stdout goes nowhere: its reader is gone, or its disk is full."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _what_to_do(error: AllclearError) -> str:
    """For an error that says nothing of its own."""
    if isinstance(error, ConfigError):
        return "Correct it; `allclear doctor` checks the whole configuration."
    return "The command's --help has examples." if isinstance(error, UsageError) else ""


def fail(message: str, hint: str, exit_code: int, as_json: bool) -> int:
    """Tells a person, or a script, what went wrong; the exit code."""
    if as_json:
        from recovery.views import error_view

        if _printed(lambda: print_json(error_view(message, hint, exit_code))):
            return exit_code
    width = width_of(sys.stderr) if sys.stderr.isatty() else 0
    lines = [f"allclear: {clean(message)}", *([f"  {clean(hint)}"] if hint else [])]
    complain("\n".join(piece for line in lines for piece in wrapped(line, width)))
    return exit_code


def complain(line: str) -> None:
    """One line on stderr, in the place of a live line if there is one."""
    print((CLEAR_LINE if sys.stderr.isatty() else "") + line, file=sys.stderr, flush=True)


def print_json(view: Mapping[str, Any]) -> None:
    """One document on stdout, at once: who reads a pipe may wait for it while the program goes on."""
    print(json.dumps(view, indent=1, ensure_ascii=False, sort_keys=False), flush=True)


def width_of(out: TextIO) -> int:
    """The columns of a terminal; 80 for anything else."""
    if not out.isatty():
        return PIPE_WIDTH
    try:
        return os.get_terminal_size(out.fileno()).columns or PIPE_WIDTH
    except OSError:
        return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns


def say(lines: Iterable[str]) -> None:
    """Lines on stdout: at a terminal wrapped under their own text, in a pipe whole, so that keys can be found."""
    width = width_of(sys.stdout) if sys.stdout.isatty() else 0
    for line in lines:
        sys.stdout.write("".join(f"{piece}\n" for piece in wrapped(clean(line), width)))
    sys.stdout.flush()


def wrapped(line: str, width: int) -> list[str]:
    """The line in pieces of `width` columns (0: as it is), later ones under the first one's text, behind its label.

    A command stays one that can be copied: each of its lines but the last ends with a backslash.
    """
    if not width or len(line) <= width:
        return [line]
    if line.startswith("  allclear "):
        whole = re.sub('"[^"]*"', lambda quoted: quoted[0].replace(" ", UNBROKEN), line)
        pieces = textwrap.wrap(whole, width - 2, subsequent_indent="    ", break_on_hyphens=False)
        return [piece.replace(UNBROKEN, " ") for piece in (*(f"{p} \\" for p in pieces[:-1]), pieces[-1])]
    label = _LABEL.match(line)
    hang = label.end() if label and label.end() <= WIDEST_LABEL else len(line) - len(line.lstrip()) + 2
    return textwrap.wrap(line, width, subsequent_indent=" " * hang, break_on_hyphens=False, replace_whitespace=False)


def console() -> Console:
    """A console that fits the terminal, or 80 plain columns in a pipe."""
    from rich.console import Console

    tty = sys.stdout.isatty()
    return Console(width=None if tty else PIPE_WIDTH, soft_wrap=not tty, highlight=False)


def put(*parts: RenderableType) -> None:
    """Prints renderables."""
    from recovery.report.text import show

    out = console()
    for part in parts:
        show(out, part)


def ask(question: str, otherwise: str) -> str:
    """A person's answer at the terminal. Ctrl-C and Ctrl-D raise UsageError: nothing was done, and `otherwise`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop's would wait for the answer
    woken = signal.set_wakeup_fd(-1)  # and would then be told of it a second time
    try:
        return input(question).strip()
    except (KeyboardInterrupt, EOFError):
        print()
        raise UsageError("Nothing was done.", otherwise) from None
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGINT, before)


def clean(text: str) -> str:
    """Text for a terminal: control, bidi and other invisible characters as codes, so that no name can steer it."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def stop_on_signals(stop: asyncio.Event, *, quietly: bool = False) -> None:
    """The first Ctrl-C (or SIGTERM) stops after the current call; the second one at once."""
    loop = asyncio.get_running_loop()

    def stop_now_or_soon() -> None:
        if stop.is_set():
            complain("allclear: stopped at once.")
            os._exit(EXIT_INTERRUPTED)
        stop.set()
        if not quietly:
            complain("allclear: stopping after the current call; once more to stop at once.")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_now_or_soon)
