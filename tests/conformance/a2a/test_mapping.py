"""What the hub's own moves are in A2A's words, over each binding, in both versions where they differ."""

import pytest

from tests.conformance.a2a.conftest import Speaker
from tests.conformance.a2a.wires import message
from tests.conformance.hub_process import RunningHub


async def test_refused_work_is_rejected_and_says_why(ann: Speaker) -> None:
    task = await ann.send(message("refuse not my job"))
    assert task["status"]["state"] == "TASK_STATE_REJECTED"
    assert task["status"]["message"]["parts"] == [{"text": "not my job"}]
    assert (await ann.refused("SendMessage", message(taskId=task["id"]))).reason == "UNSUPPORTED_OPERATION"


@pytest.mark.requirement("3.1.1-terminal")
async def test_what_is_over_stays_over_and_a_retry_is_a_new_task_in_its_context(
    ann: Speaker, hub: RunningHub
) -> None:
    failed = await ann.send(message("fail on purpose"))
    assert failed["status"]["state"] == "TASK_STATE_FAILED"
    retried = hub.post(f"/tasks/{failed['id']}/retry", {})
    assert retried["id"] != failed["id"]
    assert retried["previous_task_id"] == failed["id"]
    follower = await ann.get(retried["id"])
    assert follower["contextId"] == failed["contextId"]
    listed = (await ann.ask("ListTasks", {"contextId": failed["contextId"]}))["tasks"]
    assert {task["id"] for task in listed} == {failed["id"], follower["id"]}
    assert await ann.get(failed["id"]) == failed, "the old one is as it was"
