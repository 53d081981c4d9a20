"""One PostgreSQL server for the proofs of one process."""

from tests.ledger.conftest import postgres

__all__ = ["postgres"]
