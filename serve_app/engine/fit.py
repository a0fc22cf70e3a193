"""Does a pool's plan suit the model, and how much memory will each rank take?"""

import json
from dataclasses import dataclass
from typing import Any

from parallel import hardware
from parallel.cost import Engine
from parallel.fit import needs, room
from parallel.memory import CacheFormat, MemoryReport, WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape
from parallel.speed import usual_head
from serve_app.config import Pool, Settings, resolve
from serve_app.errors import ConfigError

DEFAULT_UTILIZATION = 0.92
"""vLLM's default for gpu_memory_utilization."""


@dataclass(frozen=True)
class Fit:
    """One pool's memory, for each rank."""

    shape_source: str
    """Where the model's shape was read: its params.json, or the published one."""
    weights: MemoryReport
    draft: MemoryReport | None
    kv_bytes_per_token: int
    """The draft head's own cache included."""
    num_kv_tokens: int | None
    """Tokens of context that all ranks keep together; None when the device is not known."""


def fit(settings: Settings, pool_name: str) -> Fit:
    """Return the memory estimate of a pool, or raise ConfigError if its plan cannot run the model."""
    try:
        return _fit(settings, pool_name)
    except ValueError as error:
        raise ConfigError([f"pools.{pool_name}: {error}"]) from None


def max_model_len(settings: Settings, pool_name: str) -> int:
    """Return how many tokens of prompt and answer a pool takes: its own setting, or the model's."""
    pool, shape = settings.pools[pool_name], _shape(_params(settings.model.path))
    if pool.upstream:
        return pool.upstream.max_model_len or shape.positions
    return _length(pool, shape)


def _fit(settings: Settings, pool_name: str) -> Fit:
    pool = settings.pools[pool_name]
    params = _params(settings.model.path)
    shape = _shape(params)
    weight_format = _weight_format(settings, pool, params)
    _check_length(pool, shape)
    fp8_output = pool.speculation is not None and pool.speculation.fp8_output
    needed = needs(
        shape,
        weight_format,
        pool.plan,
        _cache_format(pool, weight_format),
        head=draft_shape(settings, pool_name),
        fp8_output=fp8_output,
        mla=settings.engine_environment(pool_name).get("VLLM_MLA_DISABLE") != "1",
    )
    tokens = None
    if pool.gpu:
        gpu = hardware.gpu(pool.gpu)
        if fp8_output and not gpu.multiplies(8):
            raise ValueError(
                f"speculation.fp8_output=true needs a GPU that multiplies in FP8, not gpu={pool.gpu}"
            )
        share = pool.engine.get("gpu_memory_utilization", DEFAULT_UTILIZATION)
        _, tokens = room(needed, gpu, memory_utilization=share)
        length = _length(pool, shape)
        if tokens // pool.plan.dp < length:
            raise ValueError(
                f"engine.max_model_len={length} is more than the {tokens // pool.plan.dp} tokens of context "
                f"that gpu={pool.gpu} has room for with {pool.plan}"
            )
    return Fit(
        shape_source=f"{settings.model.path}/params.json"
        if params is not None
        else "the published Mistral Small 4",
        weights=needed.weights,
        draft=needed.draft,
        kv_bytes_per_token=needed.kv_bytes_per_token,
        num_kv_tokens=tokens,
    )


def cost_engine(settings: Settings, pool_name: str) -> Engine | None:
    """Return the pool's engine as the cost model takes it, or None when its device is not known."""
    pool = settings.pools[pool_name]
    if pool.gpu is None:
        return None
    params = _params(settings.model.path)
    weight_format = _weight_format(settings, pool, params)
    cache_format = _cache_format(pool, weight_format)
    return Engine(hardware.gpu(pool.gpu), _shape(params), weight_format, pool.plan, cache_format)


def draft_shape(settings: Settings, pool_name: str) -> ModelShape | None:
    """Return the shape of the pool's draft head, or None when there is none, or not on this machine."""
    speculation = settings.pools[pool_name].speculation
    params = _params(speculation.draft) if speculation else None
    return None if params is None else ModelShape.from_params(params, draft=True)


def cost_head(settings: Settings, pool_name: str, engine: Engine) -> ModelShape:
    """Return the shape of the draft head that the cost model reckons with: the pool's, or the usual one."""
    return draft_shape(settings, pool_name) or usual_head(engine.shape)


def _shape(params: dict[str, Any] | None) -> ModelShape:
    return MISTRAL_SMALL_4 if params is None else ModelShape.from_params(params)


def _params(path: str) -> dict[str, Any] | None:
    """Return the checkpoint's params.json, or None when this machine does not have the checkpoint."""
    file = resolve(path) / "params.json"
    if not file.is_file():
        return None
    params: dict[str, Any] = json.loads(file.read_text())
    return params


def _weight_format(settings: Settings, pool: Pool, params: dict[str, Any] | None) -> WeightFormat:
    """Return what the operator says, else what the checkpoint says, else what the engine computes in."""
    if settings.model.weight_format:
        return settings.model.weight_format
    quantization = (params or {}).get("quantization", {})
    if "fp8" in str(quantization.get("qformat_weight", "")):
        return WeightFormat.FP8
    return WeightFormat.FLOAT32 if pool.engine.get("dtype") == "float32" else WeightFormat.BF16


def _cache_format(pool: Pool, weight_format: WeightFormat) -> CacheFormat:
    if str(pool.engine.get("kv_cache_dtype", "auto")).startswith("fp8"):
        return CacheFormat.FP8
    return CacheFormat.FLOAT32 if weight_format is WeightFormat.FLOAT32 else CacheFormat.BF16


def _length(pool: Pool, shape: ModelShape) -> int:
    length: int = pool.engine.get("max_model_len") or shape.positions
    return length


def _check_length(pool: Pool, shape: ModelShape) -> None:
    length, drafted = _length(pool, shape), pool.speculation and pool.speculation.max_model_len
    if length > shape.positions:
        raise ValueError(
            f"engine.max_model_len={length} is more than the model's {shape.positions} positions"
        )
    if drafted and drafted > length:
        raise ValueError(f"speculation.max_model_len={drafted} is more than engine.max_model_len={length}")
