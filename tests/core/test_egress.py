"""Outbound rules: which URLs are accepted, which addresses are called, and what an operator may except.

Addresses are from the IANA special-purpose registries (RFC 6890 and successors) and cloud documentation.
"""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.egress import Allowed, BadTarget, Blocked, check_address, parse_target

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "192.0.1.1",
    "172.32.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com",
        "https://example.com/hook?x=1&y=a%20b",
        "https://example.com:8443/x",
        "https://example.com:80/x",
        "https://8.8.8.8/x",
        "https://[2606:4700::1111]/x",
        "HTTPS://EXAMPLE.com/",
        "https://bücher.example/",
        "https://sub_domain.example.com/",
    ],
)
def test_an_ordinary_https_url_is_accepted(text: str) -> None:
    assert parse_target(text).scheme == "https"


def test_what_is_stored_is_what_was_judged() -> None:
    assert str(parse_target("HTTPS://EXAMPLE.com:443/a/../b")) == "https://example.com/b"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://example.com", "https"),
        ("ftp://example.com", "https"),
        ("file:///etc/passwd", "https"),
        ("javascript:alert(1)", "absolute"),
        ("//example.com/x", "absolute"),
        ("/x", "absolute"),
        ("", "absolute"),
        ("https:///x", "absolute"),
        ("https:example.com", "absolute"),
        ("https://user@example.com", "user name"),
        ("https://user:pass@example.com", "user name"),
        ("https://@example.com", "user name"),
        ("https://example.com/#", "fragment"),
        ("https://example.com/#x", "fragment"),
        ("https://example.com/\r\nHost: evil", "control"),
        ("https://example.com/a b", "control"),
        ("https://exa\tmple.com", "control"),
        ("https://example.com/\x7f", "control"),
        ("https://example.com\\@evil.example/", "backslash"),
        ("https://[fe80::1%25eth0]/", "zone id"),
        ("https://[fe80::1%eth0]/", "zone id"),
        ("https://ex%61mple.com/", "escaped host"),
        ("https://a..example.com/", "neither"),
        ("https://example.com:22/", "port"),
        ("https://example.com:1023/", "port"),
        ("https://example.com:0/", "absolute"),
        ("https://example.com:99999/", "parsed"),
        ("https://intranet/", "local name"),
        ("https://localhost/", "local name"),
        ("https://localhost./", "local name"),
        ("https://a.localhost/", "local name"),
        ("https://printer.local/", "local name"),
        ("https://metadata.google.internal/", "local name"),
        ("https://METADATA.GOOGLE.INTERNAL./", "local name"),
        ("https://0x7f000001/", "neither"),
        ("https://0x7f.1/", "neither"),
        ("https://127.0x1/", "neither"),
        ("https://2130706433/", "neither"),
        ("https://127.1/", "neither"),
        ("https://0177.0.0.1/", "neither"),
        ("https://example.com/" + "x" * 2048, "longer"),
    ],
)
def test_a_url_that_breaks_a_rule_is_refused_with_the_rule(text: str, says: str) -> None:
    with pytest.raises(BadTarget, match=says):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://127.0.0.1/",
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_an_address_in_the_url_is_judged_at_once(text: str) -> None:
    with pytest.raises(Blocked):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "100.100.100.200", "127.0.0.1",
        "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::7f00:1", "::10.0.0.1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1",
        "2001:1ff::1", "2001:db8::1", "2002:a00:1::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1",
        "fd00:ec2::254", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "ff0e::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_blocked(text: str) -> None:
    with pytest.raises(Blocked):
        check_address(ip_address(text), 443)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_called(text: str) -> None:
    check_address(ip_address(text), 443)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_gets_the_same_verdict_however_ipv6_wraps_it(address: object) -> None:
    def verdict(text: str) -> bool:
        try:
            check_address(ip_address(text), 443)
        except Blocked:
            return False
        return True

    plain = verdict(str(address))
    assert [verdict(f"{prefix}{address}") for prefix in ("::", "::ffff:", "64:ff9b::")] == [plain] * 3


