"""Ways to a token against a strict authorization server: each grant, each client, each check."""

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.mcp.oauth import Authorization, NeedsReauth, OAuthUpkeep
from core.caller import SYSTEM
from core.errors import NotFound
from core.events import ReadEvents, read_events
from core.mcp_oauth.connections import Configure, configure
from core.mcp_oauth.definition import Definition, Enterprise, Secrets
from core.mcp_oauth.flows import Received, received
from schemas.oauth import (
    CallbackMode,
    ClientStrategy,
    ConnectionState,
    FlowState,
    GrantType,
    ParMode,
    TokenAuthMethod,
)
from tests.adapters.mcp.oauth.conftest import PUBLIC_URL, Bench
from tests.fakes import FakeClock


def key() -> tuple[str, Any]:
    """A private key as PEM, and its public one."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode(), private.public_key()


async def test_a_person_consents_and_the_server_takes_the_token(bench: Bench) -> None:
    await bench.configure()
    flow = await bench.start()
    assert (flow.state, flow.error) == (FlowState.WAITING, None)
    assert flow.shown is not None
    asked = parse_qs(urlsplit(flow.shown["authorize_url"]).query)
    assert asked["resource"] == [bench.server.endpoint]
    assert asked["scope"] == ["read"]
    assert asked["redirect_uri"] == [f"{PUBLIC_URL}/api/v1/oauth/callback"]
    done = await bench.engine.receive(await bench.consent(flow))
    assert (done.state, done.shown) == (FlowState.COMPLETED, None)
    carried = await bench.carried()
    assert isinstance(carried, Authorization)
    assert bench.server.accepts(carried.headers["Authorization"])
    known = await bench.connection()
    assert (known.state, known.issuer, known.scope) == (ConnectionState.CONNECTED, bench.server.url, "read")
    assert bench.connected == [bench.server_id]


async def test_nothing_secret_is_in_the_log_or_in_a_record(bench: Bench) -> None:
    await bench.configure()
    flow = await bench.start()
    assert flow.shown is not None
    state = parse_qs(urlsplit(flow.shown["authorize_url"]).query)["state"][0]
    await bench.engine.receive(await bench.consent(flow))
    carried = await bench.carried()
    assert isinstance(carried, Authorization)
    token = carried.headers["Authorization"].removeprefix("Bearer ")
    events = await bench.platform.read(bench.operator, read_events, ReadEvents())
    said = repr((events, flow, await bench.connection(), carried))
    for secret in (token, state, "refresh-"):
        assert secret not in said


@pytest.mark.parametrize("changed", [{"iss": "https://evil.example"}, {"iss": None}])
async def test_an_answer_of_another_issuer_is_refused(bench: Bench, changed: dict[str, Any]) -> None:
    await bench.configure()
    done = await bench.engine.receive(await bench.consent(await bench.start(), **changed))
    assert done.state is FlowState.FAILED
    assert bench.server.sent("/token") == []


async def test_an_answer_is_taken_once_and_in_time(bench: Bench, clock: FakeClock) -> None:
    await bench.configure()
    answer = await bench.consent(await bench.start())
    assert (await bench.engine.receive(answer)).state is FlowState.COMPLETED
    late = await bench.consent(await bench.start())
    clock.advance(601)
    for again in (answer, late, Received("no such state", "code")):
        with pytest.raises(NotFound):
            await bench.engine.receive(again)
    assert len(bench.server.sent("/token")) == 1


async def test_a_refused_consent_is_told_and_leaves_the_old_credential(bench: Bench) -> None:
    await bench.configure()
    await bench.authorized()
    bench.server.consents = False
    done = await bench.engine.receive(await bench.consent(await bench.start()))
    assert (done.state, done.error) == (FlowState.FAILED, "consent was refused")
    assert isinstance(await bench.carried(), Authorization)


async def test_a_new_flow_ends_the_one_before(bench: Bench) -> None:
    await bench.configure()
    first = await bench.start()
    answer = await bench.consent(first)
    second = await bench.start()
    assert (await bench.engine.advance(first.tenant_id, first.id)).state is FlowState.CANCELLED
    with pytest.raises(NotFound):
        await bench.engine.receive(answer)
    assert (await bench.engine.receive(await bench.consent(second))).state is FlowState.COMPLETED


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
async def test_a_client_is_registered_once_and_proves_itself(bench: Bench, method: str) -> None:
    bench.server.methods = [method]
    await bench.configure()
    assert (await bench.authorized()).state is FlowState.COMPLETED
    assert (await bench.authorized()).state is FlowState.COMPLETED
    (registered,) = bench.server.sent("/register")
    assert registered["token_endpoint_auth_method"] == method
    assert registered["application_type"] == "native"
    assert "refresh_token" in registered["grant_types"]


async def test_the_hubs_document_is_its_client_id_where_that_is_taken(bench: Bench) -> None:
    bench.server.takes_documents = True
    await bench.configure()
    assert (await bench.authorized()).state is FlowState.COMPLETED
    assert bench.server.sent("/register") == []
    known = await bench.connection()
    assert known.client is not None
    assert known.client.client_id == bench.engine.identity.document_url
    assert bench.engine.identity.document()["client_id"] == known.client.client_id


async def test_a_client_that_was_given_is_used_before_any_other(bench: Bench) -> None:
    bench.server.takes_documents = True
    bench.server.clients["given"] = {"client_secret": "its secret"}
    await bench.configure(Definition(client_id="given"), Secrets(client_secret="its secret"))
    assert (await bench.authorized()).state is FlowState.COMPLETED
    assert bench.server.sent("/register") == []


async def test_without_any_client_the_operator_is_told(bench: Bench) -> None:
    bench.server.registers = False
    await bench.configure()
    flow = await bench.start()
    assert flow.state is FlowState.FAILED
    assert flow.error == "the authorization server registers no clients: give clientId"
    await bench.configure(Definition(client_strategy=ClientStrategy.MANUAL_CLIENT))
    assert (await bench.start()).error == "clientId is missing"


async def test_a_pushed_request_shows_nothing_in_the_address(bench: Bench) -> None:
    bench.server.pushes = True
    await bench.configure(Definition(par_mode=ParMode.REQUIRED))
    flow = await bench.start()
    assert flow.shown is not None
    assert set(parse_qs(urlsplit(flow.shown["authorize_url"]).query)) == {"client_id", "request_uri"}
    assert (await bench.engine.receive(await bench.consent(flow))).state is FlowState.COMPLETED
    bench.server.pushes = False
    assert (await bench.start()).error == "the authorization server takes no pushed requests"


async def test_a_loopback_callback_is_what_the_server_is_told(bench: Bench) -> None:
    await bench.configure(Definition(callback_mode=CallbackMode.LOOPBACK))
    flow = await bench.start()
    assert flow.context["redirect_uri"] == "http://localhost:1455/auth/callback"
    assert (await bench.engine.receive(await bench.consent(flow))).state is FlowState.COMPLETED


@pytest.mark.parametrize("method", [TokenAuthMethod.CLIENT_SECRET_BASIC, TokenAuthMethod.CLIENT_SECRET_POST])
async def test_the_hub_acts_for_itself_with_a_secret(bench: Bench, method: TokenAuthMethod) -> None:
    bench.server.clients["machine"] = {"client_secret": "a:b c"}
    definition = Definition(
        grant_type=GrantType.CLIENT_CREDENTIALS, client_id="machine", token_endpoint_auth_method=method
    )
    await bench.configure(definition, Secrets(client_secret="a:b c"))
    assert (await bench.start()).state is FlowState.COMPLETED
    carried = await bench.carried()
    assert isinstance(carried, Authorization)
    assert bench.server.accepts(carried.headers["Authorization"])


async def test_the_hub_acts_for_itself_with_a_key(bench: Bench) -> None:
    pem, bench.server.public_key = key()
    definition = Definition(
        grant_type=GrantType.CLIENT_CREDENTIALS,
        client_id="machine",
        token_endpoint_auth_method=TokenAuthMethod.PRIVATE_KEY_JWT,
    )
    await bench.configure(definition, Secrets(private_key=pem))
    assert (await bench.start()).state is FlowState.COMPLETED
    other, _ = key()
    await bench.configure(definition, Secrets(private_key=other))
    refused = await bench.start()
    assert (refused.state, refused.error) == (FlowState.FAILED, "the token endpoint: invalid_client")
    await bench.configure(definition, Secrets(private_key="no key"))
    assert (await bench.start()).error == "the client's private key cannot sign"


async def test_an_identity_provider_vouches(bench: Bench) -> None:
    bench.server.clients["app"] = {"client_secret": "s"}
    definition = Definition(
        grant_type=GrantType.ENTERPRISE_MANAGED_AUTHORIZATION,
        client_id="app",
        enterprise=Enterprise(f"{bench.server.url}/idp", "app at the provider"),
    )
    await bench.configure(definition, Secrets(client_secret="s", subject_token="who"))
    assert (await bench.start()).state is FlowState.COMPLETED
    assert bench.server.sent("/token")[0]["assertion"] == "jag for who"
    assert isinstance(await bench.carried(), Authorization)


async def test_a_device_is_asked_about_until_somebody_consents(bench: Bench, clock: FakeClock) -> None:
    await bench.configure(Definition(grant_type=GrantType.DEVICE_AUTHORIZATION))
    flow = await bench.start()
    assert flow.shown is not None
    assert flow.shown["user_code"] == "ABCD-EFGH"
    tenant = flow.tenant_id
    assert (await bench.engine.advance(tenant, flow.id)).state is FlowState.WAITING
    assert bench.server.sent("/token") == [], "its interval is not over"
    clock.advance(5)
    assert (await bench.engine.advance(tenant, flow.id)).state is FlowState.WAITING
    bench.server.faults["/token"] = [{"error": "slow_down"}]
    clock.advance(5)
    assert (await bench.engine.advance(tenant, flow.id)).context["interval"] == 10
    bench.server.device_approved = True
    clock.advance(5)
    assert (await bench.engine.advance(tenant, flow.id)).state is FlowState.WAITING
    clock.advance(5)
    assert (await bench.engine.advance(tenant, flow.id)).state is FlowState.COMPLETED
    assert isinstance(await bench.carried(), Authorization)


async def test_a_device_flow_expires(bench: Bench, clock: FakeClock) -> None:
    await bench.configure(Definition(grant_type=GrantType.DEVICE_AUTHORIZATION))
    flow = await bench.start()
    clock.advance(301)
    assert (await bench.engine.advance(flow.tenant_id, flow.id)).state is FlowState.EXPIRED
    assert bench.server.sent("/token") == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"pkce": False}, "the authorization server does not offer PKCE with S256"),
        (
            {"metadata": {"issuer": "https://evil.example"}},
            "the authorization server's metadata names another issuer",
        ),
        (
            {"resource_metadata": {"resource": "https://evil.example/mcp"}},
            "the server's metadata is about another resource",
        ),
        (
            {"metadata": {"token_endpoint": "http://10.0.0.1/token"}},
            "an address that a server names is refused: the URL is not https",
        ),
        (
            {"metadata": {"authorization_endpoint": "javascript:alert(1)"}},
            "an address that a server names is refused: the URL is not absolute",
        ),
        (
            {"resource_metadata": {"authorization_servers": ["https://10.0.0.1"]}},
            "an address that a server names is refused: the hub does not call there",
        ),
    ],
)
async def test_what_cannot_be_trusted_ends_the_flow(
    bench: Bench, changed: dict[str, Any], reason: str
) -> None:
    for name, value in changed.items():
        setattr(bench.server, name, value)
    await bench.configure()
    flow = await bench.start()
    assert (flow.state, flow.error) == (FlowState.FAILED, reason)
    assert bench.server.sent("/register") == []


@pytest.mark.parametrize("path", ["/mcp", "/register", "/token"])
async def test_a_redirect_is_no_answer_and_nothing_follows_it(bench: Bench, path: str) -> None:
    bench.server.faults[path] = [307]
    await bench.configure()
    flow = await bench.start()
    if path == "/token":
        flow = await bench.engine.receive(await bench.consent(flow))
    expected = FlowState.WAITING if path == "/mcp" else FlowState.FAILED
    assert flow.state is expected


async def test_a_token_endpoint_that_is_away_is_asked_again(bench: Bench, clock: FakeClock) -> None:
    await bench.configure()
    flow = await bench.start()
    bench.server.faults["/token"] = [503]
    half = await bench.engine.receive(await bench.consent(flow))
    assert half.state is FlowState.EXCHANGING
    clock.advance(6)
    assert (await bench.engine.advance(flow.tenant_id, flow.id)).state is FlowState.COMPLETED


async def test_a_device_code_is_not_asked_for_where_there_is_no_endpoint(bench: Bench) -> None:
    bench.server.metadata["device_authorization_endpoint"] = None
    await bench.configure(Definition(grant_type=GrantType.DEVICE_AUTHORIZATION))
    assert (await bench.start()).error == "the server names no device authorization endpoint"


async def test_disconnecting_revokes_and_forgets(bench: Bench) -> None:
    await bench.configure()
    await bench.authorized()
    carried = await bench.carried()
    assert isinstance(carried, Authorization)
    await bench.engine.disconnect(bench.operator, bench.server_id)
    assert not bench.server.accepts(carried.headers["Authorization"])
    known = await bench.connection()
    assert (known.state, known.client, known.renewable) == (ConnectionState.DISCONNECTED, None, False)
    assert isinstance(await bench.carried(), NeedsReauth)
    await bench.engine.disconnect(bench.operator, bench.server_id)


async def test_a_credential_never_follows_to_another_address(bench: Bench) -> None:
    bench.server.clients["given"] = {"client_secret": "its secret"}
    await bench.configure(Definition(client_id="given"), Secrets(client_secret="its secret"))
    await bench.authorized()
    command = Configure(bench.server_id, bench.server.url + "/other", Definition(client_id="given"))
    moved = await bench.platform.write(bench.operator, configure, command)
    assert (moved.state, moved.has_client_secret) == (ConnectionState.DISCONNECTED, False)
    assert isinstance(await bench.carried(), NeedsReauth)


async def test_a_code_is_left_to_its_receiver_and_taken_over_if_that_one_dies(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.configure()
    flow = await bench.start()
    answer = await bench.consent(flow)
    await bench.platform.write(SYSTEM(UUID(int=0)), received, answer)
    upkeep = OAuthUpkeep(bench.platform, bench.engine)
    await upkeep.once()
    assert bench.server.sent("/token") == [], "whoever received it tells the person, and so goes first"
    clock.advance(6)
    await upkeep.once()
    assert (await bench.engine.advance(flow.tenant_id, flow.id)).state is FlowState.COMPLETED
    assert len(bench.server.sent("/token")) == 1
