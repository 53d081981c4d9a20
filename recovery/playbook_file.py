"""Reads a playbook file and refuses it, naming the field, when anything in it is unknown, unset or dangling.

The names that differ from site to site (contacts, channels, feedback link) may stay empty in the playbook and come from
`site.toml` beside it; what is still unset then fails here, at load, never at use (R000.46).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from recovery.errors import ConfigError
from recovery.playbook import Check, Playbook, State
from recovery.witness import Registry

PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)\}")
# What the source document leaves for each reader to fill in; text like this must never reach a person or a channel.
UNFILLED = re.compile(
    r"\[\s*(your|reason|channel|feedback)|<\s*(your|insert)|^\s*(todo|tbd|changeme|sme1 / sme2)\b", re.I
)
SITE_TABLES = ("contacts", "channels", "feedback", "desks")
CASE_FIELDS = frozenset({"account", "case", "playbook_title"})


def read_toml(path: Path) -> dict[str, object]:
    """The file's tables; raises ConfigError naming file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: cannot be read: {problem}") from problem
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from problem


def load_playbook(path: Path, registry: Registry, site: Mapping[str, object] | None = None) -> Playbook:
    """The playbook in `path`, complete and consistent; raises ConfigError naming the field otherwise.

    `site` gives this site's names; without it `site.toml` in the same folder is used when it exists.
    """
    tables = read_toml(path)
    if site is None:
        beside = path.with_name("site.toml")
        site = read_toml(beside) if beside.exists() else {}
    _overlay(tables, site, path)
    problems = [f"{where} is not set" for where in _unset(tables)]
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems), "fill it in the playbook or in site.toml beside it")
    try:
        playbook = Playbook.model_validate(tables)
    except ValidationError as wrong:
        raise ConfigError(f"{path}: " + "; ".join(_plain(wrong))) from None
    problems = list(_dangling(playbook, registry))
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return playbook


def find_playbook(
    folder: Path, playbook_id: str, registry: Registry, site: Mapping[str, object] | None = None
) -> Playbook:
    """The playbook of this id: the file `<id>.toml`, whose own `id` must agree."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", playbook_id):
        raise ConfigError(f"{playbook_id!r} is not a playbook's id", "small letters, digits, - and _")
    playbook = load_playbook(folder / f"{playbook_id}.toml", registry, site)
    if playbook.id != playbook_id:
        raise ConfigError(f"{folder / playbook_id}.toml: id is {playbook.id!r}, the file's name says {playbook_id!r}")
    return playbook


def _overlay(tables: dict[str, object], site: Mapping[str, object], path: Path) -> None:
    for table, given in site.items():
        if table not in SITE_TABLES or not isinstance(given, Mapping):
            raise ConfigError(
                f"site.toml for {path}: {table!r} is not a table it may hold", f"allowed: {', '.join(SITE_TABLES)}"
            )
        tables[table] = _merged(tables.get(table), given)


def _merged(old: object, new: Mapping[str, object]) -> dict[str, object]:
    into: dict[str, object] = dict(old) if isinstance(old, Mapping) else {}
    for key, value in new.items():
        into[key] = _merged(into.get(key), value) if isinstance(value, Mapping) else value
    return into


def _unset(tables: Mapping[str, object]) -> Iterator[str]:
    """Paths of contacts, channels, links and texts that are empty or still hold the source's fill-in text."""
    for where, value in _strings(tables, ""):
        named = where.startswith(("contacts.", "channels.", "feedback."))
        if (named and not value.strip()) or UNFILLED.search(value):
            yield where


def _strings(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{where}[{index}]")


def _plain(wrong: ValidationError) -> Iterator[str]:
    for error in wrong.errors():
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error["loc"]).lstrip(".")
        yield f"{where or 'the playbook'}: {error['msg']}"


# ---- what must hang together ---------------------------------------------------------------------------------------


def _dangling(playbook: Playbook, registry: Registry) -> Iterator[str]:
    for rule in (_doubles, _checks, _rules, _stages, _texts, _profiles, _offers):
        yield from rule(playbook, registry)


def _doubles(playbook: Playbook, registry: Registry) -> Iterator[str]:
    del registry
    named = {
        "prerequisites": [p.field for p in playbook.prerequisites],
        "blocks": [b.id for b in playbook.blocks],
        "checks": [c.id for c in playbook.checks],
        "reasons": [r.code for r in playbook.reasons],
        "stages": [s.id for s in playbook.stages],
        "examples": [e.id for e in playbook.examples],
    }
    for table, names in named.items():
        for name in sorted({n for n in names if names.count(n) > 1}):
            yield f"{table}: {name!r} is there twice"


