"""What else serves vLLM from Ray? ray.serve.llm's OpenAI app, with a pool's engine arguments.

It needs pyarrow, which Venturi does not: `pip install pyarrow`. Ray Serve itself is set as for Venturi: what
is compared is the applications.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from serve_app.config import PROJECT_ROOT, environment_variable
from serve_app.engine.arguments import engine_arguments
from serve_app.errors import StartError
from serve_app.local import RAY_SERVE_SETTINGS
from serve_app.serve_file import ServeFile

IMPORT_PATH = "ray.serve.llm:build_openai_app"
READY_PATH = "/v1/models"

EXPERIMENTS: dict[str, dict[str, float]] = {
    "ray-llm": {},
    "ray-llm-unbatched": {"stream_batching_interval_ms": 0},
}
"""`experimental_configs` of each variant. As it comes, it hands on what a stream has every 50 ms."""

ONE_PROCESS = "tests.bench.ray_llm_engine.OneProcessEngine"


def serve_settings(file: ServeFile, pool: str) -> dict[str, str]:
    """The environment of its Ray; without a GPU replicas must find the engine class that is meant there."""
    path = os.pathsep.join(filter(None, [str(PROJECT_ROOT), environment_variable("PYTHONPATH")]))
    engine = {} if file.settings.pools[pool].gpu else {"RAYLLM_VLLM_ENGINE_CLS": ONE_PROCESS}
    return RAY_SERVE_SETTINGS | engine | {"PYTHONPATH": path}


def require() -> None:
    """Raise StartError if ray.serve.llm cannot be imported here."""
    tried = subprocess.run([sys.executable, "-c", "import ray.serve.llm"], capture_output=True, text=True)
    if tried.returncode:
        (why,) = tried.stderr.strip().splitlines()[-1:] or [f"status {tried.returncode}"]
        raise StartError(f"ray.serve.llm cannot be imported ({why}); it needs `pip install pyarrow`")


def serve_file(file: ServeFile, pool: str, name: str, folder: Path) -> ServeFile:
    """Write the variant `name` on the engine of `pool` as a serve file, with the port and host of `file`."""
    tree = yaml.safe_load(file.path.read_text())
    tree["applications"] = [
        {"name": name, "route_prefix": "/", "import_path": IMPORT_PATH, "args": arguments(file, pool, name)}
    ]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree))
    return dataclasses.replace(file, path=path)


def arguments(file: ServeFile, pool: str, name: str) -> dict[str, Any]:
    """Return what `build_openai_app` takes: an engine of one rank, an ingress; both fit onto two cores."""
    engine = engine_arguments(file.settings, pool)
    wanted = file.settings.pools[pool]
    model, (model_id, *_) = engine.pop("model"), engine.pop("served_model_name")
    config = {
        "model_loading_config": {"model_id": model_id, "model_source": model},
        "engine_kwargs": engine,
        "runtime_env": {"env_vars": file.settings.engine_environment(pool)},
        "placement_group_config": {
            "bundle_per_worker": {"CPU": wanted.cpus_per_rank} | ({"GPU": 1} if wanted.gpu else {})
        },
        "deployment_config": {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0}},
        "experimental_configs": EXPERIMENTS[name],
    }
    return {
        "llm_configs": [config],
        "ingress_deployment_config": {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0}},
    }
