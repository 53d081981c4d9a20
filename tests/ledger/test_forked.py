"""Workers that are forked from one process share nothing that must be theirs alone."""

from __future__ import annotations

import multiprocessing
from multiprocessing.queues import SimpleQueue

from recovery.ledger import intents as ledger_intents


def name_three(answer: SimpleQueue) -> None:
    answer.put([ledger_intents._REFS.getrandbits(62) for _ in range(3)])


def test_two_children_of_one_process_name_their_attempts_differently() -> None:
    """Alike, the second to open an attempt would be refused by the primary key again and again."""
    context = multiprocessing.get_context("fork")
    answers = [context.SimpleQueue() for _ in range(2)]
    children = [context.Process(target=name_three, args=(answer,)) for answer in answers]
    for child in children:
        child.start()
    first, second = (answer.get() for answer in answers)
    for child in children:
        child.join()
    assert not set(first) & set(second)