def _checks(playbook: Playbook, registry: Registry) -> Iterator[str]:
    blocks = {b.id for b in playbook.blocks}
    for index, check in enumerate(playbook.checks):
        where = f"checks[{index}]"
        if check.block not in blocks:
            yield f"{where}.block: there is no block {check.block!r}"
        spec = registry.get(check.witness)
        if spec is None:
            yield f"{where}.witness: {check.witness!r} is not registered; known: {', '.join(sorted(registry))}"
            continue
        unknown = set(PLACEHOLDER.findall(check.deep_link)) - spec.link - _fields(playbook)
        if unknown:
            yield f"{where}.deep_link: {sorted(unknown)[0]!r} is not known to the witness"
        if check.deep_link and not check.deep_link.startswith(("https://", "{panel_url}")):
            yield f"{where}.deep_link: must be https"
        if check.choices and not check.question:
            yield f"{where}.question: needed, because a person may have to answer"
        if any(c.state in (State.UNKNOWN, State.ERROR) for c in check.choices):
            yield f"{where}.choices: a person's answer cannot be unknown or error; let them leave it open"


def tokens_of(check: Check, registry: Registry) -> frozenset[str]:
    """Every token that this check can give to a rule."""
    codes = registry[check.witness].codes | {c.code for c in check.choices}
    # Any witness may fail to read its remote; the engine then says so with this code.
    codes |= {"unreadable", "setup"}
    return frozenset({f"{check.id}:{c}" for c in codes} | {f"{check.id}={s}" for s in State})


def _rules(playbook: Playbook, registry: Registry) -> Iterator[str]:
    known = {t for c in playbook.checks if c.witness in registry for t in tokens_of(c, registry)}
    codes = {r.code for r in playbook.reasons}
    for index, rule in enumerate(playbook.rules):
        if rule.reason not in codes:
            yield f"rules[{index}].reason: there is no reason {rule.reason!r}"
        for part in ("all", "any", "none"):
            for token in getattr(rule.when, part):
                if token not in known:
                    yield f"rules[{index}].when.{part}: {token!r} is nothing that a check can say"
    if playbook.fallback not in codes:
        yield f"fallback: there is no reason {playbook.fallback!r}"


def _stages(playbook: Playbook, registry: Registry) -> Iterator[str]:
    del registry
    seen: set[str] = set()
    for index, stage in enumerate(playbook.stages):
        where = f"stages[{index}]"
        for name in stage.after:
            if name not in seen:
                yield f"{where}.after: {name!r} is not an earlier stage"
        for contact in stage.contacts:
            if contact not in playbook.contacts:
                yield f"{where}.contacts: contacts.{contact} is not set"
        if stage.channel and stage.channel not in playbook.channels:
            yield f"{where}.channel: channels.{stage.channel} is not set"
        seen.add(stage.id)


def _fields(playbook: Playbook) -> set[str]:
    return {p.field for p in playbook.prerequisites} | CASE_FIELDS


def _texts(playbook: Playbook, registry: Registry) -> Iterator[str]:
    facts = {f for c in playbook.checks if c.witness in registry for f in registry[c.witness].facts}
    known = _fields(playbook) | facts
    for index, reason in enumerate(playbook.reasons):
        for part in ("client_text", "resolution"):
            for name in PLACEHOLDER.findall(getattr(reason, part)):
                if name not in known:
                    yield f"reasons[{index}].{part}: {{{name}}} is neither an intake field nor a fact of a check"
    for part in ("expected", "observed"):
        for name in PLACEHOLDER.findall(getattr(playbook.package, part)):
            if name not in known:
                yield f"package.{part}: {{{name}}} is neither an intake field nor a fact of a check"
    for name in PLACEHOLDER.findall(playbook.references.query):
        if name not in _fields(playbook):
            yield f"references.query: {{{name}}} is not an intake field"


def _profiles(playbook: Playbook, registry: Registry) -> Iterator[str]:
    specs = [registry[c.witness] for c in playbook.checks if c.witness in registry]
    needed: dict[str, type] = {name: kind for spec in specs for name, kind in spec.settings.items()}
    if needed and not playbook.profiles:
        yield "profiles: the witnesses need at least one provider profile"
    for name, profile in playbook.profiles.items():
        for setting in sorted(needed.keys() - profile.settings.keys()):
            yield f"profiles.{name}.settings.{setting} is not set"
        for setting, value in profile.settings.items():
            kind = needed.get(setting)
            if kind is None:
                yield f"profiles.{name}.settings.{setting}: no witness of this playbook knows it"
            elif type(value) is not kind:
                yield f"profiles.{name}.settings.{setting}: must be a {kind.__name__}"


def _offers(playbook: Playbook, registry: Registry) -> Iterator[str]:
    del registry
    codes = {r.code for r in playbook.reasons}
    for index, offer in enumerate(playbook.offers):
        for code in offer.reasons:
            if code not in codes:
                yield f"offers[{index}].reasons: there is no reason {code!r}"
        for provider in offer.providers:
            if provider not in playbook.profiles:
                yield f"offers[{index}].providers: there is no profile {provider!r}"
