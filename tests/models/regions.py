"""A small endpoint that plays several regions: it looks at the region that a request was signed for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_REGION = re.compile(r"Credential=[^/]+/\d+/([^/]+)/")


class Regions:
    """What each region, or model, refuses with: (status, code, message); None answers. `asked` are regions."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.refuses: dict[str, tuple[int, str, str] | None] = {}
        self.asked: list[str] = []
        self.quota = 6_000.0

    def answer(self, region: str, path: str, target: str) -> tuple[int, str, dict[str, Any]]:
        if target:  # Service Quotas
            return 200, "", {"Quota": {"QuotaCode": "L-58BE175A", "Value": self.quota}}
        self.asked.append(region)
        refusal = self.refuses.get(region) or next(
            (why for key, why in self.refuses.items() if key in path and why), None
        )
        if refusal:
            return refusal[0], refusal[1], {"message": refusal[2]}
        return (
            200,
            "",
            {
                "output": {"message": {"role": "assistant", "content": [{"text": f"from {region}"}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
                "metrics": {"latencyMs": 1},
            },
        )


@contextmanager
def playing_regions() -> Iterator[Regions]:
    """Serve on a free port until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = _REGION.search(self.headers["Authorization"])
            target = self.headers.get("X-Amz-Target", "")
            status, code, body = regions.answer(found[1] if found else "", self.path, target)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if code:
                self.send_header("x-amzn-ErrorType", code)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        regions = Regions(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield regions
        finally:
            server.shutdown()
