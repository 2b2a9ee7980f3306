"""A stand-in of the hub's HTTP interface, for tests of uploads and downloads without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubStandIn(BaseHTTPRequestHandler):
    """As much of the hub's interface as an upload and a download of small files take."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self._answer({"url": f"http://{self.headers['Host']}/me/toy"})
        elif self.path == "/api/validate-yaml":  # of the card's head
            self._answer({"warnings": [], "errors": []})
        elif "/preupload/" in self.path:
            wanted = json.loads(body)["files"]
            self._answer({"files": [{**f, "uploadMode": "regular", "shouldIgnore": False} for f in wanted]})
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            given = [line["value"] for line in lines if line["key"] == "file"]
            self.files.update({f["path"]: base64.b64decode(f["content"]) for f in given})
            url = f"http://{self.headers['Host']}/me/toy/commit/{COMMIT}"
            self._answer({"success": True, "commitOid": COMMIT, "commitUrl": url})
        else:
            self._answer({"error": self.path}, 404)

    def do_GET(self) -> None:
        if "/tree/" in self.path:
            rows = [(name, len(content)) for name, content in self.files.items()]
            self._answer([{"type": "file", "path": n, "size": size, "oid": n} for n, size in rows])
        elif self.path.startswith("/api/models/me/toy"):
            siblings = [{"rfilename": name} for name in self.files]
            about = {"id": "me/toy", "modelId": "me/toy", "sha": COMMIT, "siblings": siblings}
            self._answer({**about, "private": False, "tags": [], "downloads": 0, "likes": 0})
        elif (name := self.path.partition(f"/me/toy/resolve/{COMMIT}/")[2]) in self.files:
            self._file(self.files[name])
        else:
            self._answer({"error": self.path}, 404)

    do_HEAD = do_GET

    def _file(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _answer(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def hub_environment(home: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that knows the stand-in as the hub, with its cache in `home`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubStandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        **{name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
        **{"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(home)},
        **{"HF_TOKEN": "hf_made_up", "HF_HUB_DISABLE_XET": "1"},
    }
    server.shutdown()
