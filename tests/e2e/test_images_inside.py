"""Does the whole system fetch nothing from inside, however a client spells the way there?

Redirects and names that change need a public server: `tests/serve_app/ingress/test_fetch_namespace.py`.
"""

import socket
from typing import Any

import httpx
import pytest

from tests.e2e.inside import Inside
from tests.e2e.metrics import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

ROUTES: dict[str, tuple[str, Any, str]] = {
    "chat": (
        "/v1/chat/completions",
        lambda url: {"messages": [{"role": "user", "content": [_text("text"), _image(url)]}]},
        "messages.0.content.1.image_url.url",
    ),
    "responses": (
        "/v1/responses",
        lambda url: {
            "input": [
                {
                    "role": "user",
                    "content": [_text("input_text"), {"type": "input_image", "image_url": url}],
                }
            ]
        },
        "input.0.content.1.image_url",
    ),
    "messages": (
        "/v1/messages",
        lambda url: {
            "messages": [
                {
                    "role": "user",
                    "content": [_text("text"), {"type": "image", "source": {"type": "url", "url": url}}],
                }
            ],
            "max_tokens": 1,
        },
        "messages.0.content.1.source.url",
    ),
}
HOSTS = (
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "localhost",
    "localhost.localdomain",
    "example.com@127.0.0.1",
    "169.254.169.254",
    "10.0.0.7",
    "[fe80::1]",
    "[fd00:ec2::254]",
)


def _text(kind: str) -> dict[str, str]:
    return {"type": kind, "text": "What colour is the circle?"}


def _image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def urls(port: int) -> list[str]:
    """The ways in: by https at each host, then by other schemes, and by what parsers disagree about."""
    here = f"127.0.0.1:{port}"
    return [
        *(f"https://{host}:{port}/latest/meta-data" for host in HOSTS),
        f"https://{socket.gethostname()}:{port}/",
        *(f"{scheme}://{here}/a.png" for scheme in ("http", "HTTP", "ftp", "ws", "gopher")),
        "file:///etc/passwd",
        f"//{here}/a.png",
        f"https://{here}\\@example.com/",
        f"https://{here}#@example.com/",
    ]


@pytest.mark.parametrize("dialect", ROUTES)
def test_nothing_inside_is_reached(http: httpx.Client, inside: Inside, model: str, dialect: str) -> None:
    """Each is a 400 in its dialect that names the part; whoever listens there hears nothing."""
    path, body, param = ROUTES[dialect]
    before = len(inside.connections)
    for url in urls(inside.port):
        answer = http.post(path, json={"model": model, **body(url)})
        assert answer.status_code == 400, f"{url}: {answer.text}"
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"].startswith(f"{param}: "), url
        if dialect == "messages":
            assert answer.json()["type"] == "error"
        else:
            assert error["param"] == param
    with socket.create_connection(("127.0.0.1", inside.port)):
        wait_until(lambda: len(inside.connections) > before, 5.0)
    assert len(inside.connections) == before + 1, (
        "only this test's own connection, which shows that it listens"
    )
