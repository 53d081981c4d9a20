"""Prefect flows: thin shells round the calls in `recovery`. No logic, no classes."""
