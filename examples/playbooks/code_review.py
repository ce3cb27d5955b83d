"""A change is built, tested and reviewed; somebody wants it better, and it is; then it is merged.

python -m examples.playbooks.code_review
"""

import asyncio
from typing import Any

from examples.playbooks.show import Show, hub, working
from hub.client import Claim, Event
from hub.worker.reporter import Reporter


async def implement(claim: Claim, _: Reporter) -> Any:
    feedback = claim.input.get("assessment_feedback")
    return {"patch": f"{claim.input['change']}, {feedback}" if feedback else claim.input["change"]}


async def unit_tests(claim: Claim, _: Reporter) -> Any:
    return {"passed": True, "of": claim.input["patch"]}


async def review(claim: Claim, _: Reporter) -> Any:
    complete = "with a limit" in claim.input["patch"]
    return {"remarks": [] if complete else ["What if the server never answers?"]}


async def merge(claim: Claim, _: Reporter) -> Any:
    return {"commit": "c0ffee"}


async def main() -> None:
    does = {"implement": implement, "unit_tests": unit_tests, "review": review, "merge": merge}
    async with hub() as client:
        tags = ["role:developer", "role:tester", "role:reviewer"]
        async with working(client, does, tags=tags):
            show = await Show.start(client, "code_review.json", "Retry on timeout", change="retry on timeout")

            async def decide(event: Event) -> str | None:
                """Whoever looks at the gate: send it back while the reviewer has remarks."""
                if event.type != "stage.gate_requested":
                    return None
                detail = await client.workflows.get(show.id)
                reviews = [task for task in detail["tasks"] if task["title"] == "review"]
                remarks = reviews[0]["output"]["remarks"]
                if remarks:
                    await client.workflows.decide(
                        show.id, event.data["gate_id"], "request_changes", "with a limit"
                    )
                    return f"the reviewer asks: {remarks[0]}"
                await client.workflows.decide(show.id, event.data["gate_id"], "approve")
                return "the reviewer is content"

            await show.run(decide)


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# stage     build started
#           implement → claimed
#           implement ✓ completed
#           unit_tests → claimed
#           unit_tests ✓ completed
#           review → claimed
#           review ✓ completed
# stage     build gate requested
#           the reviewer asks: What if the server never answers?
# stage     build gate: request changes
#           implement → claimed
#           implement ✓ completed
#           unit_tests → claimed
#           unit_tests ✓ completed
#           review → claimed
#           review ✓ completed
# stage     build gate requested
#           the reviewer is content
# stage     build gate: approve
# stage     build completed
# stage     merge started
#           merge → claimed
#           merge ✓ completed
# stage     merge completed
# workflow  completed: {"merged": "c0ffee", "remarks": []}
