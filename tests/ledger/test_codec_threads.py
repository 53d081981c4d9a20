"""The first readers of a plan may be several threads at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, threading
from recovery.ledger.codec import decode_plan, decode_question, encode_plan, encode_question
from recovery.model import Question
from tests.ledger.makers import plan
sys.setswitchinterval(1e-6)
made, asked = plan(), Question("Sure?", "wait")
body, question = encode_plan(made), encode_question(asked)
start, right = threading.Barrier(12), []
def read():
    start.wait()
    right.append(decode_plan(body) == made and decode_question(question) == asked)
readers = [threading.Thread(target=read) for _ in range(12)]
for reader in readers: reader.start()
for reader in readers: reader.join()
sys.exit(0 if right == [True] * 12 else 1)
"""


def test_many_threads_decode_their_first_plan_at_once_without_a_crash() -> None:
    """Without the lock about every tenth of these processes dies of SIGSEGV."""
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT).returncode == 0
