"""The core: what was due, what happened, what to do about it, doing it at most once, proving it."""
