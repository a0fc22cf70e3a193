"""A pool whose requests go to an OpenAI-compatible server that Venturi does not run."""

from serve_app.engine.upstream.backend import UpstreamBackend

__all__ = ["UpstreamBackend"]
