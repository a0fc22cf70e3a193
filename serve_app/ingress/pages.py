"""How does the console get into a browser? A few static files that load nothing from anywhere else."""

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

PATH = "/console"
FOLDER = Path(__file__).parent / "console"

HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # No text becomes markup or script, by whatever mistake in the page.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Bundle(StaticFiles):
    """The files, each with HEADERS."""

    def file_response(self, full_path: str | os.PathLike[str], *args: Any, **options: Any) -> Response:
        """Return one file's response."""
        response = super().file_response(full_path, *args, **options)
        response.headers.update(HEADERS)
        return response


def has(path: str) -> bool:
    """Whether `path` is the console's. It needs no key: nothing of this server's is in it."""
    return path == PATH or path.startswith(f"{PATH}/")


def add(app: FastAPI) -> None:
    """Add the console to `app`."""

    @app.get(PATH, include_in_schema=False)
    async def with_slash() -> Response:
        # Relative: nobody here knows under which name and prefix the outside sees this server.
        return RedirectResponse("console/")

    app.mount(PATH, Bundle(directory=FOLDER, html=True))
