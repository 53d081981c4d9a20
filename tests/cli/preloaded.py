"""The program in processes of its own whose imports are paid once: each line of JSON on stdin is one call.

The call runs in a fork with its own stdin, stdout, stderr, directory and environment, and ends like the program; only
the second and a half that Python needs to import everything is saved.
"""

import json
import os
import sys
from pathlib import Path

from recovery import answers, cli, operate, standing
from recovery.ledger import ledger
from recovery.report import of_run as run_report
from recovery.report import report
from recovery.report import text as report_text
from recovery.terminal import (
    checkup,
    commands,
    demo,
    incident_commands,
    incident_intake,
    incident_steps,
    standing_commands,
)

PAID = (answers, checkup, commands, demo, ledger, operate, report, report_text, run_report, standing, standing_commands)
PAID_BY_THE_DESK = (incident_commands, incident_intake, incident_steps)


def call(wanted: dict) -> int:
    """The exit code of one call."""
    child = os.fork()
    if child:
        Path(wanted["pid"]).write_text(str(child))  # for a caller who wants to kill it
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        for number, path in enumerate((os.devnull, wanted["out"], wanted["err"])):
            opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, number)
        os.chdir(wanted["cwd"])
        os.environ.clear()
        os.environ.update(wanted["env"])
        sys.argv = ["allclear", *wanted["args"]]
        sys.stdin = os.fdopen(0)  # the parent has read ahead in its own
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
    raise AssertionError


if __name__ == "__main__":
    for line in sys.stdin:
        answer = call(json.loads(line))
        os.write(1, f"{answer}\n".encode())
