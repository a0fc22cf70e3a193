"""What does an engine's log say: what it is doing, if it takes its time, and why, if it failed?"""

import re
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 4096
MAX_CHARS = 90
MAX_ERROR_CHARS = 600
MAX_LOG_BYTES = 1 << 20
"""Of what an engine wrote before it failed: more than vLLM writes at a start."""

_PROCESS, _PLACE = r"\(\w+ pid=\d+\) ", r" \S+ \S+ \[[^\]]*\] "
_PREFIX = re.compile(rf"^({_PROCESS}?)*((DEBUG|INFO|WARNING|ERROR){_PLACE})?")
"""vLLM's: which process, level, time and place."""

_RAISED = re.compile(rf"(?:^|[\r\n]){_PROCESS}ERROR{_PLACE}(\w+(?:\.\w+)*(?:Error|Exception): [^\r\n]+)")
"""The last line of a traceback that one of the engine's processes logs."""


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


def first_error(text: str) -> str:
    """Return the first error that one of an engine's processes logged, by its type; nothing if none did.

    The others follow from it: each process tells of the one below it that failed.
    """
    found = _RAISED.search(text)
    return found[1].strip()[:MAX_ERROR_CHARS] if found else ""


@dataclass(frozen=True)
class Output:
    """What this process and those that it starts write from a certain moment on, where that is a file."""

    logs: tuple[tuple[Path, int], ...]
    """Each with its length at that moment."""

    @classmethod
    def from_now_on(cls) -> "Output":
        """Whatever is written after this."""
        logs = {Path(f"/proc/self/fd/{fd}").resolve() for fd in (1, 2)}
        return cls(tuple((log, log.stat().st_size) for log in sorted(logs) if log.is_file()))

    def first_error(self) -> str:
        """Return the first error of an engine in it; nothing if there is none."""
        for log, start in self.logs:
            with log.open("rb") as file:
                file.seek(start)
                if error := first_error(file.read(MAX_LOG_BYTES).decode(errors="replace")):
                    return error
        return ""
