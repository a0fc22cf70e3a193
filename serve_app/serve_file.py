"""What does a serve YAML say? The part that Ray Serve reads, and our `args` in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.config import INGRESS_DEPLOYMENT, Settings, parse, read_yaml, unknown_keys
from serve_app.engine.draining import is_draining
from serve_app.errors import ConfigError
from serve_app.ingress.auth import Access, access

IMPORT_PATH = "serve_app.app:build"


@dataclass(frozen=True)
class ServeFile:
    """One serve YAML with one Venturi application in it."""

    path: Path
    settings: Settings
    host: str
    port: int
    route_prefix: str

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the application."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}{self.route_prefix.rstrip('/')}"

    @property
    def access(self) -> Access:
        """Who may use the API, if Serve is started by this file. (A Serve that runs keeps its host.)"""
        return access(self.settings.ingress.auth, self.host)

    def refuse_closed(self) -> None:
        """Raise ConfigError if every request would be refused."""
        if self.access is Access.CLOSED:
            raise ConfigError(
                [
                    f"ingress.auth: no keys_file or keys_env, and http_options.host={self.host!r} is not "
                    f"loopback: every request would be refused; 'open: true' lets everyone in"
                ]
            )


def load(path: Path) -> ServeFile:
    """Read and check a serve YAML. Raises ConfigError with one line for each thing that is wrong."""
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: must be a mapping with http_options and applications"])
    http, applications = _as_serve_reads_it(tree)
    ours = [a for a in applications if a.import_path == IMPORT_PATH]
    if len(ours) != 1:
        raise ConfigError([f"applications: {len(ours)} of them have import_path {IMPORT_PATH!r}, not 1"])
    (application,) = ours
    if application.route_prefix is None:
        raise ConfigError(["route_prefix: must be a path, not None: clients reach Venturi there"])
    prefix = application.route_prefix
    if not prefix.startswith("/") or (prefix != "/" and prefix.endswith("/")) or {"{", "}"} & set(prefix):
        raise ConfigError(
            [f"route_prefix: must begin with '/', not end with it, and have no braces, not {prefix!r}"]
        )
    settings = parse(application.args)
    at = f"applications.{applications.index(application)}.deployments"
    if problems := _wrong_overrides(at, application.deployments, settings):
        raise ConfigError(problems)
    return ServeFile(path, settings, http.host, http.port, application.route_prefix)


def _wrong_overrides(at: str, overrides: Sequence[Any], settings: Settings) -> list[str]:
    """Return a line for each entry of `deployments` that Serve would fail to deploy, or replicas to take."""
    problems = []
    names = (INGRESS_DEPLOYMENT, *settings.engine_pools)
    for i, one in enumerate(overrides):
        if one.name not in names:
            problems.append(f"{at}.{i}.name: no deployment {one.name!r}; there are {', '.join(names)}")
        elif "user_config" in one.model_fields_set:
            if one.name == INGRESS_DEPLOYMENT:
                problems.append(f"{at}.{i}: {one.name!r} takes no user_config, not {one.user_config!r}")
                continue
            try:
                is_draining(one.user_config)
            except ValueError as error:
                problems.append(f"{at}.{i}: {error}")
    return problems


def _as_serve_reads_it(tree: Mapping[str, Any]) -> tuple[Any, Sequence[Any]]:
    """Return HTTP options and applications as Ray Serve's own schema reads them; our `args` are not its."""
    # Imported here: it takes a second, and a file that is no YAML needs no Ray.
    from pydantic import ValidationError
    from ray.serve.schema import (
        DeploymentSchema,
        HTTPOptionsSchema,
        ServeApplicationSchema,
        ServeDeploySchema,
    )

    try:
        read = ServeDeploySchema.model_validate(dict(tree))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(problems) from None
    # The schema passes over a key that it does not know.
    problems = unknown_keys("", tree, ServeDeploySchema.model_fields)
    problems += unknown_keys("http_options", tree.get("http_options", {}), HTTPOptionsSchema.model_fields)
    for i, application in enumerate(tree["applications"]):
        at = f"applications.{i}"
        problems += unknown_keys(at, application, ServeApplicationSchema.model_fields)
        for j, deployment in enumerate(application.get("deployments", ())):
            problems += unknown_keys(f"{at}.deployments.{j}", deployment, DeploymentSchema.model_fields)
    if problems:
        raise ConfigError(problems)
    return read.http_options, read.applications
