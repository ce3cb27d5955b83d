"""The worker as the client of an agent that the official SDK speaks for."""

import json
import sys
from pathlib import Path

import pytest

from tests.hub.worker.acp.stage import Stage

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(90)
async def test_an_agent_on_the_official_sdk_finds_all_that_the_worker_offers(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.config = type(stage.config)(
        [sys.executable, "-m", "tests.conformance.acp_sdk_agent"],
        environ={**stage.environ, "PYTHONPATH": str(ROOT)},
        workspaces=[str(stage.work)],
        files=True,
        terminals=True,
    )
    stage.anew()
    told = stage.turn("everything")
    told.decide = lambda asked: {"status": "approved", "option_id": asked["options"][0]["id"]}
    try:
        output = await stage.agent(told.claim, told)
    finally:
        await stage.agent.close()
    assert json.loads(output["text"]) == {
        "can": [True, True, True],
        "allowed": {"outcome": "selected", "optionId": "go", "_meta": None},
        "read": "two\n",
        "outside": -32602,
        "exit": 0,
        "output": "one\ntwo\nthree\n",
    }
    assert (stage.work / "made" / "by.txt").read_text() == "one\ntwo\nthree\n"
