"""Spans: one a call, with what it came to and no word of what was said; none costs anything without a provider."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from remote_bench import Bench

from integrations.http import Reply
from recovery.errors import AuthFailed
from recovery.model import AttemptOutcome, WriteResult

TOKEN = "canary-token-123456"
CONTEXT = trace.SpanContext(
    trace_id=0xABCDEF, span_id=0x1234, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
)


class Recorder(trace.TracerProvider):
    """What an operator's provider is to the product: it is given spans and exports them."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, dict[str, Any]]] = []

    def get_tracer(self, *args: Any, **options: Any) -> trace.Tracer:
        return RecordingTracer(self)


class RecordingSpan(trace.NonRecordingSpan):
    def __init__(self, attributes: dict[str, Any]) -> None:
        super().__init__(CONTEXT)
        self.attributes = attributes

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value


class RecordingTracer(trace.Tracer):
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def start_span(self, name: str, *args: Any, **options: Any) -> trace.Span:
        raise AssertionError("not used")

    @contextmanager
    def start_as_current_span(self, name: str, *args: Any, **options: Any) -> Iterator[trace.Span]:  # type: ignore[override]
        span = RecordingSpan(dict(options.get("attributes") or {}))
        self.recorder.spans.append((name, span.attributes))
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield span


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made)
    return made


def judge(reply: Reply) -> WriteResult | None:
    return WriteResult(AttemptOutcome.APPLIED, ref=str(reply.obj()["id"]))


async def test_a_read_and_a_write_are_a_span_each_with_what_they_came_to(recorder: Recorder) -> None:
    bench = Bench(lambda r: httpx.Response(200, json={"id": 7}))
    await bench.transport.read("campaign", "GET", "/api/3/campaigns/7")
    await bench.transport.write(bench.attempt(), "copy", "POST", "/api/3/campaigns/7/copy", judge=judge)
    (read, told), (write, done) = recorder.spans
    assert (read, write) == ("pro2 campaign", "pro2 copy")
    assert told == {
        "allclear.system": "pro2",
        "allclear.account": "harbor",
        "http.request.method": "GET",
        "http.response.status_code": 200,
    }
    assert done["allclear.outcome"] == "applied"
    assert done["allclear.attempt"] == bench.attempt().attempt_ref


async def test_the_evidence_names_the_trace_that_it_belongs_to(recorder: Recorder) -> None:
    bench = Bench(lambda r: httpx.Response(200, json={"id": 7}))
    await bench.transport.read("campaign", "GET", "/x")
    assert bench.shelf.exchanges[0].trace_ref == f"{CONTEXT.trace_id:032x}"


async def test_a_failed_read_names_its_kind_and_nothing_that_was_said(recorder: Recorder) -> None:
    heard = {"message": f"your key {TOKEN} of ann@example.org is wrong"}
    bench = Bench(lambda r: httpx.Response(401, json=heard))
    with pytest.raises(AuthFailed):
        await bench.transport.read("campaign", "GET", "/x")
    [(_, told)] = recorder.spans
    assert told["error.type"] == "AuthFailed"
    assert TOKEN not in repr(recorder.spans)
    assert "ann@" not in repr(recorder.spans)


async def test_without_a_provider_no_trace_is_named() -> None:
    bench = Bench(lambda r: httpx.Response(200, json={"id": 7}))
    await bench.transport.read("campaign", "GET", "/x")
    assert bench.shelf.exchanges[0].trace_ref == ""
