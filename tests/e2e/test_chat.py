"""Do clients get what they ask for, from the pool that their effort names?"""

import json
import threading

import httpx
import openai
import pytest

from serve_app.local import LocalSystem
from tests.e2e.metrics import running, total, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

MODEL = "mistral-small-4"
QUESTION = [{"role": "user", "content": "Name three rivers of France."}]
POOL_OF = {"none": "throughput", "high": "latency"}


def ask(http: httpx.Client, **fields: object) -> httpx.Response:
    """POST one chat completion of a few tokens."""
    body = {"model": MODEL, "messages": QUESTION, "max_tokens": 8, "temperature": 0} | fields
    return http.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(
    ("fields", "pool"),
    [
        ({}, "throughput"),
        ({"reasoning_effort": None}, "throughput"),
        ({"reasoning_effort": "none"}, "throughput"),
        ({"reasoning_effort": "high"}, "latency"),
    ],
)
def test_effort_chooses_the_pool(http: httpx.Client, fields: dict[str, object], pool: str) -> None:
    """None, null and no effort go to throughput, high goes to latency, and the headers say so."""
    answer = ask(http, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-venturi-pool"] == pool
    assert answer.headers["x-venturi-reason"] == "effort"
    assert answer.headers["x-venturi-replica"]
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert answer.json()["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("effort", ["none", "high"])
def test_stream_and_whole_answer_agree(client: openai.OpenAI, effort: str) -> None:
    """OpenAI's client gets the same greedy text in one piece and as a stream that ends."""

    def text(part: object) -> str:
        return (getattr(part, "reasoning", None) or "") + (getattr(part, "content", None) or "")

    asked = {
        "model": MODEL,
        "messages": QUESTION,
        "max_tokens": 24,
        "temperature": 0,
        "reasoning_effort": effort,
    }
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    chunks = list(client.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
    streamed = "".join(text(choice.delta) for chunk in chunks for choice in chunk.choices)
    assert streamed == text(whole.choices[0].message) != ""
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"reasoning_effort": "medium"}, 400, ["reasoning_effort", "'medium'", "'none'", "'high'"]),
        ({"reasoning_effort": 1}, 400, ["reasoning_effort", "1"]),
        ({"model": "gpt-4"}, 404, ["'gpt-4'", "'mistral-small-4'"]),
        ({"temperature": -1}, 400, ["temperature", "-1"]),
        ({"messages": []}, 400, []),
        ({"max_tokens": 100_000}, 400, ["100000", "8192"]),
        ({"stream": True, "max_tokens": 0}, 400, ["max_tokens"]),
        # vLLM finds this one only when the stream has begun.
        ({"stream": True, "structured_outputs": {"grammar": "start: nothing"}}, 400, ["Grammar", "nothing"]),
    ],
)
def test_bad_requests_are_refused_in_openai_shape(
    http: httpx.Client, fields: dict[str, object], status: int, words: list[str]
) -> None:
    """A request that cannot be served gets a 4xx in OpenAI's shape, also if it asked for a stream."""
    answer = ask(http, **fields)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    for word in words:
        assert word in json.dumps(error, ensure_ascii=False)
    assert answer.headers["x-venturi-reason"]
    assert answer.headers["x-request-id"]


def test_openai_client_raises_its_own_error(client: openai.OpenAI) -> None:
    """OpenAI's client turns the refusal of `medium` into BadRequestError."""
    with pytest.raises(openai.BadRequestError, match="reasoning_effort"):
        client.chat.completions.create(  # type: ignore[call-overload]
            model=MODEL, messages=QUESTION, reasoning_effort="medium"
        )


