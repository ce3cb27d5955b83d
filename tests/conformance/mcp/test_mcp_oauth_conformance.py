"""The official suite's client and auth scenarios, met by the registry: its REST API is the client.

What nobody implements is named: DPoP and workload identity, extensions that the suite itself counts as
optional.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.hub_process import RunningHub, running_hub

MODERN, LEGACY, OLDEST = "2026-07-28", "2025-11-25", "2025-03-26"
DRIVER = Path(__file__).with_name("registry_client.py")
BOTH = [
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
]
NEW = [
    "auth/resource-mismatch",
    "auth/offline-access-scope",
    "auth/offline-access-not-supported",
    "auth/authorization-server-migration",
    "auth/iss-supported",
    "auth/iss-not-advertised",
    "auth/iss-supported-missing",
    "auth/iss-wrong-issuer",
    "auth/iss-unexpected",
    "auth/iss-normalized",
    "auth/metadata-issuer-mismatch",
    "auth/client-credentials-jwt",
    "auth/client-credentials-basic",
    "auth/enterprise-managed-authorization",
]
IN_SESSIONS = [
    "auth/metadata-var1",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-step-up",
    "auth/token-endpoint-auth-basic",
    "auth/pre-registration",
]
"""Those of both revisions that are run in the older one, too: only how the server is asked differs."""
OLD = ["auth/2025-03-26-oauth-metadata-backcompat", "auth/2025-03-26-oauth-endpoint-fallback"]
SCENARIOS = [
    *((MODERN, name) for name in [*BOTH, *NEW]),
    *((LEGACY, name) for name in IN_SESSIONS),
    *((OLDEST, name) for name in OLD),
]
PLAIN = [
    (LEGACY, "initialize"),
    (LEGACY, "tools_call"),
    (MODERN, "tools_call"),
    (MODERN, "http-custom-headers"),
    (MODERN, "http-invalid-tool-headers"),
    (MODERN, "json-schema-ref-no-deref"),
]
"""Of servers that let anybody in: registered, and called through the gateway."""
NOBODY_HAS = ("auth/dpop", "auth/dpop-nonce", "auth/wif-jwt-bearer")
"""Extensions that are not here."""


@pytest.fixture(scope="module")
def let_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that may call the suite."""
    directory = tmp_path_factory.mktemp("hub")
    settings = {
        "CROSSDOCK_OUTBOUND_ALLOW": "127.0.0.1,localhost",
        "CROSSDOCK_OAUTH_CLIENT_URL": "https://conformance-test.local/client-metadata.json",
    }
    with running_hub(directory, **settings) as hub:
        yield hub


@pytest.fixture(scope="module")
def keys(let_in: RunningHub) -> list[str]:
    """Several operators, since one may not register so much in a minute."""
    owner = {"scope": "admin", "owner_type": "user"}
    made = [let_in.post("/api-keys", {**owner, "owner_id": f"operator {n}"}) for n in range(6)]
    return [key["api_key"] for key in made]


@pytest.fixture(scope="module")
def caller(let_in: RunningHub) -> str:
    """Whoever calls the tools."""
    return let_in.key_for("suite")


@pytest.mark.peers
@pytest.mark.parametrize(("version", "scenario"), [*SCENARIOS, *PLAIN])
def test_a_scenario_of_the_official_suite_passes(
    version: str,
    scenario: str,
    let_in: RunningHub,
    keys: list[str],
    caller: str,
    node: str,
    peers: Path,
    tmp_path: Path,
) -> None:
    suite = peers / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    command = [node, str(suite), "client", "--command", f"{sys.executable} {DRIVER}", "--scenario", scenario]
    command += ["--output-dir", str(tmp_path)]
    if scenario not in NEW[-3:]:
        command += ["--spec-version", version]
    environment = {
        "HUB_URL": let_in.url,
        "HUB_KEY": keys[[*SCENARIOS, *PLAIN].index((version, scenario)) % len(keys)],
        "HUB_CALLER_KEY": caller,
        "PATH": str(Path(node).parent),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    said = subprocess.run(
        command, capture_output=True, text=True, timeout=55, cwd=tmp_path, env=environment, check=False
    )
    found = list(tmp_path.rglob("checks.json"))
    told = re.sub(r"\x1b\[\d*m", "", said.stdout + said.stderr)
    assert found, told
    checks = json.loads(found[0].read_text())
    failed = {check["id"] for check in checks if check["status"] in ("FAILURE", "WARNING")}
    assert checks, told
    assert not failed, (failed, told[-6000:])


def test_what_is_left_out_is_what_the_suite_calls_an_extension(node: str, peers: Path) -> None:
    suite = peers / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    listed = subprocess.run([node, str(suite), "list"], capture_output=True, text=True, check=True).stdout
    auth = dict(re.findall(r"- (auth/\S+) \[(.*?)\]", listed))
    assert set(auth) == {name for _, name in SCENARIOS} | {*NOBODY_HAS}
    assert {auth[name] for name in NOBODY_HAS} == {"extension"}
