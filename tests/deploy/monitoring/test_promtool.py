"""Do Prometheus' own checks pass, and do the alerts fire when they should?"""

import shutil
import subprocess

import pytest

from deploy.monitoring.__main__ import HERE

PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool(arguments: tuple[str, ...]) -> None:
    """It says what is wrong, and ends with a status."""
    done = subprocess.run([str(PROMTOOL), *arguments], cwd=HERE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
