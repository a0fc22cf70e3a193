"""Which errors does Venturi raise, and what does a client see of each?

VenturiError
├── ConfigError             the YAML is wrong (never reaches a client)
├── StartError              a replica may not take traffic (never reaches a client)
├── ReplicaFailed           a replica cannot answer this request (the ingress sees ReplicaLost)
│   └── EngineDead          nor any other: it is about to leave
└── ApiError                has an HTTP status and an OpenAI error type (`ingress/shapes.py`: other dialects)
    ├── InvalidRequest      400
    │   ├── UnknownModel    404
    │   ├── UnknownRoute    404
    │   ├── WrongMethod     405
    │   ├── Unsupported     400
    │   ├── BodyTooLarge    413
    │   └── HeadersTooLarge 431
    ├── Unauthorized        401  no key, or one that nobody has
    ├── Forbidden           403  the key's tenant may not do this
    ├── RateLimited         429  the tenant's limits are used up
    ├── NoReplica           503  no pool can take the request
    ├── Overloaded          503  too much is asked for; Retry-After says when to come back
    │   ├── QueueFull       503  as many as may wait for the pool do, and none is less important
    │   ├── Displaced       503  a more important request took its place in the queue
    │   ├── FloorKept       503  home is down, and the places left elsewhere are kept for others
    │   └── DeadlineUnreachable 503  the answer is predicted to come after the client has left
    ├── PoolBusy            503  Ray Serve's queue of the pool is full
    ├── ReplicaLost         502  the replica went away
    └── AnswerTimeout       504  the answer took longer than ingress.request_timeout_s
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class VenturiError(Exception):
    """Root of every error that Venturi itself raises."""


class ConfigError(VenturiError, ValueError):
    """The settings are wrong; `problems` has one line each, naming the key and the values."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[list[str]]]:
        """Pickle by the list: Ray carries this error from the cluster to the command line."""
        return ConfigError, (self.problems,)


class StartError(VenturiError, RuntimeError):
    """An engine did not start, or its replica did not pass the readiness check."""


class ReplicaFailed(VenturiError, RuntimeError):
    """A replica's server raised instead of answering."""


class EngineDead(ReplicaFailed):
    """The engine of a replica has errored; the replica is about to leave."""


class ApiError(VenturiError):
    """An error with a place in every dialect's error shape."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"

    def __init__(
        self, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = dict(headers or {})
        """Headers that the answer has beside the usual ones."""

    def body(self) -> dict[str, Any]:
        """Return the JSON body: `{"error": {"message", "type", "param", "code"}}`."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


class InvalidRequest(ApiError):
    """The client sent something that cannot be served; the message names the field and the values."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class UnknownModel(InvalidRequest):
    """The request names a model that is not served here."""

    status = 404
    code = "model_not_found"


class UnknownRoute(InvalidRequest):
    """There is no such route."""

    status = 404
    code = "unknown_url"


class WrongMethod(InvalidRequest):
    """The route does not take this method; the Allow header has those that it takes."""

    status = 405
    code = "method_not_supported"


class Unsupported(InvalidRequest):
    """The dialect has it, but it is not served here; the message says why."""

    code = "unsupported"


class BodyTooLarge(InvalidRequest):
    """The request body is larger than ingress.max_body_bytes."""

    status = 413
    code = "body_too_large"


class HeadersTooLarge(InvalidRequest):
    """The request has more headers, or more bytes of them, than ingress.max_headers and max_header_bytes."""

    status = 431
    code = "headers_too_large"


class Unauthorized(ApiError):
    """The request has no API key, or one that no tenant has."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(ApiError):
    """It is known who asks, and they may not do this."""

    status = 403
    type = "permission_error"
    code = "not_allowed"


class RateLimited(ApiError):
    """A tenant has used up one of its limits; the headers say when to come back."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class NoReplica(ApiError):
    """No pool has a healthy replica for this request."""

    status = 503
    type = "service_unavailable_error"
    code = "no_healthy_replica"


class Overloaded(ApiError):
    """More is asked for than can be served in time. `pool`: the one that it waits for."""

    status = 503
    type = "service_unavailable_error"
    code = "overloaded"

    def __init__(
        self,
        message: str,
        *,
        pool: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, param=param, headers=headers)
        self.pool = pool

    def come_back_in(self, seconds: int) -> None:
        """Tell the client when to try again."""
        self.headers["retry-after"] = str(seconds)
        self.message = f"{self.message}; come back in {seconds} s"
        self.args = (self.message,)


class QueueFull(Overloaded):
    """As many requests wait for the pool as may, and none of them is less important."""

    code = "queue_full"


class Displaced(Overloaded):
    """It waited for a place, and had to leave the full queue to a more important request."""

    code = "displaced"


class FloorKept(Overloaded):
    """No pool of its effort is there, and what other pools have left is kept for their own requests."""

    code = "floor_kept"


class DeadlineUnreachable(Overloaded):
    """The answer is predicted to come after the client has stopped waiting, or it has waited so long."""

    code = "deadline_unreachable"


class PoolBusy(ApiError):
    """Every candidate refused the request because its queue is full."""

    status = 503
    type = "service_unavailable_error"
    code = "pool_busy"


class ReplicaLost(ApiError):
    """The replica died or became unreachable while it had the request."""

    status = 502
    type = "server_error"
    code = "replica_lost"


class AnswerTimeout(ApiError):
    """The answer was not complete within ingress.request_timeout_s."""

    status = 504
    type = "timeout_error"
    code = "answer_timeout"
