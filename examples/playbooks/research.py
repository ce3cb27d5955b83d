"""Twenty questions at once, and one report of all the answers.

python -m examples.playbooks.research
"""

import asyncio
from typing import Any

from examples.playbooks.show import Show, hub, working
from hub.client import Claim
from hub.worker.reporter import Reporter

QUESTIONS = 20


async def outline(claim: Claim, _: Reporter) -> Any:
    return {"questions": [f"{claim.input['subject']}, question {n}" for n in range(1, QUESTIONS + 1)]}


async def search(claim: Claim, _: Reporter) -> Any:
    return {"question": claim.input["question"], "words": len(claim.input["question"].split())}


async def report(claim: Claim, _: Reporter) -> Any:
    findings = claim.input["findings"]
    return {
        "findings": len(findings),
        "first": findings[0]["question"],
        "last": findings[-1]["question"],
        "words": sum(finding["words"] for finding in findings),
    }


async def main() -> None:
    does = {"outline": outline, "search": search, "report": report}
    async with hub() as client, working(client, does, concurrency=8):
        show = await Show.start(client, "research.json", "What bees know", subject="bees")
        await show.run()


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# stage     research started
#           outline → claimed
#           outline ✓ completed
# ▓░░░░░░░░░░░░░░░░░░░ search 1/20
# ▓▓░░░░░░░░░░░░░░░░░░ search 2/20
# ▓▓▓░░░░░░░░░░░░░░░░░ search 3/20
# ▓▓▓▓░░░░░░░░░░░░░░░░ search 4/20
# ▓▓▓▓▓░░░░░░░░░░░░░░░ search 5/20
# ▓▓▓▓▓▓░░░░░░░░░░░░░░ search 6/20
# ▓▓▓▓▓▓▓░░░░░░░░░░░░░ search 7/20
# ▓▓▓▓▓▓▓▓░░░░░░░░░░░░ search 8/20
# ▓▓▓▓▓▓▓▓▓░░░░░░░░░░░ search 9/20
# ▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░ search 10/20
# ▓▓▓▓▓▓▓▓▓▓▓░░░░░░░░░ search 11/20
# ▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░░░ search 12/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░░ search 13/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░ search 14/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░░ search 15/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░ search 16/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░ search 17/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░ search 18/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░ search 19/20
# ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓ search 20/20
#           report → claimed
#           report ✓ completed
# stage     research completed
# workflow  completed: {"findings": 20, "first": "bees, question 1", "last": "bees, question 20", "words": 60}
