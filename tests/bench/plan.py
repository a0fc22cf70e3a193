"""Which servers are measured under which loads, and from which serve file do they come?

A plan is YAML; `plans/` has them:

    serve_file: deploy/h200x2.yaml      # whose pools are served, and how they are changed for all servers:
    model: {layers: 36}                 # random weights of the published shape, changed so; or none of this
    pool: {engine: {max_num_seqs: 64}}                      # on top of every pool
    load: {prompt_tokens: 512, answer_tokens: 256}          # what every load begins with
    servers:
      - {name: venturi, kind: venturi, pools: {throughput: {}}, loads: [{concurrency: 8, requests: 32}]}
      - {name: the same engine, kind: fixed, pools: {throughput: {}}, loads: [...]}
      - {name: as shipped, kind: shipped, pools: {throughput: {engine: {max_num_seqs: 128}}}, loads: [...]}
      - {name: the rival, kind: ray-llm, pools: {throughput: {}}, loads: [...]}    # or ray-llm-unbatched
      - name: both pools
        kind: venturi
        pools: {throughput: {}, latency: {}}
        loads: [{rate_per_s: 9, duration_s: 60, high: 0.5}]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import yaml

from parallel.bench import dummy
from parallel.bench.case import CUDA_ENVIRONMENT
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from serve_app.config import PROJECT_ROOT
from serve_app.engine.upstream.words import merged
from serve_app.local import free_port
from serve_app.serve_file import ServeFile
from serve_app.serve_file import load as load_serve_file
from tests.bench.arrivals import Effort, Kind, Mix
from tests.bench.ray_llm import EXPERIMENTS

KINDS = ("venturi", "fixed", "shipped", *EXPERIMENTS)
"""The whole of Venturi; vLLM's own server with the fixes, and without those to the server; ray.serve.llm."""

RANDOM_WEIGHTS: dict[str, Any] = {"engine": {"load_format": "dummy"}, "env": CUDA_ENVIRONMENT}
"""What comes on top of every pool where a plan has no checkpoint."""


@dataclass(frozen=True)
class Loop:
    """A closed loop of clients; all requests of the same lengths."""

    concurrency: int
    requests: int
    prompt_tokens: int = 512
    answer_tokens: int = 256
    effort: Effort = "none"
    tokens: tuple[int, int] | None = None
    """Prompts are token ids from this range, to /v1/completions; else words, to /v1/chat/completions."""
    processes: int = 1
    """That the clients are shared by."""
    limit_s: float | None = None
    """When it is broken off."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.concurrency % self.processes:
            raise ValueError(f"concurrency={self.concurrency} cannot be shared by processes={self.processes}")

    @property
    def mix(self) -> Mix:
        """What is asked."""
        kind = Kind(self.effort, 1.0, self.prompt_tokens, self.answer_tokens)
        return Mix((kind,), own_seed(self), spread=0.0, vocab=self.tokens)


@dataclass(frozen=True)
class Stream:
    """Requests of both efforts that come as a Poisson process, whether or not earlier ones are answered."""

    rate_per_s: float
    duration_s: float
    high: float
    """Share of requests at high."""
    prompt_tokens: int = 512
    none_tokens: int = 256
    """Mean length of answers, as the next."""
    high_tokens: int = 1024
    spread: float = 0.5
    processes: int = 1
    limit_s: float = 600.0
    """Of one request."""
    aims: Mapping[str, Mapping[Effort, Sequence[float]]] = field(default_factory=dict)
    """Names of what counts as good: by effort, seconds to the first token, and of one after it."""
    seed: int = 0

    @property
    def mix(self) -> Mix:
        """What is asked."""
        lengths: tuple[tuple[Effort, float, int], ...] = (
            ("none", 1 - self.high, self.none_tokens),
            ("high", self.high, self.high_tokens),
        )
        kinds = tuple(Kind(effort, share, self.prompt_tokens, answer) for effort, share, answer in lengths)
        return Mix(kinds, own_seed(self), self.spread)


AnyLoad = Loop | Stream


def own_seed(load: AnyLoad) -> int:
    """Return a seed that no other load has.

    Prompts that two loads shared would be in the engine's prefix cache when the second one asks them.
    """
    return crc32(repr(load).encode())


@dataclass(frozen=True)
class Server:
    """One server, and what it is asked."""

    name: str
    kind: str
    """One of `KINDS`."""
    pools: Mapping[str, Mapping[str, Any]]
    """By name, what comes on top of a pool's own settings. A pool that is alone serves both efforts."""
    loads: tuple[AnyLoad, ...]
    ingress: Mapping[str, Any] = field(default_factory=dict)
    """The ingress's settings, as the next."""
    router: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"server {self.name!r}: kind={self.kind!r} must be one of {', '.join(KINDS)}")
        if self.kind != "venturi" and len(self.pools) != 1:
            raise ValueError(f"server {self.name!r}: kind={self.kind!r} has one pool, not {len(self.pools)}")


