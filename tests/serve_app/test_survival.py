"""Work that is done again and again: what ends it, what does not, and what the log says."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from serve_app.survival import Survived


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what is logged; Ray keeps its logger to itself."""
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, logger="ray.serve"):
        yield caplog
    logger.removeHandler(caplog.handler)


def test_a_spell_of_errors_is_logged_once(said: pytest.LogCaptureFixture) -> None:
    """The first error with its traceback, then the end of the spell; a later spell is one of its own."""
    survived = Survived("counting sheep")
    for error in (None, OSError("fog"), ValueError("dog"), None, None, OSError("wolf")):
        with survived:
            if error:
                raise error
    failed, again = "counting sheep: failed; it is tried again until it works", "counting sheep: works again"
    assert [record.getMessage() for record in said.records] == [failed, again, failed]
    assert [str(record.exc_info[1]) for record in said.records if record.exc_info] == ["fog", "wolf"]


async def test_who_is_cancelled_ends(said: pytest.LogCaptureFixture) -> None:
    """Its task is over; what it waited for being cancelled is an error like any other."""
    survived, num_survived = Survived("waiting"), 0

    async def wait() -> None:
        nonlocal num_survived
        while True:
            other = asyncio.get_running_loop().create_future()
            if not num_survived:
                other.cancel()
            with survived:
                await other
            num_survived += 1

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert (num_survived, task.cancelled()) == (1, True)
    assert [record.levelname for record in said.records] == ["ERROR"]


def test_what_ends_the_process_is_not_survived() -> None:
    """Such as Ctrl-C."""
    with pytest.raises(KeyboardInterrupt), Survived("work"):
        raise KeyboardInterrupt
