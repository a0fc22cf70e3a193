"""How does an ingress replica keep its view of all pools fresh?"""

import asyncio
from collections.abc import Mapping

from serve_app.pools.pool import Pool
from serve_app.survival import Survived
from serve_app.types import PoolSnapshot


class Directory:
    """The pools by name, refreshed every `period_s` seconds, or as often as they answer, while `run` runs."""

    def __init__(self, pools: Mapping[str, Pool], period_s: float) -> None:
        self.pools = dict(pools)
        self._period_s = period_s

    async def run(self) -> None:
        """Refresh for ever. Each pool goes at its own pace: one that hangs does not age the others."""
        await asyncio.gather(*(self._keep_fresh(pool) for pool in self.pools.values()))

    async def _keep_fresh(self, pool: Pool) -> None:
        loop, survived = asyncio.get_running_loop(), Survived(f"asking pool {pool.name} for reports")
        while True:
            next_s = loop.time() + self._period_s
            # The policy distrusts what is old, so a failed refresh needs no other handling.
            with survived:
                try:
                    await pool.refresh()
                except Exception:
                    pool.on_refresh()  # who waits is looked at all the same: their time runs out
                    raise
            # A round that took long is not followed by a pause of a whole period.
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    def snapshots(self) -> tuple[PoolSnapshot, ...]:
        """Return what is known of every pool."""
        return tuple(pool.snapshot() for pool in self.pools.values())
