"""Settings come from the environment once, whole, and say what is wrong in words that help."""

from pathlib import Path

import pytest

from hub.settings import Settings, SettingsError, documented, unknown

LONG = "s" * 32


def test_nothing_set_means_a_hub_for_this_machine_alone() -> None:
    settings = Settings.from_env({})
    assert settings.database_url == "sqlite:///crossdock.db"
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.address() == "http://127.0.0.1:8080"
    assert settings.secret_key is None
    settings.check_binding()


def test_the_documented_defaults_are_the_real_ones() -> None:
    plain = {"database_url", "host", "port", "log_format"}
    defaults = Settings.from_env({})
    for setting in documented():
        if setting.name in plain:
            assert str(getattr(defaults, setting.name)) == setting.default


def test_every_documented_example_that_is_no_shell_expression_can_be_used() -> None:
    for setting in documented():
        if not setting.example.startswith("$("):
            Settings.from_env({setting.variable: setting.example})


def test_every_setting_is_read_from_its_variable() -> None:
    environ = {
        "CROSSDOCK_DATABASE_URL": "postgres://u@h/d",
        "CROSSDOCK_FILES": "/var/lib/crossdock",
        "CROSSDOCK_HOST": "0.0.0.0",
        "CROSSDOCK_PORT": "0",
        "CROSSDOCK_GRPC_PORT": "50051",
        "CROSSDOCK_PUBLIC_URL": "https://hub.example.com/x/",
        "CROSSDOCK_SECRET_KEY": LONG,
        "CROSSDOCK_SECRET_KEY_PREVIOUS": LONG + "p",
        "CROSSDOCK_ADMIN_API_KEY": "k" * 24,
        "CROSSDOCK_ALLOWED_HOSTS": "a.internal, b.internal:81",
        "CROSSDOCK_ALLOWED_ORIGINS": "https://a.example",
        "CROSSDOCK_TRUSTED_PROXIES": "10.0.0.0/8,::1",
        "CROSSDOCK_OUTBOUND_ALLOW": "10.0.0.7 tools.internal:9000",
        "CROSSDOCK_MCP_ISSUERS": "https://login.example.com, https://other.example/",
        "CROSSDOCK_MCP_SCOPE": "mcp:tools",
        "CROSSDOCK_OAUTH_CLIENT_URL": "https://www.example.com/client.json",
        "CROSSDOCK_DELIVERY_RETRIES": "1s, 2m",
        "CROSSDOCK_ALLOW_HTTP": "yes",
        "CROSSDOCK_COOKIES": "1",
        "CROSSDOCK_DRAIN_SECONDS": "1500ms",
        "CROSSDOCK_LOG_LEVEL": "debug",
        "CROSSDOCK_LOG_FORMAT": "json",
        "CROSSDOCK_A2A_BLOCKING_SECONDS": "2m",
        "CROSSDOCK_URL": "https://hub.example.com",
        "CROSSDOCK_API_KEY": "k",
    }
    assert set(environ) == {setting.variable for setting in documented()}
    assert Settings.from_env(environ) == Settings(
        database_url="postgresql://u@h/d",
        files="/var/lib/crossdock",
        host="0.0.0.0",
        port=0,
        grpc_port=50051,
        public_url="https://hub.example.com/x",
        secret_key=LONG,
        secret_key_previous=LONG + "p",
        admin_api_key="k" * 24,
        allowed_hosts=("a.internal", "b.internal:81"),
        allowed_origins=("https://a.example",),
        trusted_proxies=("10.0.0.0/8", "::1"),
        outbound_allow=("10.0.0.7", "tools.internal:9000"),
        mcp_issuers=("https://login.example.com", "https://other.example/"),
        mcp_scope="mcp:tools",
        oauth_client_url="https://www.example.com/client.json",
        delivery_retries=(1.0, 120.0),
        allow_http=True,
        cookies=True,
        drain_seconds=1.5,
        log_level="DEBUG",
        log_format="json",
        a2a_blocking_seconds=120.0,
        url="https://hub.example.com",
        api_key="k",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CROSSDOCK_DATABASE_URL", "mysql://h/d"),
        ("CROSSDOCK_DATABASE_URL", "sqlite:///:memory:"),
        ("CROSSDOCK_DATABASE_URL", "sqlite://"),
        ("CROSSDOCK_PORT", "65536"),
        ("CROSSDOCK_PORT", "-1"),
        ("CROSSDOCK_PUBLIC_URL", "hub.example.com"),
        ("CROSSDOCK_PUBLIC_URL", "https://user@hub.example.com"),
        ("CROSSDOCK_PUBLIC_URL", "https://hub.example.com/?a=b"),
        ("CROSSDOCK_SECRET_KEY", "s" * 31),
        ("CROSSDOCK_ADMIN_API_KEY", "k" * 23),
        ("CROSSDOCK_ADMIN_API_KEY", "a key with a tab\tinside it, which no header carries"),
        ("CROSSDOCK_ALLOWED_ORIGINS", "https://a.example/path"),
        ("CROSSDOCK_TRUSTED_PROXIES", "proxy.internal"),
        ("CROSSDOCK_ALLOW_HTTP", "maybe"),
        ("CROSSDOCK_DRAIN_SECONDS", "-5"),
        ("CROSSDOCK_LOG_LEVEL", "loud"),
        ("CROSSDOCK_LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_a_value_that_works(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({variable: value})
    assert refusal.value.key == variable
    assert f"for example {variable}={refusal.value.example}" in str(refusal.value)


def test_a_refused_secret_is_not_repeated() -> None:
    for variable in ("CROSSDOCK_SECRET_KEY", "CROSSDOCK_ADMIN_API_KEY"):
        with pytest.raises(SettingsError) as refusal:
            Settings.from_env({variable: "hunter2"})
        assert "hunter2" not in str(refusal.value)


def test_secrets_are_not_in_the_repr() -> None:
    settings = Settings.from_env(
        {
            "CROSSDOCK_SECRET_KEY": LONG,
            "CROSSDOCK_SECRET_KEY_PREVIOUS": LONG + "p",
            "CROSSDOCK_ADMIN_API_KEY": "k" * 24,
            "CROSSDOCK_API_KEY": "q" * 24,
        }
    )
    for secret in (LONG, "k" * 24, "q" * 24):
        assert secret not in repr(settings)


def test_each_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(LONG + "\n")
    secrets = [setting for setting in documented() if setting.secret]
    assert len(secrets) == 4
    for setting in secrets:
        settings = Settings.from_env({f"{setting.variable}_FILE": str(tmp_path / "s")})
        assert getattr(settings, setting.name) == LONG


def test_a_secret_given_twice_or_in_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for environ in (
        {"CROSSDOCK_SECRET_KEY": LONG, "CROSSDOCK_SECRET_KEY_FILE": "/dev/null"},
        {"CROSSDOCK_SECRET_KEY_FILE": str(tmp_path / "missing")},
        {"CROSSDOCK_SECRET_KEY_FILE": str(tmp_path / "empty")},
    ):
        with pytest.raises(SettingsError, match="CROSSDOCK_SECRET_KEY"):
            Settings.from_env(environ)


def test_an_empty_value_is_no_value() -> None:
    assert Settings.from_env({"CROSSDOCK_PORT": " ", "CROSSDOCK_SECRET_KEY": ""}) == Settings()


def test_a_misspelt_setting_is_named_with_the_nearest_that_exists() -> None:
    assert unknown({"CROSSDOCK_PUBLC_URL": "x", "HOME": "/"}) == [
        "CROSSDOCK_PUBLC_URL is not a setting; did you mean CROSSDOCK_PUBLIC_URL?"
    ]
    assert (
        unknown({"CROSSDOCK_PORT": "1", "CROSSDOCK_API_KEY_FILE": "f", "CROSSDOCK_TEST_POSTGRES_URL": "u"})
        == []
    )


def test_a_flag_beats_the_environment() -> None:
    settings = Settings.from_env({"CROSSDOCK_PORT": "9000", "CROSSDOCK_HOST": "::1"})
    assert settings.with_flags(port="0", host=None).port == 0
    assert settings.with_flags(port="0", host=None).host == "::1"
    with pytest.raises(SettingsError, match="CROSSDOCK_PORT"):
        settings.with_flags(port="many")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    Settings(host=host).check_binding()


BEYOND = {
    "CROSSDOCK_HOST": "0.0.0.0",
    "CROSSDOCK_SECRET_KEY": LONG,
    "CROSSDOCK_PUBLIC_URL": "https://hub.example.com",
}


def test_beyond_loopback_an_explicit_secret_and_an_https_address_will_do() -> None:
    """Security rule: another address needs both."""
    Settings.from_env(BEYOND).check_binding()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "hub.example.com"])
