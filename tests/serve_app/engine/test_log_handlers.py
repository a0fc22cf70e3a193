"""Log lines of a replica, after somebody has set logging up anew."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, logging.config, logging.handlers, sys
from contextlib import nullcontext
from serve_app.engine.log_handlers import kept_open

logger = logging.getLogger("ray.serve")
file = logging.handlers.RotatingFileHandler(sys.argv[1])
logger.addHandler(logging.handlers.MemoryHandler(1, target=file))
with kept_open(logger) if sys.argv[2] == "kept" else nullcontext():
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
logger.error("the engine has errored")
"""


@pytest.mark.parametrize(("how", "written"), [("kept", "the engine has errored\n"), ("lost", "")])
def test_lines_after_it(tmp_path: Path, how: str, written: str) -> None:
    """They reach the file as Ray Serve's handlers write it; without us they are lost."""
    # In a process of its own: it closes the handlers of all that runs here.
    path = tmp_path / "log"
    subprocess.run([sys.executable, "-c", PROGRAM, str(path), how], check=True)
    assert path.read_text() == written
