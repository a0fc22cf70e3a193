"""The growing pool is asked, watched and put to sleep; here a scripted one."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.bench import growth
from tests.bench.growth import Growth, Sleep, Watch
from tests.bench.mixed import Load
from tests.bench.outcomes import Outcome

SYSTEM: Any = SimpleNamespace(
    file=SimpleNamespace(url="", settings=SimpleNamespace(model=SimpleNamespace(name="m")))
)
TREE: Any = {"applications": [{"args": {"pools": {growth.POOL: {"autoscaling": growth.AUTOSCALING}}}}]}


class Busy(Growth):
    """Has two replicas while more than two requests are under way."""

    num_ongoing = 0
    lock = threading.Lock()

    def replicas(self) -> list[str]:
        """Return who is needed."""
        return ["a", "b"] if self.num_ongoing > 2 else ["a"]

    def answer(self, load: Load) -> list[Outcome]:
        """Answer in a twentieth of a second."""
        (arrival,) = load.arrivals
        with self.lock:
            self.num_ongoing += 1
        time.sleep(0.05)
        with self.lock:
            self.num_ongoing -= 1
        return [Outcome(arrival.kind.effort, 0.0, 0.0, 0.05, 4, 4, 0.01, 0.05, replica="a")]


def test_a_pool_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clients ask all the time, and four more until there have been two replicas for a while."""
    monkeypatch.setattr(growth, "ALONE_S", 0.3)
    monkeypatch.setattr(growth, "BOTH_S", 0.3)
    monkeypatch.setattr(growth, "LOOK_PERIOD_S", 0.01)
    with ThreadPoolExecutor(8) as clients, httpx.Client() as http:
        pool = Busy(SYSTEM, TREE, http, clients)
        monkeypatch.setattr(growth, "run", pool.answer)
        course = pool.follow(2, 6)
    assert [num_clients for _, num_clients in course.phases] == [2, 6, 2]
    assert (course.numbers[0], max(course.numbers), course.numbers[-1]) == (1, 2, 1)
    assert {stage.num_clients for stage in course.stages() if stage.num_replicas == 2} >= {6}
    assert course.num_lost == 0


def test_a_pool_sleeps_and_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks before it sleeps; then it is asked until it answers, and each refusal is noted."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        match request.url.path, asked.count(request.url.path):
            case "/venturi/pools", 1:
                raise httpx.ConnectError("the ingress is replaced")
            case "/venturi/pools", number if number < 4:
                return httpx.Response(200, json={"data": [{"replicas": [{"replica": "a"}]}]})
            case "/venturi/pools", _:
                return httpx.Response(200, json={"data": [{"replicas": []}]})
            case "/v1/chat/completions", 1:
                error = {"message": "it sleeps", "type": "server_error", "code": "no_replica"}
                return httpx.Response(503, json={"error": error}, headers={"retry-after": "0"})
        return httpx.Response(200)

    deployed: list[Any] = []
    monkeypatch.setattr(growth, "redeploy", lambda _, tree: deployed.append(tree))
    with (
        ThreadPoolExecutor(1) as clients,
        httpx.Client(transport=httpx.MockTransport(answer), base_url="http://there") as http,
    ):
        slept = Growth(SYSTEM, TREE, http, clients).sleep()
    (tree,) = deployed
    assert tree["applications"][0]["args"]["pools"][growth.POOL]["autoscaling"]["min_replicas"] == 0
    assert (slept.ready_asleep, slept.refused, slept.num_lost) == (200, ((503, "no_replica"),), 0)
    assert Sleep(1.0, 200, ((503, None),), 2.0).num_lost == 1


def test_only_changes_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    """An ingress that does not answer changes nothing."""

    def looks() -> Iterator[list[str]]:
        yield from (["a"], ["a"])
        raise httpx.ConnectError("gone")

    seen = looks()
    watch = Watch(lambda: next(seen), began_s=time.time())
    for _ in range(3):
        watch.look()
    assert [there for _, there in watch.changes] == [{"a"}]
    assert capsys.readouterr().err.endswith("s: replicas 1\n")
    assert watch.has_seen(1, for_s=1.0) is False
    assert (watch.has_seen(1), watch.has_seen(2)) == (True, False)
