"""Every YAML file that is deployed is written with care: yamllint finds nothing in it."""

import subprocess
import sys

from serve_app.config import PROJECT_ROOT

RULES = """
extends: default
rules:
  document-start: disable     # serve files have none
  comments-indentation: disable
  line-length: {max: 140}
  truthy: {check-keys: false}
"""


def test_yamllint_finds_nothing() -> None:
    """Not even a warning: keys given twice, wrong indents, blanks at a line's end."""
    command = [sys.executable, "-m", "yamllint", "--strict", "--format", "parsable", "-d", RULES, "deploy"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert (result.stdout + result.stderr, result.returncode) == ("", 0)
