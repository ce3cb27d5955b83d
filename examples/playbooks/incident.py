"""A service is down: a probe that has to be tried again, a decision that is people's, and leave to restart.

python -m examples.playbooks.incident
"""

import asyncio
from typing import Any

from examples.playbooks.show import Show, hub, working
from hub.client import Claim, Event
from hub.worker.reporter import Reporter, TaskFailed


async def probe(claim: Claim, _: Reporter) -> Any:
    if claim.attempt < 3:
        raise TaskFailed("no answer", category="network_error", recoverable=True)
    return {"symptom": f"{claim.input['service']} is out of memory"}


async def main() -> None:
    async with hub() as client:

        async def diagnose(claim: Claim, _: Reporter) -> Any:
            decided = claim.input.get("escalation_resolution")
            if decided is None:
                why = f"{claim.input['symptom']}: restart, or look first?"
                await client.tasks.escalate(claim.id, why, lease_id=claim.lease_id)
            return {"cause": "memory leak", "decision": decided and decided["instructions"]}

        async def restart(claim: Claim, _: Reporter) -> Any:
            return {"restarted": claim.input["how"]}

        async def write_up(claim: Claim, _: Reporter) -> Any:
            return f"{claim.input['cause']}; {claim.input['restarted']}"

        async def people(event: Event) -> str | None:
            """Whoever is on call."""
            if event.type == "task.agent_escalated":
                await client.tasks.resolve_escalation(event.data["task_id"], "take a heap dump, then restart")
                return f"on call: {event.data['reason']} → take a heap dump, then restart"
            if event.data.get("to_state") == "awaiting_approval":
                (waiting,) = (await client.approvals.list(task_id=event.data["task_id"])).items
                await client.approvals.decide(waiting.id, action="approve")
                return f"on call: {waiting.raw['title']}? Yes."
            return None

        does = {"probe": probe, "diagnose": diagnose, "restart": restart, "write_up": write_up}
        async with working(client, does):
            show = await Show.start(client, "incident.json", "Shop is down", service="shop")
            await show.run(people)


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# stage     mitigate started
#           probe → claimed
#           probe ↻ failed, tries again
#           probe → claimed
#           probe ↻ failed, tries again
#           probe → claimed
#           probe ✓ completed
#           diagnose → claimed
#           diagnose ? escalated
#           on call: shop is out of memory: restart, or look first? → take a heap dump, then restart
#           diagnose → claimed
#           diagnose ✓ completed
#           restart ? awaiting approval
#           on call: start: restart? Yes.
#           restart → claimed
#           restart ✓ completed
# stage     mitigate completed
# stage     learn started
#           write_up → claimed
#           write_up ✓ completed
# stage     learn completed
# workflow  completed: "memory leak; take a heap dump, then restart"
