"""600 texts that somebody might put into a campaign's name to make another system misbehave."""

from __future__ import annotations

import random

SEEDS = (
    "<!channel> <!here> <!everyone> <@U024BE7LH> <#C024BE7LR|ops>",
    "@channel @here @everyone @all",
    "<https://evil.example|click me> https://evil.example/?a=1&b=2",
    "[click](https://evil.example) ![x](https://evil.example/x.png)",
    "[~accountid:5b10ac8d82e05b22cc7d4ef5] [link|https://evil.example] {color:red}x{color} h1. Title",
    '{"type":"mention","attrs":{"id":"5b10","text":"@boss"}}',
    '"}]},{"type":"inlineCard","attrs":{"url":"https://evil.example"}}]',
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</p><h1>x</h1><!--",
    "*bold* _italic_ ~strike~ `code` ```block``` > quote :smile: :+1:",
    '=HYPERLINK("http://evil.example","x") +1+1 -2 @SUM(A1)',
    "{{7*7}} ${7*7} %(x)s {0} {% raw %}",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f\u061c",
    "a\x00b\x07c\x1b[31mred\x1b[0m\x9b31m",
    "line1\nline2\r\nline3\u2028line4\u2029line5\x85line6",
    "\ud800 lone \udfff surrogates",
    "zero\u200bwidth\ufeff joiner\u200d",
    "e\u0301" * 200,
    "x" * 65_536,
    "\U0001f3ad" * 3000,
    "'; DROP TABLE campaigns; -- ",
    'labels = "x" OR project = OPS ORDER BY created',
    "../../etc/passwd?x#y%2e%2e",
    "   \t   ",
    "",
)
RANDOM = random.Random(8)


def mixed() -> str:
    parts = RANDOM.sample(SEEDS, 3)
    return "".join(part[RANDOM.randrange(max(len(part), 1)) :][: RANDOM.randrange(1, 400)] for part in parts)


HOSTILE = [*SEEDS, *(mixed() for _ in range(600 - len(SEEDS)))]
