"""Which images may a request have, and what does the engine get of them?

The engine fetches nothing (`engine/arguments.py`). What a client names by URL is fetched here, under the
operator's policy, and travels on inside the body.
"""

import asyncio
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpcore

from serve_app.config import ImagePolicy
from serve_app.errors import InvalidRequest
from serve_app.ingress import formats, image_rules, parts
from serve_app.ingress.addresses import Resolve, SystemResolver
from serve_app.ingress.fetch import Fetcher
from serve_app.ingress.image_rules import Budget, Refused, Rule
from serve_app.ingress.parts import Image
from serve_app.metrics import Metrics

ACCEPTED = "accepted"
"""The outcome of an image that keeps every rule, beside the rules that refuse one."""

Fetched = tuple[Image, str, bytes]
"""An image that was fetched, its media type and its content."""


class Images:
    """The operator's policy for images, applied to requests of any dialect. One for an ingress replica."""

    def __init__(
        self,
        policy: ImagePolicy,
        metrics: Metrics,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`resolve`, `network` and `tls` stand in for the system's resolver, sockets and trusted CAs."""
        self._policy = policy
        self._metrics = metrics
        self._fetcher = Fetcher(
            policy,
            resolve or SystemResolver(),
            network or httpcore.AnyIOBackend(),
            tls or httpcore.default_ssl_context(),
        )

    async def settle(self, body: Mapping[str, Any], images: Sequence[Image]) -> Mapping[str, Any]:
        """Return `body` with every remote image inlined, or `body` itself if there is none.

        `images`: those of the body, as `parts.find` has them.
        Raises InvalidRequest, whose `param` names the part, for an image that breaks a rule. Rules that
        need no network are applied to all images before the first is fetched; then all are fetched
        together under one deadline. Cancelling this call cancels what it fetches.
        """
        if not images:
            return body
        budget = Budget(self._policy)
        self._check_count(images)
        for image in images:
            with self._refusing(image):
                self._check(image, budget)
        return parts.inlined(body, await self._all(images, budget))

    def _check_count(self, images: Sequence[Image]) -> None:
        allowed = self._policy.max_count
        if len(images) > allowed:
            with self._refusing(images[allowed]):
                raise Refused(
                    Rule.COUNT,
                    f"the request has {len(images)} images; ingress.images.max_count allows {allowed}",
                )

    def _check(self, image: Image, budget: Budget) -> None:
        image_rules.check_scheme(image.url, self._policy.schemes)
        if image_rules.scheme(image.url) == "data":
            num_bytes = image_rules.data_bytes(image_rules.data_payload(image.url))
            image_rules.check_bytes(num_bytes, self._policy)
            budget.take(num_bytes)
        else:
            image_rules.remote(image.url, self._policy)

    async def _all(self, images: Sequence[Image], budget: Budget) -> list[Fetched]:
        deadline_s = asyncio.get_running_loop().time() + self._policy.timeout_s
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(image, budget, deadline_s)) for image in images]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [fetched for task in tasks if (fetched := task.result())]

    async def _one(self, image: Image, budget: Budget, deadline_s: float) -> Fetched | None:
        """Return the image if it had to be fetched, None if it came along. Raises InvalidRequest."""
        with self._refusing(image):
            if image_rules.scheme(image.url) == "data":
                payload = image_rules.data_payload(image.url)
                content = await asyncio.to_thread(formats.decode, payload)
                await asyncio.to_thread(formats.media_type, content, self._policy.max_pixels)
                fetched = None
            else:
                content = await self._before(deadline_s, image.url, budget)
                name = await asyncio.to_thread(formats.media_type, content, self._policy.max_pixels)
                fetched = image, name, content
        self._count(image, ACCEPTED)
        return fetched

    async def _before(self, deadline_s: float, url: str, budget: Budget) -> bytes:
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._fetcher.fetch(url, budget)
        except TimeoutError:
            allowed = f"{self._policy.timeout_s:g} s"
            raise Refused(
                Rule.TIMEOUT,
                f"the image was not there after {allowed}; ingress.images.timeout_s allows {allowed}",
            ) from None

    @contextmanager
    def _refusing(self, image: Image) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            self._count(image, refused.rule)
            raise InvalidRequest(f"{image.param}: {refused}", param=image.param) from None

    def _count(self, image: Image, outcome: str) -> None:
        scheme = image_rules.scheme(image.url)
        source = scheme if scheme in ("data", "https") else "other"
        self._metrics.images.labels(source, outcome).inc()
