"""Does the rival get the same engine, and one that Ray can place on two cores?"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_app.engine.arguments import engine_arguments
from serve_app.errors import StartError
from serve_app.serve_file import ServeFile
from tests.bench import overhead, ray_llm


@pytest.fixture
def file(tmp_path: Path) -> ServeFile:
    """The one pool that is measured."""
    return overhead.one_pool(tmp_path)


@pytest.mark.parametrize("name", ray_llm.EXPERIMENTS)
def test_same_engine(file: ServeFile, name: str) -> None:
    """It starts with the pool's arguments and environment; model and name stand where it wants them."""
    (config,) = ray_llm.arguments(file, overhead.POOL, name)["llm_configs"]
    ours = engine_arguments(file.settings, overhead.POOL)
    loading = config["model_loading_config"]
    named = {"model": loading["model_source"], "served_model_name": [loading["model_id"]]}
    assert config["engine_kwargs"] | named == ours
    assert not config["engine_kwargs"].keys() & named
    assert config["runtime_env"]["env_vars"] == file.settings.engine_environment(overhead.POOL)


def test_variants_differ_in_the_interval_alone(file: ServeFile) -> None:
    """Batching off is the one difference between the two."""
    (batched,), (unbatched,) = (
        ray_llm.arguments(file, overhead.POOL, name)["llm_configs"]
        for name in ("ray-llm", "ray-llm-unbatched")
    )
    assert unbatched == batched | {"experimental_configs": {"stream_batching_interval_ms": 0}}


def test_serve_file(file: ServeFile, tmp_path: Path) -> None:
    """Ray Serve reads it, with the rival as the only application, where a client expects Venturi."""
    theirs = ray_llm.serve_file(file, overhead.POOL, "ray-llm", tmp_path)
    read = ServeDeploySchema.model_validate(yaml.safe_load(theirs.path.read_text()))
    assert [(app.name, app.import_path, app.route_prefix) for app in read.applications] == [
        ("ray-llm", ray_llm.IMPORT_PATH, "/")
    ]
    assert read.http_options.port == file.port
    assert (theirs.url, theirs.path == file.path) == (file.url, False)


def test_on_a_gpu(file: ServeFile) -> None:
    """It gets one for its engine, which is its own there."""
    pools = {overhead.POOL: file.settings.pools[overhead.POOL].model_copy(update={"gpu": "H200"})}
    theirs = dataclasses.replace(file, settings=file.settings.model_copy(update={"pools": pools}))
    (config,) = ray_llm.arguments(theirs, overhead.POOL, "ray-llm")["llm_configs"]
    (ours,) = ray_llm.arguments(file, overhead.POOL, "ray-llm")["llm_configs"]
    bundles = [one["placement_group_config"]["bundle_per_worker"] for one in (config, ours)]
    assert bundles[0] == bundles[1] | {"GPU": 1}
    assert "RAYLLM_VLLM_ENGINE_CLS" not in ray_llm.serve_settings(theirs, overhead.POOL)


def test_replicas_find_the_engine(file: ServeFile) -> None:
    """A process with the environment of the rival's Ray finds the class, whatever it was started in."""
    settings = ray_llm.serve_settings(file, overhead.POOL)
    module, _, name = settings["RAYLLM_VLLM_ENGINE_CLS"].rpartition(".")
    where = f"import importlib.util; print(importlib.util.find_spec({module!r}).origin)"
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd="/",
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"class {name}(" in Path(found.stdout.strip()).read_text()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be imported, the error says why and which package it needs."""
    broken = tmp_path / "ray" / "serve"
    broken.mkdir(parents=True)
    (broken.parent / "__init__.py").touch()
    (broken / "__init__.py").touch()
    (broken / "llm.py").write_text("import no_such_package")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StartError, match=r"No module named 'no_such_package'.*pip install pyarrow"):
        ray_llm.require()
