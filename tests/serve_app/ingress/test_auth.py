"""Keys: who holds which, which one a request presents, and how a new file is noticed."""

import logging
import os
from pathlib import Path

import pytest

from serve_app.config import Auth, Tenant
from serve_app.errors import ConfigError, InvalidRequest
from serve_app.ingress import auth
from serve_app.ingress.auth import Access, Keyring, Keys, key_hash, presented_key
from serve_app.types import Headers
from tests.serve_app.ingress.test_auth_file import HASH, text

OTHER = key_hash(b"vk-two")


@pytest.mark.parametrize(
    ("settings", "host", "who"),
    [
        ({}, "127.0.0.1", Access.LOOPBACK),
        ({}, "::1", Access.LOOPBACK),
        ({}, "localhost", Access.LOOPBACK),
        ({}, "0.0.0.0", Access.CLOSED),
        ({}, "::", Access.CLOSED),
        ({}, "10.0.0.7", Access.CLOSED),
        ({}, "localhost.example.com", Access.CLOSED),
        ({}, "", Access.CLOSED),
        ({"open": True}, "0.0.0.0", Access.OPEN),
        ({"keys_file": "keys.yaml"}, "127.0.0.1", Access.KEYS),
        ({"keys_env": "KEYS"}, "0.0.0.0", Access.KEYS),
    ],
)
def test_who_may(settings: dict[str, object], host: str, who: Access) -> None:
    """Without keys only this machine may, unless the settings say that everyone may."""
    assert auth.access(Auth.model_validate(settings), host) is who


def test_new_keys_differ() -> None:
    """Keys are long, start alike and are never the same."""
    keys = {auth.new_key() for _ in range(50)}
    assert len(keys) == 50
    assert {key[:3] for key in keys} == {"vk-"}
    assert min(map(len, keys)) >= 43 + 3


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ((), None),
        (((b"authorization", b"Bearer k"),), b"k"),
        (((b"authorization", b"bearer   k "),), b"k"),
        (((b"authorization", b"Bearer "),), None),
        (((b"authorization", b"Bearer"),), None),
        (((b"authorization", b"Basic k"),), None),
        (((b"x-api-key", b"k"),), b"k"),
        (((b"x-api-key", b"k"), (b"authorization", b"Bearer k")), b"k"),
        (((b"x-api-key", b"k"), (b"authorization", b"Basic other")), b"k"),
        (((b"authorization", b"Bearer \xff"),), b"\xff"),
    ],
)
def test_the_presented_key(headers: Headers, key: bytes | None) -> None:
    """A key comes as a bearer or, from Anthropic's clients, as x-api-key; twice the same is one."""
    assert presented_key(headers) == key


@pytest.mark.parametrize(
    "headers",
    [
        ((b"authorization", b"Bearer vk-a"), (b"x-api-key", b"vk-b")),
        ((b"authorization", b"Bearer vk-a"), (b"authorization", b"Bearer vk-b")),
    ],
)
def test_two_different_keys(headers: Headers) -> None:
    """Two keys are refused, without a word of either."""
    with pytest.raises(InvalidRequest) as refused:
        presented_key(headers)
    assert str(refused.value) == "the request has 2 different API keys; send one"


