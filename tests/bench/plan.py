"""Which servers are measured under which loads, and from which serve file do they come?

A plan is YAML; `plans/` has them:

    serve_file: deploy/h200x2.yaml      # whose pools are served
    model: {layers: 36}                 # random weights of the published shape, changed so; or none of this
    pool: {engine: {load_format: dummy}}                    # on top of every pool
    load: {prompt_tokens: 512, answer_tokens: 256}          # what every load begins with
    servers:
      - {name: venturi, kind: venturi, pool: throughput, loads: [{concurrency: 8, requests: 32}]}
      - {name: the same engine, kind: fixed, pool: throughput, loads: [...]}
      - {name: as shipped, kind: shipped, change: {engine: {max_num_seqs: 128}}, pool: ...}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from parallel.bench import dummy
from parallel.model_shape import MISTRAL_SMALL_4
from serve_app.config import PROJECT_ROOT
from serve_app.engine.upstream.words import merged
from serve_app.local import free_port
from serve_app.serve_file import ServeFile
from serve_app.serve_file import load as load_serve_file
from tests.bench.arrivals import Effort, Kind, Mix

KINDS = ("venturi", "fixed", "shipped")
"""The whole of Venturi; vLLM's own server with the fixes; and without the one to its parser."""


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
        return Mix((kind,), self.seed, spread=0.0, vocab=self.tokens)


@dataclass(frozen=True)
class Server:
    """One server, and what it is asked."""

    name: str
    kind: Literal["venturi", "fixed", "shipped"]
    pool: str
    loads: tuple[Loop, ...]
    change: Mapping[str, Any] = field(default_factory=dict)
    """On top of the pool's own settings."""
    ingress: Mapping[str, Any] = field(default_factory=dict)
    """The ingress's settings."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"server {self.name!r}: kind={self.kind!r} must be one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class Plan:
    """All of it."""

    serve_file: Path
    servers: tuple[Server, ...]
    model: Mapping[str, Any] | None = None
    fp8: bool = True
    """Whether its random weights are in FP8, or in BF16."""
    pool: Mapping[str, Any] = field(default_factory=dict)

    def serve(self, server: Server, folder: Path) -> ServeFile:
        """Write the serve file of one server, which has its one pool, for both efforts.

        `folder` gets checkpoints as well: the same one for all servers, or what one has compiled is compiled
        again for the next, since vLLM goes by the path.
        """
        tree = yaml.safe_load(self.serve_file.read_text())
        tree["http_options"] = {"host": "127.0.0.1", "port": free_port()}
        args = tree["applications"][0]["args"]
        pool = merged(merged(args["pools"][server.pool], self.pool), server.change)
        args["pools"] = {server.pool: pool | {"efforts": ["none", "high"]}}
        args["ingress"] = dict(server.ingress)
        if self.model is not None:
            shape = replace(MISTRAL_SMALL_4, **self.model)
            dummy.write_target(folder / "bench-target", shape, self.fp8)
            dummy.write_draft(folder / "bench-eagle", shape, self.fp8)
            args["model"]["path"] = str(folder / "bench-target")
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
            Server(**(given | {"loads": tuple(_loop(common | load) for load in given["loads"])}))
            for given in tree.pop("servers")
        )
        plan = Plan(**(tree | {"serve_file": PROJECT_ROOT / tree["serve_file"], "servers": servers}))
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from None
    names = [server.name for server in servers]
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: servers repeat a name: {', '.join(names)}")
    return plan


def _loop(given: dict[str, Any]) -> Loop:
    if unknown := given.keys() - {one.name for one in fields(Loop)}:
        raise ValueError(f"a load has no {', '.join(sorted(unknown))}")
    if given.get("tokens"):
        given["tokens"] = tuple(given["tokens"])
    return Loop(**given)
