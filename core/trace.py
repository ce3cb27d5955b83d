"""W3C trace context: whose work this is part of, carried from every protocol through the task to who does it.

It is carried as it came and decides nothing; a broken one is dropped (W3C Trace Context, §3.2 and §4.3). What
a process does at the moment, it keeps for its own log lines and for the requests that it sends.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final

from core.caller import Caller

TRACEPARENT: Final = "traceparent"
"""The header, the member of `_meta` and of a message's metadata, and of a task's extras."""
_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
PRESENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""What the present work is part of."""


def valid(text: object) -> str | None:
    """A trace parent; None for anything else."""
    return text if type(text) is str and _FORM.fullmatch(text) else None


def trace_id(text: str | None) -> str | None:
    """The id of the whole trace."""
    found = None if text is None else _FORM.fullmatch(text)
    return None if found is None else found[1]


def told_by(caller: Caller, *said: object) -> Caller:
    """The caller with the trace that a request's metadata names, which is nearer than its header's."""
    for meta in said:
        found = valid(meta.get(TRACEPARENT)) if isinstance(meta, Mapping) else None
        if found is not None:
            return replace(caller, trace=found)
    return caller


def of_extras(extras: Mapping[str, Any]) -> str | None:
    """The trace that a task is part of."""
    return valid(extras.get(TRACEPARENT))


def carried(trace: str | None) -> dict[str, str]:
    """As a member of metadata, where there is one."""
    return {} if trace is None else {TRACEPARENT: trace}


@contextmanager
def within(trace: str | None) -> Iterator[None]:
    """What is done inside is part of a trace, and what is sent says so."""
    token = PRESENT.set(trace)
    try:
        yield
    finally:
        PRESENT.reset(token)
