"""What does a serve file resolve to? Said before anything starts."""

import json
from dataclasses import asdict

from parallel.hardware import GIB
from serve_app.config import Settings, Upstream
from serve_app.engine.arguments import engine_arguments
from serve_app.engine.fit import Fit, fit
from serve_app.engine.step_graphs import USUAL_TOKENS, full_step_tokens, recorded_tokens
from serve_app.ingress.auth import Access
from serve_app.serve_file import ServeFile
from serve_app.types import Effort


def report(file: ServeFile) -> str:
    """Return pools, plans, memory and engine arguments as text. Raises ConfigError if a pool cannot run."""
    settings = file.settings
    model, ingress = settings.model, settings.ingress
    names = ", ".join(model.names)
    lines = [
        f"{file.path}: valid",
        f"model    {names} from {model.path}; effort when none is given: {model.default_effort}",
        f"ingress  {ingress.replicas} at {file.url}, body up to {ingress.max_body_bytes} bytes, "
        f"answer within {ingress.request_timeout_s:g} s (replicas drain for {settings.drain_s:g} s)",
        f"access   {_access(file)}",
        f"router   spill over: {'yes' if settings.router.spill_over else 'no'}; {_targets(settings)}",
    ]
    if ingress.allowed_origins:
        lines.append(f"origins  {_origins(file)}")
    if tracing := settings.tracing:
        share = f"{tracing.sample_ratio:.3g} of requests that no client has decided about"
        lines.append(f"traces   to {tracing.endpoint}, {share}")
    for name in settings.pools:
        lines += ["", *_pool_lines(settings, name)]
    return "\n".join(lines)


def _targets(settings: Settings) -> str:
    rules = settings.router.rules()
    said = []
    for effort, targets in rules.targets.items():
        held = {name: value for name, value in asdict(targets).items() if value is not None}
        said.append(f"{effort}: {', '.join(f'{k} {v:g}' for k, v in held.items()) or 'no targets'}")
    return "; ".join(said)


def _access(file: ServeFile) -> str:
    auth, replicas = file.settings.ingress.auth, file.settings.ingress.replicas
    match file.access:
        case Access.KEYS:
            sources = [auth.keys_file, auth.keys_env and f"${auth.keys_env}"]
            share = (
                f"; each of {replicas} ingress replicas lets its part of a limit pass" if replicas > 1 else ""
            )
            return f"keys of {' and '.join(filter(None, sources))}{share}"
        case Access.OPEN:
            return f"WARNING: open to everyone who reaches {file.host}"
        case Access.LOOPBACK:
            return "WARNING: no keys; open to everyone on this machine"
        case Access.CLOSED:
            return "nobody: no keys, and the network is listened to"


def _origins(file: ServeFile) -> str:
    origins = file.settings.ingress.allowed_origins
    if "*" in origins and file.access is not Access.KEYS:
        return "WARNING: no keys; every page in a browser that reaches the API may use it"
    return f"pages of {', '.join(origins)} may use the API in a browser"


def _pool_lines(settings: Settings, name: str) -> list[str]:
    pool = settings.pools[name]
    if pool.upstream:
        return _upstream_lines(settings, name, pool.upstream)
    plan = pool.plan
    if scale := pool.autoscaling:
        by = (
            f"{scale.target_ongoing_requests:g} requests each" if scale.target_ongoing_requests else "targets"
        )
        replicas = f"{scale.min_replicas} to {scale.max_replicas} replicas, by {by}"
    else:
        replicas = f"{pool.replicas or 1} replica{'s' if (pool.replicas or 1) > 1 else ''}"
    device, graph_tokens = pool.gpu or pool.device.upper(), recorded_tokens(pool)
    lines = [
        f"pool {name}: effort {', '.join(pool.efforts)}; {replicas}",
        f"  plan       tp {plan.tp} x dp {plan.dp}, "
        f"{'experts over ' + str(plan.ep_size) + ' ranks' if plan.ep else 'no expert parallelism'}, "
        f"{plan.nodes} node{'s' if plan.nodes > 1 else ''}: {plan.world_size} {device} a replica",
        f"  placement  {plan.placement_strategy} {plan.bundles(pool.device, pool.cpus_per_rank)}"
        f"{f' on nodes with {pool.node_labels}' if pool.node_labels else ''}",
        *_memory_lines(fit(settings, name), graph_tokens),
    ]
    if spec := pool.speculation:
        most = f"{'up to' if spec.adapt else 'always'} {spec.max_draft_tokens} tokens a step"
        lines.append(f"  draft      EAGLE from {spec.draft}, {most}")
    if 0 < graph_tokens < (full_tokens := full_step_tokens(pool)):
        lines.append(
            f"  WARNING: steps of more than {graph_tokens} tokens are no CUDA graphs, and with all requests "
            f"that an engine takes one is of {full_tokens}: "
            "raise engine.compilation_config.cudagraph_capture_sizes"
        )
    lines.append(
        f"  requests   {pool.max_ongoing_requests} at once a replica, {pool.max_queued_requests} waiting"
    )
    lines.append("  engine arguments")
    lines += [
        f"    {key}: {json.dumps(value)}" for key, value in sorted(engine_arguments(settings, name).items())
    ]
    lines.append("  environment")
    lines += [f"    {key}={value}" for key, value in sorted(settings.engine_environment(name).items())]
    return lines


def _upstream_lines(settings: Settings, name: str, upstream: Upstream) -> list[str]:
    efforts = settings.pools[name].efforts
    home = f"effort {', '.join(efforts)}" if efforts else "overflow, home to no effort"
    source = f"${upstream.key_env}" if upstream.key_env else upstream.key_file
    share, replicas = settings.upstream_share(name), settings.ingress.replicas
    each = f", {share} of each of {replicas} ingress replicas" if replicas > 1 else ""
    lines = [
        f"pool {name}: {home}; a server that Venturi does not run",
        f"  server     {upstream.url}; model {upstream.model or settings.model.name}; "
        f"{f'key of {source}' if source else 'no key'}",
        f"  dialects   {', '.join(upstream.dialects)}",
        *(
            f"  at {effort:<8}{json.dumps(upstream.merge.at(effort))}"
            if effort in upstream.serves
            else f"  at {effort:<8}nothing is sent there"
            for effort in Effort
        ),
        f"  requests   {upstream.max_ongoing_requests} at once{each}",
    ]
    if upstream.shows_its_key:
        lines.append("  WARNING: http sends the key in clear")
    return lines


def _memory_lines(memory: Fit, graph_tokens: int) -> list[str]:
    parts = ", ".join(f"{row.name} {_size(row.num_bytes)}" for row in memory.weights.rows)
    lines = [
        f"  weights    {_size(memory.weights.total_bytes)} a rank ({parts}); shape: {memory.shape_source}",
        f"  KV cache   {memory.kv_bytes_per_token} bytes a token and rank",
    ]
    if memory.draft:
        lines.insert(1, f"  head       {_size(memory.draft.total_bytes)} a rank")
    if memory.num_kv_tokens:
        lines[-1] += f", room for about {memory.num_kv_tokens} tokens a replica"
        if graph_tokens > USUAL_TOKENS:
            lines[-1] += f", less what CUDA graphs of steps of {USUAL_TOKENS} to {graph_tokens} tokens take"
    return lines


def _size(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.2f} GiB" if num_bytes >= GIB / 10 else f"{num_bytes / 2**20:.1f} MiB"
