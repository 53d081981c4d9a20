"""What Jira accepts as an Atlassian Document, and the plain text in it.

Source: https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
"""

from __future__ import annotations

from typing import Any

INLINE = frozenset({"text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status"})
BLOCK = frozenset(
    {
        "paragraph",
        "heading",
        "bulletList",
        "orderedList",
        "codeBlock",
        "blockquote",
        "panel",
        "rule",
        "table",
        "expand",
        "mediaSingle",
        "mediaGroup",
        "blockCard",
        "taskList",
        "decisionList",
    }
)
_TEXT = frozenset({"text"})
_NOTHING: frozenset[str] = frozenset()
CHILDREN: dict[str, frozenset[str]] = {
    "doc": BLOCK,
    "paragraph": INLINE,
    "heading": INLINE,
    "codeBlock": _TEXT,
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle"}),
    "blockquote": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock"}),
    "panel": frozenset({"paragraph", "heading", "bulletList", "orderedList", "rule", "codeBlock"}),
    "expand": BLOCK - {"expand"},
    "table": frozenset({"tableRow"}),
    "tableRow": frozenset({"tableHeader", "tableCell"}),
    "tableHeader": BLOCK - {"table"},
    "tableCell": BLOCK - {"table"},
    "taskList": frozenset({"taskItem", "taskList"}),
    "taskItem": INLINE,
    "decisionList": frozenset({"decisionItem"}),
    "decisionItem": INLINE,
    "mediaSingle": frozenset({"media"}),
    "mediaGroup": frozenset({"media"}),
}
MUST_HAVE_CHILDREN = frozenset({"bulletList", "orderedList", "listItem", "table", "tableRow", "panel", "blockquote"})
MARKS = frozenset(
    {"strong", "em", "code", "strike", "underline", "link", "subsup", "textColor", "backgroundColor", "border"}
)


def is_document(value: object) -> bool:
    """Whether the value claims to be a document: type doc, version 1, a list of content."""
    return (
        isinstance(value, dict)
        and value.get("type") == "doc"
        and value.get("version") == 1
        and isinstance(value.get("content"), list)
    )


def is_sound(node: Any, allowed: frozenset[str] = frozenset({"doc"})) -> bool:
    """Whether the node and everything in it stands where such a node may stand."""
    if not isinstance(node, dict) or node.get("type") not in allowed:
        return False
    kind = str(node["type"])
    if kind == "text":
        return _sound_text(node)
    if kind == "heading" and node.get("attrs", {}).get("level") not in {1, 2, 3, 4, 5, 6}:
        return False
    content = node.get("content", [])
    if not isinstance(content, list) or (kind in MUST_HAVE_CHILDREN and not content):
        return False
    return all(is_sound(child, CHILDREN.get(kind, _NOTHING)) for child in content)


def _sound_text(node: dict[str, Any]) -> bool:
    text, marks = node.get("text"), node.get("marks", [])
    if not isinstance(text, str) or not text or not isinstance(marks, list):
        return False
    return all(isinstance(mark, dict) and mark.get("type") in MARKS for mark in marks)


def text_of(node: Any) -> str:
    """The document's text, one line per block."""
    if not isinstance(node, dict):
        return ""
    if node.get("type") == "text":
        return str(node.get("text", ""))
    parts = [text_of(child) for child in node.get("content", [])]
    inline = node.get("type") in {"paragraph", "heading", "codeBlock", "taskItem", "decisionItem"}
    return ("" if inline else "\n").join(part for part in parts if part)
