"""What a keys file may say, and with which words one is refused."""

import json

import pytest

from serve_app.errors import ConfigError
from serve_app.ingress.auth import key_hash, parse
from serve_app.types import Effort

HASH = key_hash(b"vk-one")


def text(*tenants: str) -> str:
    """Return a keys file with these lines below `tenants:`."""
    return "\n".join(["tenants:", *tenants, ""])


def problems(content: str) -> list[str]:
    """Return the lines with which a keys file is refused."""
    with pytest.raises(ConfigError) as refused:
        parse(content, "keys.yaml")
    return refused.value.problems


def test_a_whole_file() -> None:
    """Everything that may stand in a keys file, and what holds when it does not."""
    search, chat = parse(
        text(
            f"- name: search\n  keys: [{HASH}]\n  requests_per_min: 600\n  tokens_per_min: 90000",
            "  concurrent_requests: 8\n  efforts: [none]\n  priority: -1",
            "- {name: chat}",
        ),
        "keys.yaml",
    )
    assert (search.requests_per_min, search.tokens_per_min, search.concurrent_requests) == (600, 90000, 8)
    assert (search.keys, search.efforts, search.priority) == ((HASH,), (Effort.NONE,), -1)
    assert (chat.keys, chat.requests_per_min, chat.efforts, chat.priority) == ((), None, tuple(Effort), 0)


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json(indent: int | str | None) -> None:
    """A keys file may be JSON, written by whatever program."""
    tree = {"tenants": [{"name": "search", "keys": [HASH], "priority": 2}]}
    (search,) = parse(json.dumps(tree, indent=indent), "keys.json")
    assert (search.name, search.keys, search.priority) == ("search", (HASH,), 2)


def test_merged_keys() -> None:
    """A tenant may take over what another has (`<<`), but for what it says itself."""
    search, chat = parse(text("- &a {name: search, priority: 2}", "- {<<: *a, name: chat}"), "keys.yaml")
    assert (search.name, search.priority) == ("search", 2)
    assert (chat.name, chat.priority) == ("chat", 2)


def test_nobody() -> None:
    """A list without a tenant is valid: that is how everyone is shut out."""
    assert parse("tenants: []", "keys.yaml") == ()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("", ["keys.yaml, line 1: must be a mapping with 'tenants'"]),
        ("- a", ["keys.yaml, line 1: must be a mapping with 'tenants'"]),
        ("{}", ["keys.yaml, line 1: tenants: is required"]),
        ("a: [1\nb: 2", ["keys.yaml, line 2: not YAML: expected ',' or ']', but got ':'"]),
        (
            '{"tenants": [\n{"name": "a",}\n,,]}',
            ["keys.yaml, line 3: not YAML: expected the node content, but found ','"],
        ),
        ("tenants: \0", ["keys.yaml: not YAML: cannot be read"]),
        ("tenants: []\ntenants: []", ["keys.yaml, line 2: 'tenants' stands twice in one mapping"]),
        (
            text("- name: a", "  prority: 1"),
            ["keys.yaml, line 2: tenants.0.prority: unknown key; did you mean 'priority'?"],
        ),
        (
            text("- name: a", "  priority: 1", "  requests_per_min: 0"),
            [
                "keys.yaml, line 4: tenants.0.requests_per_min: "
                "Input should be greater than or equal to 1, not 0"
            ],
        ),
        (
            text("- name: a", "  efforts: [none, low]"),
            ["keys.yaml, line 3: tenants.0.efforts.1: Input should be 'none' or 'high', not 'low'"],
        ),
        (
            text("- {name: a}", "- {name: b}", "- {name: a}"),
            ["keys.yaml, line 1: tenants: 'a' stands there more than once"],
        ),
        (
            text(f"- {{name: a, keys: ['{HASH}']}}", f"- {{name: b, keys: ['{HASH}']}}"),
            ["keys.yaml, line 1: tenants: one key hash stands at 'a' and at 'b'"],
        ),
        (
            text("- name: a", "  requests_per_min: no", "- priority: 1.5"),
            [
                "keys.yaml, line 3: tenants.0.requests_per_min: Input should be a valid integer, not False",
                "keys.yaml, line 4: tenants.1.name: is required",
                "keys.yaml, line 4: tenants.1.priority: Input should be a valid integer, not 1.5",
            ],
        ),
    ],
)
def test_what_is_refused(content: str, lines: list[str]) -> None:
    """Each mistake gives one line, with the file, the line in it, the path and what is wrong."""
    assert problems(content) == lines


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            text("- name: a", "  keys:", f"  - {HASH}", "  - vk-secret"),
            "keys.yaml, line 5: tenants.0.keys.1: must be 'sha256:' and 64 hexadecimal digits, not these "
            "9 characters; 'python -m serve_app key' makes one",
        ),
        (
            text("- {name: a, keys: vk-secret}"),
            "keys.yaml, line 2: tenants.0.keys: Input should be a valid tuple, not what stands there",
        ),
        (
            text("- vk-secret"),
            "keys.yaml, line 2: tenants.0: Input should be a valid dictionary or instance of Tenant, "
            "not what stands there",
        ),
        (
            text("- {name: vk-secret.}"),
            "keys.yaml, line 2: tenants.0.name: String should match pattern '^[a-z][a-z0-9-]{0,40}$', "
            "not what stands there",
        ),
        (
            text("- {name: a, vk-secret: 1}"),
            "keys.yaml, line 2: tenants.0.vk-…: unknown key; known: concurrent_requests, efforts, keys, "
            "name, operator, priority, requests_per_min, tokens_per_min",
        ),
        (text("- *vk-secret"), "keys.yaml, line 2: not YAML: found undefined alias 'vk-…'"),
    ],
)
def test_a_key_in_the_wrong_place(content: str, line: str) -> None:
    """Whoever writes a key where its hash belongs does not find it in the log."""
    assert problems(content) == [line]