def test_beyond_loopback_the_automatic_secret_is_refused(host: str) -> None:
    """Security rule: nobody serves a network by accident."""
    with pytest.raises(SettingsError, match="CROSSDOCK_SECRET_KEY must be set"):
        Settings(host=host, public_url="https://hub.example.com").check_binding()


def test_beyond_loopback_a_missing_or_plain_http_address_is_refused() -> None:
    """Security rule: keys do not travel in the clear unless the operator says so."""
    with pytest.raises(SettingsError, match="CROSSDOCK_PUBLIC_URL must be set"):
        Settings.from_env({**BEYOND, "CROSSDOCK_PUBLIC_URL": ""}).check_binding()
    plain = {**BEYOND, "CROSSDOCK_PUBLIC_URL": "http://hub.internal"}
    with pytest.raises(SettingsError, match="must be https"):
        Settings.from_env(plain).check_binding()
    Settings.from_env({**plain, "CROSSDOCK_ALLOW_HTTP": "1"}).check_binding()


def test_beyond_loopback_no_demo_and_no_published_example_key() -> None:
    """Security rule: what everybody can read protects nothing."""
    with pytest.raises(SettingsError, match="CROSSDOCK_HOST must be loopback"):
        Settings.from_env(BEYOND).check_binding(demo=True)
    examples = {setting.name: setting.example for setting in documented()}
    published = Settings.from_env({**BEYOND, "CROSSDOCK_ADMIN_API_KEY": examples["admin_api_key"]})
    with pytest.raises(SettingsError, match="CROSSDOCK_ADMIN_API_KEY is the example"):
        published.check_binding()


def test_the_address_names_the_port_that_was_taken() -> None:
    assert Settings(port=0).address(41873) == "http://127.0.0.1:41873"
    assert Settings(host="::1").address() == "http://[::1]:8080"
    assert Settings(public_url="https://h.example/hub").address(41873) == "https://h.example/hub"
