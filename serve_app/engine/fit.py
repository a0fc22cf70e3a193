"""Does a pool's plan suit the model, and how much memory will each rank take?"""

from dataclasses import dataclass
from typing import NamedTuple

from parallel import hardware
from parallel.cost import Engine
from parallel.engine_arguments import context_splits
from parallel.fit import needs, room
from parallel.memory import CacheFormat, MemoryReport, WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape
from parallel.params import FILE, Params, read
from parallel.speed import usual_head
from serve_app.config import Pool, Settings, resolve
from serve_app.config.pool import Speculation
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
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError([f"pools.{pool_name}: {error}"]) from None


def max_model_len(settings: Settings, pool_name: str) -> int:
    """Return how many tokens of prompt and answer a pool takes: its own setting, or the model's."""
    pool, shape = settings.pools[pool_name], _target(settings).shape
    if pool.upstream:
        return pool.upstream.max_model_len or shape.positions
    return _length(pool, shape)


def _fit(settings: Settings, pool_name: str) -> Fit:
    pool = settings.pools[pool_name]
    target = _target(settings)
    shape, weight_format = target.shape, _weight_format(settings, pool, target)
    _check_length(pool, shape)
    fp8_output = pool.speculation is not None and pool.speculation.fp8_output
    needed = needs(
        shape,
        weight_format,
        pool.plan,
        _cache_format(pool, weight_format),
        head=head_shape(settings, pool_name, pool.speculation) if pool.speculation else None,
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
        shape_source=target.source,
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
    target = _target(settings)
    weight_format = _weight_format(settings, pool, target)
    cache_format = _cache_format(pool, weight_format)
    return Engine(
        hardware.gpu(pool.gpu),
        target.shape,
        weight_format,
        pool.plan,
        cache_format,
        context_splits=context_splits(pool.engine),
    )


def head_shape(settings: Settings, pool_name: str, speculation: Speculation) -> ModelShape:
    """Return the shape of the pool's draft head; the usual one where this machine does not have it."""
    found = _checkpoint(f"pools.{pool_name}.speculation.draft", speculation.draft, draft=True)
    return found.shape if found else usual_head(_target(settings).shape)


class Checkpoint(NamedTuple):
    """What a checkpoint says of itself."""

    shape: ModelShape
    is_fp8: bool
    source: str
    """Where it was read."""


PUBLISHED = Checkpoint(MISTRAL_SMALL_4, is_fp8=False, source="the published Mistral Small 4")
"""What the model is taken to be where this machine does not have it."""


def _target(settings: Settings) -> Checkpoint:
    return _checkpoint("model.path", settings.model.path) or PUBLISHED


def _checkpoint(setting: str, path: str, *, draft: bool = False) -> Checkpoint | None:
    """Return what the params.json says that `setting` leads to, or None when this machine does not have it.

    Raises ConfigError if that is wrong, or cannot be read.
    """
    folder = resolve(path)
    try:
        if not (folder / FILE).is_file():
            return None
        values = read(folder)
        quantization = Params(values).optional_part("quantization")
        is_fp8 = quantization is not None and "fp8" in quantization.text("qformat_weight")
        return Checkpoint(ModelShape.from_params(values, draft=draft), is_fp8, f"{path}/{FILE}")
    except (OSError, ValueError) as error:
        raise ConfigError([f"{setting}={path}: {error}"]) from None


def _weight_format(settings: Settings, pool: Pool, target: Checkpoint) -> WeightFormat:
    """Return what the operator says, else what the checkpoint says, else what the engine computes in."""
    if settings.model.weight_format:
        return settings.model.weight_format
    if target.is_fp8:
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