class TestAllowed:
    """`CROSSDOCK_OUTBOUND_ALLOW`."""

    def test_each_form_of_entry_is_read(self) -> None:
        allowed = Allowed.parse(
            "receiver, hooks.example:9000 10.0.0.0/8,[::1]:9000 fd00::/8 192.168.1.7 [::2]"
        )
        assert allowed.hosts == {"receiver"}
        assert allowed.endpoints == {("hooks.example", 9000), ("::1", 9000)}
        assert [str(network) for network in allowed.networks] == [
            "10.0.0.0/8", "fd00::/8", "192.168.1.7/32", "::2/128",
        ]  # fmt: skip
        assert Allowed.parse("") == Allowed.parse([]) == Allowed()
        assert Allowed.parse(["a", "b:9000"]) == Allowed.parse("a,b:9000")

    @pytest.mark.parametrize(
        "entry", ["10.0.0.1/8", "http://x", "a/b", "*.example.com", "host:port", "u@h", "a..b", "x:99999"]
    )
    def test_an_entry_that_means_nothing_is_named(self, entry: str) -> None:
        with pytest.raises(ValueError, match="is not a"):
            Allowed.parse(f"receiver {entry}")

    @pytest.mark.parametrize(
        ("entry", "url"),
        [
            ("receiver", "http://receiver:9000/x"),
            ("receiver:9000", "http://receiver:9000/x"),
            ("RECEIVER.local", "https://receiver.local./x"),
            ("10.0.0.0/8", "http://10.1.2.3/x"),
            ("10.1.2.3:8080", "http://10.1.2.3:8080/x"),
            ("::1", "http://[0:0::1]/x"),
            ("example.com", "http://example.com/"),
            ("127.0.0.1", "http://[::ffff:127.0.0.1]:9000/"),
        ],
    )
    def test_a_listed_target_may_be_private_and_plain(self, entry: str, url: str) -> None:
        parse_target(url, Allowed.parse(entry))

    @pytest.mark.parametrize(
        ("entry", "url"),
        [
            ("receiver:9000", "http://receiver:9001/x"),
            ("receiver", "http://receiver.example/x"),
            ("receiver.example", "http://evil.receiver.example/x"),
            ("10.0.0.0/8", "http://11.0.0.1/"),
            ("10.0.0.0/8", "http://receiver/"),
            ("receiver", "http://receiver:25/"),
            ("10.0.0.1:8080", "http://10.0.0.1:8081/"),
        ],
    )
    def test_what_is_not_listed_stays_refused(self, entry: str, url: str) -> None:
        with pytest.raises(Blocked):
            parse_target(url, Allowed.parse(entry))

    def test_a_listed_name_may_lead_to_a_private_address_and_another_may_not(self) -> None:
        allowed = Allowed.parse("receiver")
        check_address(ip_address("10.0.0.7"), 9000, host="receiver", allowed=allowed)
        with pytest.raises(Blocked):
            check_address(ip_address("10.0.0.7"), 9000, host="evil.example", allowed=allowed)

    @pytest.mark.parametrize(
        "wide", ["receiver", "169.254.0.0/16", "168.63.0.0/16", "receiver:80", "0.0.0.0/0"]
    )
    def test_metadata_needs_its_exact_address(self, wide: str) -> None:
        for text in ("169.254.169.254", "168.63.129.16", "::ffff:169.254.169.254"):
            with pytest.raises(Blocked, match="metadata"):
                check_address(ip_address(text), 80, host="receiver", allowed=Allowed.parse(wide))
            check_address(ip_address(text), 80, allowed=Allowed.parse("169.254.169.254, 168.63.129.16"))

    @pytest.mark.parametrize(
        "text", ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "::ffff:224.0.0.1"]
    )
    def test_multicast_and_unspecified_are_never_called(self, text: str) -> None:
        allowed = Allowed.parse(f"receiver, {text}, 0.0.0.0/0, ::/0")
        with pytest.raises(Blocked, match="multicast"):
            check_address(ip_address(text), 443, host="receiver", allowed=allowed)

    def test_the_hub_never_calls_itself(self) -> None:
        allowed = Allowed.parse("receiver, 127.0.0.0/8, 127.0.0.1, ::/0")
        for text in ("127.0.0.1", "::ffff:127.0.0.1"):
            with pytest.raises(Blocked, match="this hub"):
                check_address(
                    ip_address(text),
                    8080,
                    host="receiver",
                    allowed=allowed,
                    is_ours=lambda address, port: str(address) == "127.0.0.1" and port == 8080,
                )
