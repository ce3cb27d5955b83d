"""One task followed as server-sent events, and where its artifacts stay."""

from tests.hub.api.hub import UNLIKELY, Hub


async def test_a_task_is_followed_from_its_first_event_to_its_end(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    async with hub.stream(f"/tasks/{task['id']}/stream?from_turn=0") as stream:
        await stream.until('"to_state":"in_progress"')
        body = {"lease_id": task["lease_id"], "output": "done"}
        await hub.post(f"/tasks/{task['id']}/complete", body, key=agent["api_key"])
        text = await stream.end()
    assert [event["version"] for event in stream.events()] == list(range(1, len(stream.events()) + 1))
    assert text.endswith(f'event: task_end\ndata: {{"task_id":"{task["id"]}","state":"completed"}}\n\n')
    told = [event["id"] for event in stream.events()]
    for known in (told[0], told[-1]):
        from_there = {"last-event-id": str(known)}
        async with hub.stream(f"/tasks/{task['id']}/stream", headers=from_there) as stream:
            assert "event: task_end" in await stream.end()
        assert [event["id"] for event in stream.events()] == [id for id in told if id > known]
    assert (await hub.get(f"/tasks/{UNLIKELY}/stream")).status == 404


async def test_an_artifact_has_an_address_to_hand_on(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    body = {"lease_id": task["lease_id"], "name": "a", "parts": [{"text": "all is well"}]}
    made = (await hub.post(f"/tasks/{task['id']}/artifacts", body, key=agent["api_key"])).data
    link = (await hub.send("GET", made["permalink_url"])).data["url"]
    assert link.endswith(made["download_url"])
    assert link.startswith("http://")
    assert (await hub.send("GET", made["download_url"])).body == b"all is well"
