"""What is public and outside `/api/v1`: health, the API's description and its page."""

import re

import pytest

from core.errors import Unavailable
from hub import docs, openapi
from tests.hub.api.hub import Hub


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_is_answered_without_a_credential_and_for_any_host(hub: Hub, path: str) -> None:
    answer = await hub.send("GET", path, key=None, headers={"host": "10.0.0.7"})
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_a_hub_without_its_database_lives_and_is_not_ready(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(hub.platform, "read", away)
    ready = await hub.send("GET", "/health/ready", key=None)
    assert (ready.status, ready.json) == (503, {"status": "unavailable"})
    assert (await hub.send("GET", "/health/live", key=None)).status == 200


async def test_a_stopping_hub_is_not_ready(hub: Hub) -> None:
    hub.app.stopping.set()
    assert (await hub.send("GET", "/health/ready", key=None)).status == 503
    assert (await hub.send("GET", "/health", key=None)).status == 200


async def test_the_description_is_served_as_it_is_committed(hub: Hub) -> None:
    answer = await hub.send("GET", "/openapi.json", key=None)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == openapi.PATH.read_bytes()
    known = await hub.send(
        "GET", "/openapi.json", key=None, headers={"if-none-match": answer.headers["etag"]}
    )
    assert (known.status, known.body) == (304, b"")


async def test_the_page_loads_nothing_from_elsewhere(hub: Hub) -> None:
    page = await hub.send("GET", "/docs", key=None)
    assert page.status == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert loaded
    for path in loaded:
        assert "//" not in path
        asset = await hub.send("GET", f"/{path}", key=None)
        assert asset.status == 200, path
        assert asset.body
    assert b"validatorUrl: null" in docs.START
    assert "<script>" not in page.body.decode()


@pytest.mark.parametrize("path", ["/docs/swagger-editor.js", "/docs/../settings.py", "/docs/"])
async def test_the_page_serves_nothing_but_what_it_loads(hub: Hub, path: str) -> None:
    assert (await hub.send("GET", path)).status == 404
