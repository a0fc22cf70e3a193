"""May this request come in? Headers, key and limits, before its body is read."""

import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.config import Ingress, Tenant
from serve_app.errors import ApiError, Forbidden, HeadersTooLarge, Unauthorized
from serve_app.ingress.auth import Access, Keys, access, is_loopback, presented_key
from serve_app.ingress.quota import Account, Slot, estimated_tokens, share
from serve_app.metrics import Metrics
from serve_app.types import NO_TENANT, Effort, Headers

logger = logging.getLogger("ray.serve")

Clock = Callable[[], float]

ANYONE = Tenant.model_construct(name=NO_TENANT, operator=True)
"""Whoever asks where no keys are needed: every effort, no limits, and an operator."""

WHAT_TO_CONFIGURE = "set ingress.auth.keys_file or keys_env, or ingress.auth.open: true to let everyone in"


class Gate:
    """The one way in. `admit` before the body is read, and `Admission` for what comes after.

    `listens_on` is the host that Serve's HTTP servers are bound to. Raises ConfigError if keys are
    configured and cannot be read.
    """

    def __init__(
        self, settings: Ingress, listens_on: str, metrics: Metrics, clock: Clock = time.monotonic
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._access = access(settings.auth, listens_on)
        self._keys = Keys(settings.auth) if self._access is Access.KEYS else None
        self._accounts: dict[str, Account] = {}
        if self._keys is not None:
            self._open_accounts(clock())
        _say(self._access, listens_on)

    def admit(self, headers: Headers) -> "Admission":
        """Let a request in that has these raw headers, or raise the ApiError that it gets.

        Whoever gets an Admission releases it.
        """
        tenant = None
        try:
            self._bound(headers)
            tenant = self._tenant(headers)
            slot = self._account(tenant).enter(self._clock())
        except ApiError as error:
            self._count(tenant or ANYONE, error)
            raise
        return Admission(self, tenant, slot)

    def _bound(self, headers: Headers) -> None:
        settings = self._settings
        if len(headers) > settings.max_headers:
            raise HeadersTooLarge(
                f"the request has {len(headers)} headers; ingress.max_headers allows {settings.max_headers}"
            )
        num_bytes = sum(len(name) + len(value) for name, value in headers)
        if num_bytes > settings.max_header_bytes:
            raise HeadersTooLarge(
                f"the request has {num_bytes} bytes of headers; "
                f"ingress.max_header_bytes allows {settings.max_header_bytes}"
            )

    def _tenant(self, headers: Headers) -> Tenant:
        if self._keys is not None:
            return self._holder(self._keys, headers)
        if self._access is Access.CLOSED:
            raise Forbidden(
                f"no API keys are configured, and this server listens to the network: {WHAT_TO_CONFIGURE}"
            )
        if self._access is Access.LOOPBACK and not _is_for_loopback(headers):
            raise Forbidden(
                "no API keys are configured, and the request's Host is not this machine's own name or "
                f"address (localhost, 127.0.0.1): {WHAT_TO_CONFIGURE}"
            )
        return ANYONE

    def _holder(self, keys: Keys, headers: Headers) -> Tenant:
        now_s = self._clock()
        if keys.refresh(now_s):
            self._open_accounts(now_s)
        key = presented_key(headers)
        if key is None:
            raise _unauthorized("an API key is required: send it as 'Authorization: Bearer' or 'x-api-key'")
        holder = keys.ring.holder(key)
        if holder is None:
            raise _unauthorized("the API key is not known here")
        return holder

    def _account(self, tenant: Tenant) -> Account:
        return self._accounts.get(tenant.name) or Account(tenant.name)

    def _open_accounts(self, now_s: float) -> None:
        """Have an account for each tenant; those that there were keep what has been used."""
        assert self._keys is not None
        accounts = {name: self._accounts.get(name) or Account(name) for name in self._keys.ring.tenants}
        for name, tenant in self._keys.ring.tenants.items():
            accounts[name].limit(share(tenant, self._settings.replicas), now_s)
        self._accounts = accounts

    def _count(self, tenant: Tenant, error: ApiError) -> None:
        # Only names out of the keys file, and '-': clients cannot make new series.
        self._metrics.refused.labels(self._metrics.tenant(tenant.name), error.code).inc()


class Admission:
    """A request that has been let in, until it is released."""

    def __init__(self, gate: Gate, tenant: Tenant, slot: Slot) -> None:
        self._gate = gate
        self._tenant = tenant
        self._slot = slot

    @property
    def tenant(self) -> str:
        """The tenant's name, NO_TENANT where no keys are needed."""
        return self._tenant.name

    @property
    def priority(self) -> int:
        """The tenant's priority."""
        return self._tenant.priority

    @property
    def counts_tokens(self) -> bool:
        """Whether the tenant has a limit of tokens, so that an answer has to tell what it used."""
        return self._tenant.tokens_per_min is not None

    @property
    def headers(self) -> dict[str, str]:
        """The rate-limit headers of its answer, as of now."""
        return self._slot.account.headers(self._gate._clock())

    def begin(self, effort: Effort, num_prompt_bytes: int) -> None:
        """Say what is asked for, once the body has been read.

        Raises Forbidden if the tenant may not use `effort`, RateLimited if the prompt is more than what is
        left of its tokens. It stays admitted: whoever catches the error still releases.
        """
        try:
            if effort not in self._tenant.efforts:
                allowed = ", ".join(repr(e.value) for e in self._tenant.efforts)
                raise Forbidden(
                    f"tenant {self.tenant!r} may not use effort {effort.value!r}; it may use {allowed}",
                    param="reasoning_effort",
                )
            self._slot.reserve(estimated_tokens(num_prompt_bytes), self._gate._clock())
        except ApiError as error:
            self._gate._count(self._tenant, error)
            raise

    def require_operator(self) -> None:
        """Raise Forbidden if the tenant may not see what others do."""
        if not self._tenant.operator:
            error = Forbidden(f"tenant {self.tenant!r} is not an operator; the keys file says who is")
            self._gate._count(self._tenant, error)
            raise error

    def charge(self, num_tokens: int) -> None:
        """Say how many tokens, prompt and answer together, the request has used so far."""
        self._slot.charge(num_tokens, self._gate._clock())

    def release(self) -> None:
        """Let the next one in; once is enough."""
        self._slot.release()


Refuse = Callable[[Request, ApiError], Response]


class Guarded:
    """An ASGI app behind the gate: a request holds its admission for as long as the app's call lasts.

    `guards` says which paths need one; there `request.state.admission` is the Admission. The call ends after
    the last byte, with an error or in a cancellation, so no route can forget the release. `refuse` writes
    the answer for who is not let in.
    """

    def __init__(self, app: ASGIApp, *, gate: Gate, guards: Callable[[str], bool], refuse: Refuse) -> None:
        self._app = app
        self._gate = gate
        self._guards = guards
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not self._guards(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            admission = self._gate.admit(tuple(scope["headers"]))
        except ApiError as error:
            await self._refuse(Request(scope), error)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = _with_headers(message, admission.headers)
            await send(message)

        try:
            scope.setdefault("state", {})["admission"] = admission
            await self._app(scope, receive, send_with_headers)
        finally:
            admission.release()


def _with_headers(start: Message, added: dict[str, str]) -> dict[str, Any]:
    """Return the message with headers added that it has not got: an error may have brought its own."""
    present = list(start.get("headers", ()))
    names = {name.lower() for name, _ in present}
    new = [(k.encode(), v.encode()) for k, v in added.items() if k.encode() not in names]
    return {**start, "headers": present + new}


def _is_for_loopback(headers: Headers) -> bool:
    """Tell whether the request was addressed to this machine.

    A page of some other site, in a browser here, can have its own name resolve to 127.0.0.1; a proxy here
    may pass on what comes from the network. Both usually leave the name in `Host`.
    """
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    return len(hosts) == 1 and is_loopback(_without_port(hosts[0]))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]


def _unauthorized(message: str) -> Unauthorized:
    return Unauthorized(message, headers={"www-authenticate": "Bearer"})


def _say(who: Access, listens_on: str) -> None:
    if who is Access.OPEN:
        logger.warning(f"ingress.auth.open: everyone who reaches {listens_on} may use the API, without a key")
    elif who is Access.LOOPBACK:
        logger.warning(f"no API keys: everyone on this machine may use the API at {listens_on}")
    elif who is Access.CLOSED:
        logger.error(
            f"no API keys, and {listens_on} is not loopback: every request gets 403; {WHAT_TO_CONFIGURE}"
        )
