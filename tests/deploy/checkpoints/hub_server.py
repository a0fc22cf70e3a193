"""A hub of one repository, over HTTP, that can be told to misbehave."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """What is served, and how."""

    repository: str
    files: dict[str, bytes]
    small: tuple[str, ...] = ("params.json",)
    """Files that are in Git itself: the hub gives no SHA-256 of them."""
    url: str = ""
    token: str | None = None
    gated: bool = False
    break_after_bytes: int | None = None
    """Where an answer with a file's content breaks off."""
    rests: bool = True
    """Whether a Range is answered at all."""
    corrupt: set[str] = field(default_factory=set)
    ranges: list[str] = field(default_factory=list)
    """The Range headers that came."""
    served: list[str] = field(default_factory=list)
    """The files whose content was asked for."""

    def listing(self) -> dict[str, object]:
        """The answer to a model's metadata with its files."""
        siblings = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            sibling: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
            if name not in self.small:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
            siblings.append(sibling)
        return {"id": self.repository, "sha": COMMIT, "siblings": siblings}


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve it on a free port, and put the address into it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(content=False)

        def do_GET(self) -> None:
            self._answer(content=True)

        def _answer(self, content: bool) -> None:
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                code = "GatedRepo" if hub.gated else "RepoNotFound"
                self._send(403 if hub.gated else 401, b"", {"X-Error-Code": code, "X-Error-Message": "no"})
            elif self.path.startswith(f"/api/models/{hub.repository}"):
                self._send(200, json.dumps(hub.listing()).encode(), {"Content-Type": "application/json"})
            else:
                self._file(self.path.rsplit("/", 1)[1], content)

        def _file(self, name: str, content: bool) -> None:
            whole = hub.files[name]
            etag = hashlib.sha256(whole).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if not content:
                self._send(200, whole, headers, body=False)
                return
            hub.served.append(name)
            sent = whole if name not in hub.corrupt else bytes(len(whole))
            if asked := self.headers.get("Range"):
                hub.ranges.append(asked)
                if not hub.rests:
                    self.close_connection = True
                    return
                begin = int(asked.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {begin}-{len(sent) - 1}/{len(sent)}"
                self._send(206, sent[begin:], headers)
            else:
                self._send(200, sent, headers)

        def _send(self, status: int, body_bytes: bytes, headers: dict[str, str], body: bool = True) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body_bytes)))
            self.end_headers()
            if not body:
                return
            stop = hub.break_after_bytes
            if stop is not None and len(body_bytes) > stop and "X-Repo-Commit" in headers:
                self.wfile.write(body_bytes[:stop])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(body_bytes)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
