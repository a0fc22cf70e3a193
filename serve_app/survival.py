"""How does work that is done again and again go on after an error, without a line in the log for each?"""

import asyncio
import logging
from types import TracebackType

logger = logging.getLogger("ray.serve")


class Survived:
    """The context of each round of some work, which an error of one round does not end.

    Of errors in a row the first is logged, with its traceback, and the round that is well again.
    """

    def __init__(self, work: str) -> None:
        self._work = work
        self._is_failing = False

    def __enter__(self) -> None:
        """Begin a round."""

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """End a round; return whether its error is survived, as all are but being cancelled."""
        if error is None:
            if self._is_failing:
                logger.info(f"{self._work}: works again")
            self._is_failing = False
            return False
        if not isinstance(error, Exception) and not _is_somebody_elses(error):
            return False
        if not self._is_failing:
            logger.error(f"{self._work}: failed; it is tried again until it works", exc_info=error)
        self._is_failing = True
        return True


def _is_somebody_elses(error: BaseException) -> bool:
    """Whether something that was waited for has been cancelled, and not the task that waits."""
    task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
    return task is not None and not task.cancelling()
