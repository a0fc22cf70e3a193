"""Is the OpenAPI document true, and does whatever it allows get an answer that is no fault of ours?"""

import json
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from starlette.testclient import TestClient

from serve_app.config import Ingress
from serve_app.ingress.dialects import DIALECTS
from tests.serve_app.samples import System, api, client, head, system

EVERYONE = Ingress.model_validate({"auth": {"open": True}})
MAX_EXAMPLES = 8
"""Of each operation. The whole system gets many more, see CONTRIBUTING.md."""


@pytest.fixture(scope="module")
def engines() -> bytes:
    """The document of vLLM's own server."""
    from vllm.entrypoints.launchers.app import build_app

    from serve_app.engine.vllm import server_namespace

    return json.dumps(build_app(server_namespace({}), ("generate",), None).openapi()).encode()


def answering(content: bytes, status: int = 200) -> System:
    """Two pools that answer everything with `content`."""
    return system({"t1": (head("t1", status=status), content)}, {"l1": (head("l1", status=status), content)})


async def told(content: bytes, status: int = 200) -> dict[str, Any]:
    """The document, where an engine's is `content`."""
    async with client(api(answering(content, status))) as http:
        answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def schema_of(found: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of a body, which the document has by name."""
    content = found["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    named: dict[str, Any] = found["components"]["schemas"][content["schema"]["$ref"].split("/")[-1]]
    return named


async def test_bodies_are_those_of_the_engine(engines: bytes) -> None:
    """Every route is there with vLLM's body; models and efforts are ours, and refused fields are gone."""
    found = await told(engines)
    posts = {path for path, operations in found["paths"].items() if "post" in operations}
    assert posts == {dialect.path for dialect in DIALECTS}
    chat = schema_of(found, "/v1/chat/completions")["properties"]
    assert chat["model"] == {"enum": ["mistral-small-4", "small", None]}
    assert chat["reasoning_effort"]["enum"] == ["high", "none", None]
    assert "temperature" in chat
    assert not {"store", "audio", "functions"} & set(chat)
    assert schema_of(found, "/v1/messages")["properties"]["model"] == {"enum": ["mistral-small-4", "small"]}


async def test_every_reference_is_kept(engines: bytes) -> None:
    """What a schema refers to is in the document, and vLLM's other routes' schemas are not."""
    found = await told(engines)
    text = json.dumps(found)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names == set(found["components"]["schemas"])


async def test_errors_have_the_form_of_the_dialect(engines: bytes) -> None:
    """Each status that Venturi answers with says why; probes have no errors of this kind."""
    paths = (await told(engines))["paths"]

    def form(path: str, status: str) -> str:
        answer = paths[path]["post"]["responses"][status]
        assert answer["description"]
        return str(answer["content"]["application/json"]["schema"]["$ref"].split("/")[-1])

    assert form("/v1/chat/completions", "429") == "Error"
    assert form("/v1/messages", "401") == "AnthropicError"
    assert "401" not in paths["/health"]["get"]["responses"]
    assert not any("422" in o["responses"] for path in paths.values() for o in path.values())


async def test_an_engine_that_has_no_document() -> None:
    """Bodies are objects then, and the rest is told."""
    found = await told(b"{}", status=404)
    body = found["paths"]["/v1/messages"]["post"]["requestBody"]["content"]["application/json"]
    assert body == {"schema": {"type": "object"}}


async def test_without_a_replica_there_is_none() -> None:
    """It is refused like a request, and not told without bodies."""
    async with client(api(system({}))) as http:
        answer = await http.get("/openapi.json")
    assert answer.status_code == 503


@pytest.mark.parametrize("path", [dialect.path for dialect in DIALECTS])
def test_what_the_document_allows_is_answered(engines: bytes, path: str) -> None:
    """Bodies made up by schemathesis get an answer, or a refusal with a status below 500."""
    with TestClient(api(answering(engines), limits=EVERYONE)) as http:
        found = http.get("/openapi.json").json()
    app = api(answering(b"{}"), limits=EVERYONE)
    schema = schemathesis.openapi.from_dict(found)
    strategy = schema[path]["POST"].as_strategy()

    with TestClient(app, raise_server_exceptions=False) as http:

        @settings(
            max_examples=MAX_EXAMPLES,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @hypothesis.given(case=strategy)
        def ask(case: Any) -> None:
            headers = {name: value for name, value in (case.headers or {}).items() if value.isascii()}
            answer = http.post(path, content=json.dumps(case.body), headers=headers)
            assert answer.status_code < 500, answer.text

        ask()
