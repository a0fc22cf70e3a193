"""What do tests of serve_app share before any of them is collected?"""

import importlib
import warnings

from pydantic.warnings import PydanticDeprecatedSince20

with warnings.catch_warnings():
    # Ray Serve's own models use what pydantic has deprecated; imported here, once, it warns nobody else.
    warnings.filterwarnings("ignore", "Using extra keyword arguments on", PydanticDeprecatedSince20)
    import ray.serve  # noqa: F401

# What vLLM imports to be hosted raises the level of all handlers that there are: here, before pytest has any.
importlib.import_module("model_hosting_container_standards.logging_config")