def test_models_lists_the_served_name(client: openai.OpenAI) -> None:
    """/v1/models has the one name, and its card."""
    assert [model.id for model in client.models.list().data] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_drafts_are_made_and_accepted_in_the_latency_pool_only(http: httpx.Client) -> None:
    """EAGLE's counters grow with a request at high, and the throughput pool has none."""
    before = total(http, "vllm:spec_decode_num_accepted_tokens_total", pool="latency")
    ask(http, reasoning_effort="high", max_tokens=64, ignore_eos=True)
    wait_until(
        lambda: total(http, "vllm:spec_decode_num_accepted_tokens_total", pool="latency") > before, 5.0
    )
    ask(http, reasoning_effort="none", max_tokens=64, ignore_eos=True)
    assert total(http, "vllm:spec_decode_num_drafts_total", may_lack=True, pool="throughput") == 0


@pytest.mark.parametrize("effort", ["none", "high"])
def test_an_answer_of_fixed_length(http: httpx.Client, effort: str) -> None:
    """With `ignore_eos` an answer goes on behind its end, as benchmarks want it."""
    answer = ask(http, reasoning_effort=effort, max_tokens=200, ignore_eos=True)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 200


@pytest.mark.parametrize(
    "fields", [{"logit_bias": {"1278": 100}}, {"min_p": 0.1}, {"allowed_token_ids": [1278, 2000]}]
)
def test_what_a_draft_head_does_not_honour_goes_elsewhere(
    http: httpx.Client, fields: dict[str, object]
) -> None:
    """A request that speculation would refuse, or get wrong, is served without it, at its own effort."""
    answer = ask(http, reasoning_effort="high", **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-venturi-pool"] == "throughput"
    assert answer.headers["x-venturi-reason"] == "plain-decoding"


def test_a_large_body_reaches_the_engine(http: httpx.Client) -> None:
    """A body of the size that images have is served: no hop on the way has a limit of its own."""
    answer = ask(http, user="x" * 6 * 2**20)
    assert answer.status_code == 200, answer.text


def test_same_request_id_twice_at_once_is_served_twice(http: httpx.Client) -> None:
    """A client that repeats its x-request-id gets an answer each time."""
    statuses: list[int] = []

    def post() -> None:
        body = {"model": MODEL, "messages": QUESTION, "max_tokens": 64, "ignore_eos": True}
        answer = http.post("/v1/chat/completions", json=body, headers={"x-request-id": "twice"})
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4


@pytest.mark.parametrize("effort", ["none", "high"])
@pytest.mark.parametrize("stream", [True, False])
def test_engine_is_idle_soon_after_the_client_is_gone(http: httpx.Client, effort: str, stream: bool) -> None:
    """A client that leaves in mid-answer frees the engine within 2 s, streaming or not."""
    num_tokens = 8000
    body = {
        "model": MODEL,
        "messages": QUESTION,
        "reasoning_effort": effort,
        "stream": stream,
        "max_tokens": num_tokens,
        "min_tokens": num_tokens,
        "temperature": 0,
    }
    pool = POOL_OF[effort]
    before = total(http, "vllm:generation_tokens_total", pool=pool)
    if stream:
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/chat/completions", json=body, timeout=1.5)
    wait_until(lambda: running(http, pool) == 0, 2.0)
    generated = total(http, "vllm:generation_tokens_total", pool=pool) - before
    assert 0 < generated < num_tokens, "the engine stopped because it was told to, not because it was done"


def test_ready_and_health(http: httpx.Client) -> None:
    """The ingress is alive, and both efforts have a healthy replica."""
    assert http.get("/health").json() == {"status": "alive"}
    ready = http.get("/ready").json()
    assert ready["status"] == "ready"
    assert ready["healthy_replicas"] == {"throughput": 1, "latency": 1}


def test_dashboard_shows_the_deployments_healthy(system: LocalSystem) -> None:
    """Ray's dashboard and its REST API show the application and each deployment healthy."""
    assert httpx.get(system.dashboard_url).status_code == 200
    apps = system.applications()
    assert apps is not None
    deployments = apps["venturi"]["deployments"]
    assert {name: d["status"] for name, d in deployments.items()} == dict.fromkeys(
        ("ingress", "throughput", "latency"), "HEALTHY"
    )
