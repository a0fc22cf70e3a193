"""How does a command end: with its status, and quietly where nobody reads it any more?"""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run(main: Callable[[], int]) -> NoReturn:
    """Exit with what `main` returns; with 1 and no traceback if nobody reads its output (`| head`)."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer goes nowhere, so that Python does not fail once more as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
