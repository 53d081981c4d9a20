"""Tests of the pure core: slots, testimonies, verdicts, plan, gate, approvals, proof, settings."""
