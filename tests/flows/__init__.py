"""Tests of the Prefect shells: a real server, a real worker, real programs."""
