"""The part of JQL that tools use to find their own issues: comparisons joined by AND, OR, NOT and brackets, ORDER BY.

Source: https://support.atlassian.com/jira-software-cloud/docs/jql-operators/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Facts = dict[str, Any]
Test = Callable[[Facts], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<op>!=|>=|<=|!~|[=<>~(),])|(?P<word>[^\s=<>!~(),"']+))"""
)
_RELATIVE = re.compile(r"([+-]?)(\d+)([wdhm])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}
NAMES = {"issuekey": "key", "issue": "key", "type": "issuetype", "label": "labels", "createddate": "created"}
FIELDS = frozenset(
    {"project", "labels", "issuetype", "key", "id", "status", "statuscategory", "summary", "text", "created", "updated"}
)
_TIMES = frozenset({"created", "updated"})


class JqlError(ValueError):
    """The query cannot be run; the text is Jira's error message."""


class Query:
    """A parsed query: which issues match, and whether the newest come first."""

    def __init__(self, jql: str, now: datetime) -> None:
        self._tokens = _tokens(jql)
        self._now = now
        self.oldest_first = False
        self._test = self._parse()

    def matches(self, facts: Facts) -> bool:
        """Whether an issue with these facts is found; the keys are FIELDS, times are aware datetimes."""
        return self._test(facts)

    def _parse(self) -> Test:
        if not self._tokens or self._peek_word() == "order":
            raise JqlError("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
        test = self._either()
        if self._tokens:
            self._order()
        return test

    def _peek_word(self) -> str:
        return self._tokens[0][1].lower() if self._tokens and self._tokens[0][0] == "word" else ""

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise JqlError("Error in the JQL Query: the query ends too early.")
        return self._tokens.pop(0)

    def _expect(self, text: str) -> None:
        kind, given = self._next()
        if kind == "quoted" or given.lower() != text:
            raise JqlError(f"Error in the JQL Query: Expecting '{text}' but got '{given}'.")

    def _either(self) -> Test:
        tests = [self._both()]
        while self._peek_word() == "or":
            self._next()
            tests.append(self._both())
        return lambda facts: any(test(facts) for test in tests)

    def _both(self) -> Test:
        tests = [self._unit()]
        while self._peek_word() == "and":
            self._next()
            tests.append(self._unit())
        return lambda facts: all(test(facts) for test in tests)

    def _unit(self) -> Test:
        if self._peek_word() == "not":
            self._next()
            denied = self._unit()
            return lambda facts: not denied(facts)
        if self._tokens and self._tokens[0] == ("op", "("):
            self._next()
            inner = self._either()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        given = self._next()[1]
        name = NAMES.get(given.lower(), given.lower())
        if name not in FIELDS:
            raise JqlError(f"Field '{given}' does not exist or you do not have permission to view it.")
        op = self._operator()
        if op in {"in", "not in"}:
            wanted = self._several()
            return _one_of(name, wanted, op == "not in")
        value = self._next()[1]
        if name in _TIMES:
            return _compare_time(name, op, self._moment(value))
        return _compare(name, op, value)

    def _operator(self) -> str:
        kind, op = self._next()
        op = op.lower()
        if kind == "word" and op == "not":
            self._expect("in")
            return "not in"
        if kind == "quoted" or op not in {"=", "!=", "~", "!~", ">", ">=", "<", "<=", "in"}:
            raise JqlError(f"Error in the JQL Query: '{op}' is not an operator.")
        return op

    def _several(self) -> list[str]:
        self._expect("(")
        values = [self._next()[1]]
        while (separator := self._next()) == ("op", ","):
            values.append(self._next()[1])
        if separator != ("op", ")"):
            raise JqlError("Error in the JQL Query: Expecting ')' or ','.")
        return values

    def _order(self) -> None:
        self._expect("order")
        self._expect("by")
        words = [text.lower() for _, text in self._tokens]
        self.oldest_first = "asc" in words
        self._tokens = []

    def _moment(self, text: str) -> datetime:
        relative = _RELATIVE.fullmatch(text)
        if relative is not None:
            sign, number, unit = relative.groups()
            span = timedelta(**{_UNITS[unit]: int(number)})
            return self._now - span if sign == "-" else self._now + span
        for form in ("%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y-%m-%d", "%Y/%m/%d"):
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
            except ValueError:
                continue
        raise JqlError(f"Date value '{text}' for field is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', '-5d'.")


def _tokens(jql: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, text = 0, jql.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise JqlError(f"Error in the JQL Query: The character at position {at + 1} is not allowed.")
        kind = str(match.lastgroup)
        value = match.group(kind)
        found.append((kind, re.sub(r"\\(.)", r"\1", value[1:-1]) if kind == "quoted" else value))
        at = match.end()
    return found


def _values(facts: Facts, name: str) -> list[str]:
    value = facts.get(name)
    values = value if isinstance(value, list) else [value]
    return [str(one).lower() for one in values if one is not None]


def _one_of(name: str, wanted: list[str], denied: bool) -> Test:
    lowered = {value.lower() for value in wanted}
    return lambda facts: denied != bool(lowered & set(_values(facts, name)))


def _compare(name: str, op: str, value: str) -> Test:
    wanted = value.lower()
    words = wanted.split()
    if op in {"~", "!~"}:
        return lambda facts: (op == "~") == all(word in " ".join(_values(facts, name)) for word in words)
    if op not in {"=", "!="}:
        raise JqlError(f"The operator '{op}' is not supported by the '{name}' field.")
    return lambda facts: (op == "=") == (wanted in _values(facts, name))


def _compare_time(name: str, op: str, at: datetime) -> Test:
    tests: dict[str, Test] = {
        ">": lambda facts: facts[name] > at,
        ">=": lambda facts: facts[name] >= at,
        "<": lambda facts: facts[name] < at,
        "<=": lambda facts: facts[name] <= at,
    }
    if op not in tests:
        raise JqlError(f"The operator '{op}' is not supported by the '{name}' field.")
    return tests[op]