def test_the_holder() -> None:
    """Each of a tenant's keys leads to it; another key, a hash, or nothing at all leads to nobody."""
    search, chat = Tenant(name="search", keys=(HASH, OTHER)), Tenant(name="chat", keys=(key_hash(b"c"),))
    ring = Keyring([search, chat])
    assert [ring.holder(key) for key in (b"vk-one", b"vk-two", b"c")] == [search, search, chat]
    assert [ring.holder(key) for key in (b"vk-ONE", b"", HASH.encode(), b"\xff")] == [None] * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A keys file with one tenant."""
    path = tmp_path / "keys.yaml"
    path.write_text(text(f"- {{name: a, keys: ['{HASH}']}}"))
    return path


def write(file: Path, content: str) -> None:
    """Replace a file in one step, as it should be done."""
    new = file.with_suffix(".new")
    new.write_text(content)
    new.rename(file)


def held(keys: Keys) -> dict[bytes, str | None]:
    """Return which tenant holds each of the two keys."""
    holders = {key: keys.ring.holder(key) for key in (b"vk-one", b"vk-two")}
    return {key: holder.name if holder else None for key, holder in holders.items()}


def test_a_new_file_is_noticed(file: Path) -> None:
    """A change counts within a second, without a restart; before, the file is not even looked at."""
    keys = Keys(Auth(keys_file=str(file)))
    assert not keys.refresh(10.0)
    write(file, text(f"- {{name: b, keys: ['{OTHER}']}}"))
    assert not keys.refresh(10.9)
    assert held(keys) == {b"vk-one": "a", b"vk-two": None}
    assert keys.refresh(11.0)
    assert held(keys) == {b"vk-one": None, b"vk-two": "b"}
    assert not keys.refresh(12.0)


def test_a_file_of_the_same_size_and_time(file: Path) -> None:
    """A file that was put in another one's place is another one, whatever its time says."""
    keys, before = Keys(Auth(keys_file=str(file))), file.stat()
    write(file, text(f"- {{name: a, keys: ['{OTHER}']}}"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys.refresh(10.0)
    assert held(keys) == {b"vk-one": None, b"vk-two": "a"}


@pytest.mark.parametrize(
    "broken", ["tenants:\n- {name: a\n- b\n", "tenants: [{name: vk-secret}, {name: 1}]", ""]
)
def test_a_broken_new_file(file: Path, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be used leaves the keys as they were, and is complained of once, with its line."""
    keys = Keys(Auth(keys_file=str(file)))
    write(file, broken)
    with caplog.at_level(logging.INFO, "ray.serve"):
        assert not keys.refresh(10.0)
        assert not keys.refresh(20.0)
    (said,) = {record.levelname for record in caplog.records}
    assert said == "ERROR"
    for message in caplog.messages:
        assert message.startswith(f"{file}, line ")
        assert message.endswith("; the keys stay as they were")
        assert "secret" not in message
    assert len(caplog.messages) == len(set(caplog.messages))
    assert held(keys) == {b"vk-one": "a", b"vk-two": None}
    write(file, text(f"- {{name: b, keys: ['{OTHER}']}}"))
    assert keys.refresh(30.0)


def test_a_file_that_goes(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without its file the keys stay as they were, too; when it is back it counts."""
    keys, content = Keys(Auth(keys_file=str(file))), file.read_text()
    file.unlink()
    assert not keys.refresh(10.0)
    assert caplog.messages == [f"{file}: No such file or directory; the keys stay as they were"]
    assert held(keys)[b"vk-one"] == "a"
    file.write_text(content)
    assert keys.refresh(20.0)


@pytest.mark.parametrize(
    ("content", "line"), [(None, "No such file or directory"), (b"\xff", "not UTF-8 text")]
)
def test_a_start_without_keys(tmp_path: Path, content: bytes | None, line: str) -> None:
    """A replica whose keys cannot be read does not start: it would shut everyone out."""
    path = tmp_path / "keys.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        Keys(Auth(keys_file=str(path)))
    assert refused.value.problems == [f"{path}: {line}"]


def test_keys_in_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may hold the same text as a file, also beside one, but no tenant twice."""
    monkeypatch.setenv("KEYS", text(f"- {{name: b, keys: ['{OTHER}']}}"))
    only = Keys(Auth(keys_env="KEYS"))
    assert held(only) == {b"vk-one": None, b"vk-two": "b"}
    assert not only.refresh(10.0)
    both = Auth(keys_env="KEYS", keys_file=str(file))
    assert held(Keys(both)) == {b"vk-one": "a", b"vk-two": "b"}
    monkeypatch.setenv("KEYS", text("- name: a"))
    with pytest.raises(ConfigError, match=rf"^{file} and \$KEYS: tenants: 'a' stands there more than once$"):
        Keys(both)
    monkeypatch.setenv("KEYS", text("- nam: b"))
    with pytest.raises(ConfigError, match=r"^\$KEYS, line 2: tenants.0.nam: unknown key"):
        Keys(both)
    monkeypatch.delenv("KEYS")
    with pytest.raises(ConfigError, match=r"^ingress.auth.keys_env: 'KEYS' is not set$"):
        Keys(both)
