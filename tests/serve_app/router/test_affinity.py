"""What is believed to be cached where, in bounded memory."""

from serve_app.router.affinity import MAX_HOLDERS, Affinity
from serve_app.types import Block, Effort, RequestFeatures


def request(*keys: int, session: str | None = None) -> RequestFeatures:
    """Return a request whose prompt has these beginnings, 100 tokens more each."""
    blocks = tuple(Block(key, 100 * (i + 1)) for i, key in enumerate(keys))
    return RequestFeatures(Effort.NONE, blocks=blocks, session=session)


def test_the_longest_common_beginning() -> None:
    """Each replica has as much of a prompt as the longest beginning that was sent there."""
    affinity = Affinity()
    affinity.remember(request(1, 2, 3), "a")
    affinity.remember(request(1, 2, 4), "b")
    affinity.remember(request(5), "c")
    assert affinity.cached_tokens(request(1, 2, 3, 9)) == {"a": 300, "b": 200}
    assert affinity.cached_tokens(request(1, 7)) == {"a": 100, "b": 100}
    assert affinity.cached_tokens(request(8, 9)) == {}
    assert affinity.cached_tokens(request()) == {}


def test_sessions() -> None:
    """A session is where its last request went; without one there is nothing to know."""
    affinity = Affinity()
    affinity.remember(request(session="s"), "a")
    affinity.remember(request(session="s"), "b")
    affinity.remember(request(), "c")
    assert affinity.session(request(session="s")) == "b"
    assert affinity.session(request(session="other")) is None
    assert affinity.session(request()) is None


def test_memory_is_bounded() -> None:
    """The least lately used goes first, and of one prompt the longest beginning."""
    affinity = Affinity(max_blocks=4, max_sessions=2)
    affinity.remember(request(1, 2, session="s1"), "a")
    affinity.remember(request(3, 4, session="s2"), "b")
    affinity.remember(request(1, 5, session="s3"), "c")
    assert repr(affinity) == "<Affinity 4 blocks, 2 sessions>"
    assert affinity.cached_tokens(request(1, 2)) == {"a": 100, "c": 100}
    assert affinity.cached_tokens(request(3, 4)) == {"b": 200}
    assert affinity.session(request(session="s1")) is None
    assert affinity.session(request(session="s2")) == "b"


def test_holders_are_bounded() -> None:
    """Of a beginning that everybody has, the latest few are remembered."""
    affinity = Affinity()
    for number in range(MAX_HOLDERS + 2):
        affinity.remember(request(1), f"r{number}")
    assert list(affinity.cached_tokens(request(1))) == [f"r{n}" for n in range(MAX_HOLDERS + 1, 1, -1)]
