"""What may stand in the `args` of a serve YAML, and what is wrong with this one?

The whole tree is frozen pydantic models: it is parsed once, and whoever holds a `Settings` holds a valid
one. Nothing else in serve_app reads the process environment.
"""

from serve_app.config.access import Auth, Tenant, Tenants
from serve_app.config.environment import PROJECT_ROOT, environment_variable, process_environment, resolve
from serve_app.config.images import ImagePolicy
from serve_app.config.ingress import MAPPED_EFFORTS, STRICT_EFFORTS, Ingress
from serve_app.config.model import Defaults, Model, Sampling
from serve_app.config.pool import RESERVED_ENGINE_ARGUMENTS, Autoscaling, Pool
from serve_app.config.problems import problem_lines, unknown_keys
from serve_app.config.reading import YamlLoader, read_yaml, stands_twice, validated
from serve_app.config.router import Router
from serve_app.config.settings import INGRESS_DEPLOYMENT, Settings, parse
from serve_app.config.tracing import Tracing
from serve_app.config.upstream import Merge, Upstream, UpstreamDialect

__all__ = [
    "INGRESS_DEPLOYMENT",
    "MAPPED_EFFORTS",
    "PROJECT_ROOT",
    "RESERVED_ENGINE_ARGUMENTS",
    "STRICT_EFFORTS",
    "Auth",
    "Autoscaling",
    "Defaults",
    "ImagePolicy",
    "Ingress",
    "Merge",
    "Model",
    "Pool",
    "Router",
    "Sampling",
    "Settings",
    "Tenant",
    "Tenants",
    "Tracing",
    "Upstream",
    "UpstreamDialect",
    "YamlLoader",
    "environment_variable",
    "parse",
    "problem_lines",
    "process_environment",
    "read_yaml",
    "resolve",
    "stands_twice",
    "unknown_keys",
    "validated",
]
