"""What does `python -m serve_app up` do and say, from its start until Ctrl-C?"""

import signal
import time

import httpx

from serve_app.errors import StartError
from serve_app.local import LocalSystem
from serve_app.serve_file import ServeFile

QUESTION = "What is 17 + 25?"

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that stop everything: Ctrl-C, a supervisor's, and the terminal's end."""


def up(file: ServeFile) -> None:
    """Bring the system up, show that both efforts answer, and serve until a signal of `ENDING`."""
    for end in ENDING:
        # A process started in the background has SIGINT ignored, and is to be stopped by it all the same;
        # one under `nohup` is not to end with the terminal.
        if end is not signal.SIGHUP or signal.getsignal(end) is not signal.SIG_IGN:
            signal.signal(end, signal.default_int_handler)
    with LocalSystem(file) as system:
        try:
            system.start()
            if file.settings.ingress.auth.has_keys:
                print("\nno question asked: that takes one of your keys")
            else:
                _ask_once_at_each_effort(file)
            print(
                f"\nServing at {file.url}/v1  (dashboard: {system.dashboard_url}).  "
                "Ctrl-C stops everything.\n"
                "The dashboard, and every ray command, asks for this token:\n"
                f"  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={system.ray_token}"
            )
            system.watch()
        except KeyboardInterrupt:
            print()
        finally:
            # Everything is being stopped: a second Ctrl-C would leave Ray and its engines behind.
            for end in ENDING:
                signal.signal(end, signal.SIG_IGN)


def _ask_once_at_each_effort(file: ServeFile) -> None:
    for effort in ("none", "high"):
        body = {
            "model": file.settings.model.name,
            "messages": [{"role": "user", "content": QUESTION}],
            "reasoning_effort": effort,
            "max_tokens": 64,
            "temperature": 0,
        }
        began_s = time.monotonic()
        url = f"{file.url}/v1/chat/completions"
        answer = httpx.post(url, json=body, timeout=120.0, trust_env=False)  # through no proxy
        took_s = time.monotonic() - began_s
        if answer.status_code != 200:
            raise StartError(f"effort {effort} answered {answer.status_code}: {answer.text}")
        choice = answer.json()["choices"][0]
        message = choice["message"]
        print(
            f"\neffort {effort}: pool {answer.headers['x-venturi-pool']}, {took_s:.2f} s, "
            f"{answer.json()['usage']['completion_tokens']} tokens ({choice['finish_reason']})"
        )
        print(f"  question:  {QUESTION}")
        for name in ("reasoning", "content"):
            if message.get(name):
                print(f"  {name + ':':10} {message[name]!r}")
