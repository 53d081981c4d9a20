"""Evidence of a case: stored once under its SHA-256, redacted, signed where a person vouches for it.

What a transport hands over is redacted already; it is done again here because a case also takes in what people paste.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Protocol

from recovery.case.records import EvidenceItem
from recovery.errors import AllclearError, RefusedError
from recovery.model import Exchange, canonical, iso

MAX_UPLOAD_BYTES = 10 * 1024 * 1024
HIDDEN = "[redacted]"
_SECRET = r"[a-z_-]*(?:token|secret|password|passwd|authorization|api[_-]?key|access[_-]?key|apikey|signature)"  # noqa: S105
_QUERY = re.compile(rf"([?&](?:{_SECRET}|key|sig)=)[^&\s\"'<>]+", re.I)
_FIELD = re.compile(rf'("{_SECRET}"\s*:\s*)"(?:[^"\\]|\\.)*"', re.I)
_HEADER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.I)
_NUMBER_FIELD = re.compile(
    r'("[a-z_]*(?:phone|mobile|msisdn|whatsapp|wa_id|recipient)[a-z_]*"\s*:\s*)"?\+?[\d ()./-]{6,}"?', re.I
)
# People write and copy numbers with all kinds of blanks and hyphens; abroad "00" stands for "+", and in some ids too.
_GAP = r"(?:[^\S\r\n]|[()./\u2010-\u2015-]){0,2}"
_ABROAD = rf"\+{_GAP}\d(?:{_GAP}\d){{7,14}}|00{_GAP}[1-9](?:{_GAP}\d){{9,14}}"
_NUMBER = re.compile(rf"(?<![\w+.-])(?:{_ABROAD})(?!\w)")
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"%PDF-": "application/pdf"}


def redact(text: str) -> str:
    """The text without credentials, keys in query strings and phone numbers (E.5)."""
    text = _QUERY.sub(rf"\1{HIDDEN}", text)
    text = _FIELD.sub(rf'\1"{HIDDEN}"', text)
    text = _HEADER.sub(rf"\1 {HIDDEN}", text)
    text = _NUMBER_FIELD.sub(rf'\1"{HIDDEN}"', text)
    return _NUMBER.sub(HIDDEN, text)


class EvidenceStore(Protocol):
    """Keeps bytes under their SHA-256; what is in it is never changed or removed."""

    async def put(self, content: bytes) -> str:
        """Store the bytes durably; their SHA-256 in hex. Storing the same again changes nothing."""
        ...

    async def get(self, digest: str) -> bytes:
        """The bytes of this SHA-256; raises AllclearError when they are gone or not what they were."""
        ...


class FolderStore:
    """An `EvidenceStore` in a folder: one read-only file per digest, written whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, content: bytes) -> str:
        """Store the bytes."""
        return await asyncio.to_thread(self._put, content)

    async def get(self, digest: str) -> bytes:
        """Read the bytes and check them against the digest."""
        return await asyncio.to_thread(self._get, digest)

    def _path(self, digest: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise AllclearError(f"{digest[:80]!r} is not a SHA-256")
        return self._root / digest[:2] / digest

    def _put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if path.exists():
            self._get(digest)
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o400)
        Path(name).replace(path)
        return digest

    def _get(self, digest: str) -> bytes:
        try:
            content = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise AllclearError(f"evidence {digest[:12]}… is not in {self._root}", "restore it from a backup") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise AllclearError(
                f"evidence {digest[:12]}… was changed after it was stored", "keep it and find out by whom"
            )
        return content


def media_type_of(content: bytes) -> str:
    """What an upload is, by its first bytes: PNG, JPEG, PDF or plain text. Anything else is refused."""
    for start, media_type in _SIGNATURES.items():
        if content.startswith(start):
            return media_type
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError("the file is neither PNG, JPEG, PDF nor plain text", "upload a screenshot") from None
    return "text/plain"


async def store_upload(
    store: EvidenceStore, content: bytes, *, ref: str, check: str, slot: str, title: str, by: str, at: datetime
) -> EvidenceItem:
    """A file that a person gives as evidence; text is redacted, pictures are kept as they are."""
    if not content:
        raise RefusedError("the file is empty", "upload a screenshot")
    if len(content) > MAX_UPLOAD_BYTES:
        raise RefusedError(f"the file is larger than {MAX_UPLOAD_BYTES // 2**20} MB", "upload a smaller one")
    media_type = media_type_of(content)
    if media_type == "text/plain":
        content = redact(content.decode("utf-8")).encode()
    digest = await store.put(content)
    return EvidenceItem(ref, "upload", check, slot, digest, media_type, at, by, title=redact(title))


async def store_exchange(store: EvidenceStore, exchange: Exchange, *, ref: str, check: str, by: str) -> EvidenceItem:
    """An API's answer: body, status, time, request without secrets, SHA-256 as received, trace id (E.1)."""
    digest = await store.put(redact(exchange.body).encode())
    return EvidenceItem(
        ref=ref,
        kind="api",
        check=check,
        slot="",
        digest=digest,
        media_type="application/json",
        at=exchange.at,
        by=by,
        title=f"{exchange.system} answered {exchange.status if exchange.status is not None else 'nothing'}",
        request=redact(exchange.request),
        status=exchange.status,
        answer_digest=exchange.digest,
        trace_ref=exchange.trace_ref,
    )


def sign(secret: bytes, case: str, check: str, value: str, statement: str, by: str, at: datetime) -> str:
    """The signature of an attestation: an HMAC over who says what about which check of which case, and when."""
    return hmac.new(secret, canonical([case, check, value, statement, by, iso(at)]), hashlib.sha256).hexdigest()


async def store_attestation(
    store: EvidenceStore,
    secret: bytes,
    *,
    ref: str,
    case: str,
    check: str,
    slot: str,
    value: str,
    statement: str,
    by: str,
    at: datetime,
) -> EvidenceItem:
    """A person's signed statement about what they saw (E.4)."""
    statement = redact(statement)
    signature = sign(secret, case, check, value, statement, by, at)
    said = {"case": case, "check": check, "answer": value, "by": by, "at": iso(at), "statement": statement}
    text = "".join(f"{label}: {words}\n" for label, words in {**said, "signature": signature}.items())
    digest = await store.put(text.encode())
    return EvidenceItem(
        ref,
        "attestation",
        check,
        slot,
        digest,
        "text/plain",
        at,
        by,
        title=f"{by} attests: {value}",
        signature=signature,
    )
