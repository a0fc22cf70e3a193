"""The rules for images that need no network."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.config import ImagePolicy
from serve_app.ingress import image_rules
from serve_app.ingress.image_rules import Budget, Refused, Rule

HOSTS = ImagePolicy(hosts=("images.example.com", "*.cdn.example.com"))


@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("https://example.com/a.png?b=c#d", ImagePolicy()),
        ("HTTPS://Example.COM:443/", ImagePolicy()),
        ("https://bücher.de/ü.png", ImagePolicy()),
        ("https://8.8.8.8/x", ImagePolicy()),
        ("https://[2606:4700::1111]/x", ImagePolicy()),
        ("https://example.com:8443/", ImagePolicy(ports=(443, 8443))),
        ("https://images.example.com/", HOSTS),
        ("https://a.b.cdn.example.com/", HOSTS),
    ],
)
def test_urls_that_may_be_fetched(url: str, policy: ImagePolicy) -> None:
    """Plain https URLs of full names or addresses pass; what they resolve to is another question."""
    assert image_rules.remote(url, policy).scheme == "https"


@pytest.mark.parametrize(
    ("url", "rule", "words"),
    [
        (
            "http://example.com/",
            Rule.SCHEME,
            "scheme 'http' is not allowed; ingress.images allows https",
        ),
        ("ftp://example.com/", Rule.SCHEME, "scheme 'ftp'"),
        ("file:///etc/passwd", Rule.SCHEME, "scheme 'file'"),
        ("gopher://example.com/", Rule.SCHEME, "scheme 'gopher'"),
        ("//example.com/", Rule.SCHEME, "scheme ''"),
        ("", Rule.SCHEME, "scheme ''"),
        (" https://example.com/", Rule.SCHEME, "scheme ' https'"),
        ("https://user@example.com/", Rule.URL, "user name or password"),
        ("https://user:secret@example.com/", Rule.URL, "user name or password"),
        ("https://example.com\\@127.0.0.1/", Rule.URL, "backslashes"),
        ("https://example.com/a b", Rule.URL, "spaces"),
        ("https://example.com/\r\nX: y", Rule.URL, "control characters"),
        ("https://example.com/" + "a" * 9000, Rule.URL, "9020 characters; 8192 are allowed"),
        ("https://①②⑦.0.0.1/", Rule.URL, "is not valid"),
        ("https://[::1/", Rule.URL, "is not valid"),
        ("https:example.com", Rule.HOST, "host ''"),
        ("https:///etc", Rule.HOST, "host ''"),
        ("https://localhost/", Rule.HOST, "host 'localhost' is neither"),
        ("https://metadata/", Rule.HOST, "host 'metadata'"),
        ("https://2130706433/", Rule.HOST, "host '2130706433'"),
        ("https://0x7f000001/", Rule.HOST, "host '0x7f000001'"),
        ("https://0177.0.0.1/", Rule.URL, "URL 'https://0177.0.0.1/' is not valid"),
        ("https://127.1/", Rule.HOST, "host '127.1'"),
        ("https://%31%32%37.0.0.1/", Rule.HOST, "host '%31%32%37.0.0.1'"),
        ("https://example.com./", Rule.HOST, "host 'example.com.'"),
        ("https://[fe80::1%25eth0]/", Rule.HOST, "host 'fe80::1%25eth0'"),
        ("https://[0:0:0:0:0:0:0:1]/", Rule.HOST, "host '0:0:0:0:0:0:0:1'"),
        ("https://example.com:8443/", Rule.PORT, "port 8443 is not allowed; ingress.images.ports allows 443"),
        ("https://example.com:0/", Rule.PORT, "port 0"),
        ("https://example.com:99999/", Rule.PORT, "port 99999"),
    ],
)
def test_urls_that_may_not(url: str, rule: Rule, words: str) -> None:
    """Whatever is not a plain https URL is refused, with the rule and both values."""
    with pytest.raises(Refused) as refused:
        image_rules.remote(url, ImagePolicy())
    assert refused.value.rule is rule
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://cdn.example.com/",
        "https://xcdn.example.com/",
        "https://images.example.com.evil.org/",
    ],
)
def test_hosts_that_are_not_on_the_list(url: str) -> None:
    """With a list only its hosts pass; a suffix stands for names below it, not for itself."""
    with pytest.raises(Refused, match=r"hosts allows images\.example\.com, \*\.cdn\.example\.com") as refused:
        image_rules.remote(url, HOSTS)
    assert refused.value.rule is Rule.HOST


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_no_text_is_a_surprise(text: str) -> None:
    """Any text is either a URL that may be fetched or refused in words; nothing else is raised."""
    for url in (text, "https://" + text, "https://example.com" + text):
        try:
            assert image_rules.remote(url, ImagePolicy()).scheme == "https"
        except Refused as refused:
            str(refused).encode()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (ImagePolicy(https=False), "allows none"),
        (ImagePolicy(https=False, data=False), "allows none"),
    ],
)
def test_https_can_be_off(policy: ImagePolicy, words: str) -> None:
    """An operator can switch fetching off altogether."""
    with pytest.raises(Refused, match=words):
        image_rules.remote("https://example.com/", policy)


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "DATA:Image/SVG+xml;Base64,AAAA"])
def test_data_urls(url: str) -> None:
    """A data URL's payload is what stands behind its one comma."""
    assert image_rules.data_payload(url) == "AAAA"


@pytest.mark.parametrize(
    "url",
    [
        "data:text/html;base64,AAAA",
        "data:;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/png;charset=x;base64,AAAA",
        "data:image/png ;base64,AAAA",
        "data:image/png;base64;AAAA",
        "data://image/png;base64,AAAA",
        "data:",
    ],
)
def test_data_urls_of_other_kinds(url: str) -> None:
    """Only images in base64 pass."""
    with pytest.raises(Refused) as refused:
        image_rules.data_payload(url)
    assert refused.value.rule is Rule.URL


@settings(max_examples=50)
@given(st.binary(max_size=50))
def test_data_bytes(content: bytes) -> None:
    """The size is known before anything is decoded."""
    assert image_rules.data_bytes(base64.b64encode(content).decode()) == len(content)


def test_budget() -> None:
    """The images of a request have one sum."""
    budget = Budget(ImagePolicy(max_bytes=10, max_total_bytes=10))
    budget.take(6)
    budget.take(4)
    with pytest.raises(
        Refused, match=r"at least 11 bytes together; ingress\.images\.max_total_bytes allows 10"
    ):
        budget.take(1)
