"""What do tests of serve_app share before any of them is collected?"""

import warnings

from pydantic.warnings import PydanticDeprecatedSince20

with warnings.catch_warnings():
    # Ray Serve's own models use what pydantic has deprecated; imported here, once, it warns nobody else.
    warnings.filterwarnings("ignore", "Using extra keyword arguments on", PydanticDeprecatedSince20)
    import ray.serve  # noqa: F401
