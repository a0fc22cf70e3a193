"""One whole system, the real engine in both pools, for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import yaml

from serve_app import serve_file
from serve_app.config import PROJECT_ROOT
from serve_app.local import LocalSystem, free_port
from tests.collector import Collector
from tests.e2e.inside import Inside


@pytest.fixture(scope="session")
def inside() -> Iterator[Inside]:
    """A server of ours that no image may be fetched from."""
    with Inside(free_port()) as listening:
        yield listening


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Who gets the system's traces."""
    with Collector() as listening:
        yield listening


@pytest.fixture(scope="session")
def system(
    checkpoint: Path, inside: Inside, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalSystem]:
    """deploy/local.yaml as a user gets it, on ports of its own, with traces and logs as JSON.

    Images may be at the port of `inside` too.
    """
    tree = yaml.safe_load((PROJECT_ROOT / "deploy/local.yaml").read_text())
    tree["http_options"]["port"] = free_port()
    tree["logging_config"] = {"encoding": "JSON"}
    args = tree["applications"][0]["args"]
    args["ingress"]["images"] = {"ports": [443, inside.port]}
    args["tracing"] = {"endpoint": collector.endpoint}
    path = tmp_path_factory.mktemp("serve") / "local.yaml"
    path.write_text(yaml.safe_dump(tree))
    with LocalSystem(serve_file.load(path), dashboard_port=free_port()) as running:
        running.start()
        yield running
    assert not list(running.processes()), "the system left processes behind"


@pytest.fixture(scope="session")
def http(system: LocalSystem) -> Iterator[httpx.Client]:
    """A plain client of the system."""
    with httpx.Client(base_url=system.file.url, timeout=60.0) as client:
        yield client


@pytest.fixture(scope="session")
def client(system: LocalSystem) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, told only the base URL."""
    with openai.OpenAI(base_url=f"{system.file.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def model(client: openai.OpenAI) -> str:
    """The model's name as programs find it out."""
    return client.models.list().data[0].id


@pytest.fixture(scope="session")
def chat(client: openai.OpenAI) -> Any:
    """Chat completions of a client whose types do not know our fields."""
    return client.chat.completions


@pytest.fixture(scope="session")
def claude(system: LocalSystem) -> Iterator[anthropic.Anthropic]:
    """Anthropic's own client, told only the base URL."""
    with anthropic.Anthropic(base_url=system.file.url, api_key="unused", max_retries=0) as client:
        yield client
