"""Scout, the demo's worker: it says hello, counts slowly, and asks before it publishes."""

import asyncio
import re
from typing import Any

from hub.client import Approval, Claim, Crossdock
from hub.worker import Reporter, TaskFailed

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
TICK = 0.4


class Scout:
    """What the worker does with a task. `hub` is its own connection, which outlives the hub's restarts."""

    def __init__(self, hub: Crossdock, *, tick: float = TICK) -> None:
        self._hub = hub
        self._tick = tick

    async def __call__(self, claim: Claim, reporter: Reporter) -> Any:
        """Do one task; the result is its output."""
        text = str(claim.input.get("text", "")) if isinstance(claim.input, dict) else str(claim.input)
        if "count" in text:
            return await self._count(claim, reporter, _how_far(text), ask="publish" in text)
        return "Hello." if "hello" in text.lower() else text

    async def _count(self, claim: Claim, reporter: Reporter, last: int, *, ask: bool) -> str:
        for n in range(1, last + 1):
            await reporter.artifact(
                f"{n} ", artifact_id="count", name="count", append=n > 1, last_chunk=n == last
            )
            await asyncio.sleep(self._tick)
        if ask and (await self._permission(claim, last)).status != "approved":
            raise TaskFailed("not allowed to publish", category="permission_denied")
        return f"counted to {WORDS[last - 1] if last <= len(WORDS) else last}"

    async def _permission(self, claim: Claim, last: int) -> Approval:
        asked = await self._hub.approvals.ask(
            claim.id,
            "publish?",
            lease_id=claim.lease_id,
            kind="permission",
            subject={"publish": f"the numbers 1 to {last}"},
            idempotency_key=f"publish-{claim.lease_id}",
        )
        while asked.status == "pending":
            asked = await self._hub.approvals.get(asked.id, wait_seconds=20)
        return asked


def _how_far(text: str) -> int:
    for n, word in enumerate(WORDS, start=1):
        if re.search(rf"\b{word}\b", text):
            return n
    number = re.search(r"\d+", text)
    return min(int(number.group()), 100) if number else 3
