"""Answers from outside: what they say, read with bounds.

Format of Retry-After: RFC 9110.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

DEPTH = 64
"""Lists and objects within each other in JSON that is read; more is nobody's honest answer."""


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if it does not say."""
    if not value:
        return None
    try:
        seconds = float(int(value))
    except (ValueError, OverflowError):
        try:
            wanted = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if wanted.tzinfo is None:
            wanted = wanted.replace(tzinfo=UTC)
        seconds = (wanted - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds)


def decoded(body: bytes) -> Any:
    """Return JSON from outside. Raises ValueError for what is none, or is nested too deeply."""
    depth = 0
    if body.count(b"[") + body.count(b"{") > DEPTH:
        for mark in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', body, re.DOTALL):
            depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark[0], 0)
            if depth > DEPTH:
                raise ValueError(f"lists and objects more than {DEPTH} deep")
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("lists and objects nested too deeply") from None


@dataclass(frozen=True)
class Answer:
    """An answer with its body read. `address` is who gave it, after redirects."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str

    def json(self) -> Any:
        """Return the body as JSON, None if it is none."""
        try:
            return decoded(self.body)
        except ValueError:
            return None
