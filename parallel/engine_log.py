"""What does an engine that takes its time say last? A bar of its loading or capturing, or its latest line."""

import re
from pathlib import Path

TAIL_BYTES = 4096
MAX_CHARS = 90

_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) ?)*((DEBUG|INFO|WARNING|ERROR) \S+ \S+ \[[^\]]*\] )?")
"""vLLM's: which process, level, time and place."""


def last_words(log: Path) -> str:
    """Return the last thing in a log, in MAX_CHARS at most; nothing if there is none.

    Bars are written over and over in one line: it is the latest state that counts.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except OSError:
        return ""
    said = (_PREFIX.sub("", piece).strip() for piece in reversed(re.split(r"[\r\n]", tail)))
    return next((words[:MAX_CHARS] for words in said if words), "")
