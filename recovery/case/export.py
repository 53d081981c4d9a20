"""A case as one zip: everything that is known and every piece of evidence, with a list of digests (E.6)."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from html import escape

from recovery.case.case import Case
from recovery.case.evidence import EvidenceStore
from recovery.journal import StreamEvent
from recovery.model import iso
from recovery.playbook import Playbook

_ENDINGS = {
    "application/json": "json",
    "text/html": "html",
    "text/plain": "txt",
    "image/png": "png",
    "image/jpeg": "jpg",
    "application/pdf": "pdf",
}
# A zip of the same case is the same bytes, whoever makes it and when.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


async def export_case(store: EvidenceStore, playbook: Playbook, case: Case) -> bytes:
    """The zip: `index.html`, `case.json`, `evidence/…`, `manifest.json` with the SHA-256 of every file.

    Raises AllclearError when a piece of evidence is gone or was changed: an export is complete or there is none.
    """
    files: dict[str, bytes] = {}
    for item in case.evidence:
        files[f"evidence/{item.ref}.{_ENDINGS.get(item.media_type, 'bin')}"] = await store.get(item.digest)
    files["case.json"] = _json(_case_data(playbook, case))
    files["index.html"] = _index(playbook, case, sorted(files)).encode()
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    files["manifest.json"] = _json(manifest)
    return await asyncio.to_thread(_zip, files)


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _case_data(playbook: Playbook, case: Case) -> dict[str, object]:
    return {
        "case": case.ref,
        "account": case.account,
        "playbook": {"id": case.playbook, "version": case.version, "digest": case.playbook_digest},
        "playbook_now": {"version": playbook.version, "digest": playbook.digest},
        "fields": dict(case.fields),
        "reasons": list(case.reasons),
        "references": list(case.reference_refs),
        "feedback_form": playbook.feedback.url,
        "timeline": [_event(e) for e in case.timeline],
    }


def _event(event: StreamEvent) -> dict[str, object]:
    return {"seq": event.seq, "kind": event.kind, "by": event.by, "at": iso(event.at), "data": dict(event.data)}


def _index(playbook: Playbook, case: Case, names: list[str]) -> str:
    checks = "\n".join(
        f"<tr><td>{escape(c.title)}</td><td>{escape(r.state)}</td><td>{escape(r.summary)}</td>"
        f"<td>{escape(r.by)}</td><td>{escape(iso(r.at))}</td></tr>"
        for c in playbook.checks
        if (r := case.results.get(c.id)) is not None
    )
    steps = "\n".join(f"<li>{escape(iso(e.at))} {escape(e.kind)} by {escape(e.by)}</li>" for e in case.timeline)
    files = "\n".join(f'<li><a href="{escape(n)}">{escape(n)}</a></li>' for n in names)
    titles = {r.code: r.title for r in playbook.reasons}
    reasons = "\n".join(f"<li>{escape(titles.get(code, code))}</li>" for code in case.reasons) or "<li>none yet</li>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Case {escape(case.ref)}</title>\n"
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{border:1px solid #c6ccd4;padding:4px 8px;text-align:left;"
        "overflow-wrap:anywhere;vertical-align:top}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(playbook.title)}: {escape(case.account)}</h1>\n<p>Case {escape(case.ref)}, playbook version "
        f"{escape(case.version)}</p>\n<h2>Findings</h2>\n<ul>\n{reasons}\n</ul>\n<h2>Checks</h2>\n<table>\n<thead><tr>"
        "<th>Check</th><th>State</th><th>What was seen</th><th>By</th><th>At</th></tr></thead>\n"
        f"<tbody>\n{checks}\n</tbody>\n</table>\n<h2>Timeline</h2>\n<ol>\n{steps}\n</ol>\n<h2>Files</h2>\n<ul>\n{files}\n"
        "</ul>\n</main>\n</body>\n</html>\n"
    )
