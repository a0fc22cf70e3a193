"""Which pages may use the API from a browser, and how is the browser told (CORS)?

It keeps nobody out: the browser hides an answer from its page unless told that the page's site may have it.
"""

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.ingress.record import PATHS

METHODS = ("GET", "POST", "DELETE")


class CrossOrigin(CORSMiddleware):
    """An ASGI app whose API pages of `origins` may use; not what is for operators, probes and the console.

    A preflight, which browsers send without the page's key, is answered here, ahead of the gate. Pages may
    send and read every header: OpenAI's and Anthropic's clients have a dozen of their own, and more with each
    version. There are no cookies, by which a page could ask in somebody else's name.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app, allow_origins=origins, allow_methods=METHODS, allow_headers=["*"], expose_headers=["*"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and (scope["path"].startswith("/v1/") or scope["path"] in PATHS):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
