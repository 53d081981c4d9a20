"""How each system there is one of is set up and described in estate.json: tokens, channels, projects.

A twin that is not there is left out, so that an estate of fewer systems still starts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sandbox.world import World

Row = dict[str, Any]


@dataclass
class Neighbour:
    """One system's state, how estate.json describes it, and its own server when it does not speak HTTP."""

    state: Any
    describe: Callable[[str], Row]
    serve: Callable[[], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None


NEIGHBOURS: dict[str, Callable[[World, Any], Neighbour]] = {}
