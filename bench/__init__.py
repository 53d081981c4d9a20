"""Benches: the engine against its peers, and the engine at size. `make bench`; what it found is in docs/scale.md.

Every figure that decides something is a ratio of two runs of the same round on the same machine. No stored second is
ever compared with a new one.
"""