@dataclass(frozen=True)
class Plan:
    """All of it."""

    serve_file: Path
    servers: tuple[Server, ...]
    model: Mapping[str, Any] | None = None
    pool: Mapping[str, Any] = field(default_factory=dict)

    def serve(self, server: Server, folder: Path) -> ServeFile:
        """Write the serve file of one server, with its pools.

        `folder` gets checkpoints as well: the same one for all servers, or what one has compiled is compiled
        again for the next, since vLLM goes by the path.
        """
        tree = yaml.safe_load(self.serve_file.read_text())
        tree["http_options"] = {"host": "127.0.0.1", "port": free_port()}
        args = tree["applications"][0]["args"]
        common = merged({} if self.model is None else RANDOM_WEIGHTS, self.pool)
        pools = {
            name: merged(merged(args["pools"][name], common), change) for name, change in server.pools.items()
        }
        if len(pools) == 1:
            next(iter(pools.values()))["efforts"] = ["none", "high"]
        args |= {"pools": pools, "ingress": dict(server.ingress), "router": dict(server.router)}
        if self.model is not None:
            shape = replace(MISTRAL_SMALL_4, **self.model)
            weights = WeightFormat(args["model"].get("weight_format", WeightFormat.BF16.value))
            dummy.write_target(folder / "bench-target", shape, weights)
            dummy.write_draft(folder / "bench-eagle", shape, weights)
            args["model"]["path"] = str(folder / "bench-target")
            for pool in pools.values():
                if "speculation" in pool:
                    pool["speculation"] |= {"draft": str(folder / "bench-eagle")}
        path = folder / "bench-serve.yaml"
        path.write_text(yaml.safe_dump(tree))
        return load_serve_file(path)


def read(path: Path) -> Plan:
    """Read a plan. ValueError names what is wrong in it."""
    tree = yaml.safe_load(path.read_text())
    common = tree.pop("load", {})
    try:
        servers = tuple(
            Server(**(given | {"loads": tuple(load_of(common | load) for load in given["loads"])}))
            for given in tree.pop("servers")
        )
        plan = Plan(**(tree | {"serve_file": PROJECT_ROOT / tree["serve_file"], "servers": servers}))
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from None
    names = [server.name for server in servers]
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: servers repeat a name: {', '.join(names)}")
    return plan


def load_of(given: Mapping[str, Any]) -> AnyLoad:
    """Return a load from its fields, as plans and results have them; a stream is what has a rate."""
    kind = Stream if "rate_per_s" in given else Loop
    known = {one.name for one in fields(kind)}
    common = {"answer_tokens"} if kind is Stream else set()  # of a plan's `load`, where the loops have theirs
    if unknown := given.keys() - known - common:
        raise ValueError(f"a load has no {', '.join(sorted(unknown))}")
    values = {name: value for name, value in given.items() if name in known}
    if values.get("tokens"):
        values["tokens"] = tuple(values["tokens"])
    return kind(**values)
