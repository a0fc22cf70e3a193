"""One machine: the services are valid, private but for the API, and find their files."""

import re
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from serve_app.config import PROJECT_ROOT

FILE = PROJECT_ROOT / "deploy/compose/compose.yaml"
# Variables as their defaults; those that must be given, as anything.
TEXT = re.sub(r"\$\{\w+:\?[^}]*\}", "given", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", FILE.read_text()))
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def test_it_is_a_compose_file() -> None:
    """By the Compose Specification: no unknown keys, and values of their types."""
    names = compose_spec.PyCompose.from_yaml(TEXT).service_names()
    assert sorted(names) == ["grafana", "prometheus", "venturi"]
    with pytest.raises(ValueError, match="netwrok_mode"):
        compose_spec.PyCompose.from_yaml("services: {a: {image: a, netwrok_mode: host}}")


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_more_than_it_must(name: str) -> None:
    """No capabilities, and none to gain."""
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_the_image_is_built_from_here() -> None:
    """The context is the project's root, and the Dockerfile in it."""
    build = SERVICES["venturi"]["build"]
    context = (FILE.parent / build["context"]).resolve()
    assert context == PROJECT_ROOT
    assert (context / build["dockerfile"]).exists()


def test_only_the_api_listens_to_the_network() -> None:
    """On the host's network each service would listen to every interface by default."""
    assert {one["network_mode"] for one in SERVICES.values()} == {"host"}
    assert "--web.listen-address=127.0.0.1:9090" in SERVICES["prometheus"]["command"]
    assert SERVICES["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_what_is_mounted_exists() -> None:
    """A file that does not would become an empty folder in the container."""
    sources = [volume.split(":")[0] for one in SERVICES.values() for volume in one["volumes"]]
    ours = [Path(source) for source in sources if source.startswith("..")]
    assert ours
    for path in ours:
        assert (FILE.parent / path).exists(), path


def test_prometheus_sees_the_files_that_it_is_told_of() -> None:
    """Ray's list too: the same list over HTTP needs the token of `up`, which Prometheus does not have."""
    scraped = yaml.safe_load((PROJECT_ROOT / "deploy/monitoring/prometheus.yml").read_text())
    listed = [
        file
        for job in scraped["scrape_configs"]
        for sd in job.get("file_sd_configs", ())
        for file in sd["files"]
    ]
    mounts = [volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]]
    assert listed
    for file in listed:
        assert any(Path(file).is_relative_to(mount) for mount in mounts), file
