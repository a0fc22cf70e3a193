"""What does a serve YAML say? The part that Ray Serve reads, and our `args` in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.config import Settings, parse, read_yaml, unknown_keys
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
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
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
    return ServeFile(path, parse(application.args), http.host, http.port, application.route_prefix)


def _as_serve_reads_it(tree: Mapping[str, Any]) -> tuple[Any, Sequence[Any]]:
    """Return HTTP options and applications as Ray Serve's own schema reads them; our `args` are not its."""
    # Imported here: it takes a second, and a file that is no YAML needs no Ray.
    from pydantic import ValidationError
    from ray.serve.schema import HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

    try:
        read = ServeDeploySchema.model_validate(dict(tree))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(problems) from None
    # The schema passes over a key that it does not know.
    problems = unknown_keys("", tree, ServeDeploySchema.model_fields)
    problems += unknown_keys("http_options", tree.get("http_options", {}), HTTPOptionsSchema.model_fields)
    for i, application in enumerate(tree["applications"]):
        problems += unknown_keys(f"applications.{i}", application, ServeApplicationSchema.model_fields)
    if problems:
        raise ConfigError(problems)
    return read.http_options, read.applications
