"""Which dialects is a server asked in?"""

from serve_app.conformance.dialects.base import Ask, Dialect
from serve_app.conformance.dialects.chat import Chat
from serve_app.conformance.dialects.completions import Completions
from serve_app.conformance.dialects.messages import Messages
from serve_app.conformance.dialects.responses import Responses

__all__ = ["DIALECTS", "Ask", "Chat", "Dialect"]

DIALECTS: tuple[Dialect, ...] = (Chat(), Responses(), Messages(), Completions())
