"""A server that is not the lab's, with the strange answers that servers give: `python shop.py PORT`."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/items":
            self.answer(200, json.dumps({"items": [1, 2], "query": query, "key": self.headers.get("Authorization")}))
        elif path == "/nonsense":
            self.answer(200, "this is no JSON")
        elif path == "/wrong":
            self.answer(200, '{"items": []}')
        elif path == "/hang":
            time.sleep(60)
        elif path == "/moved":
            self.answer(302, "", ("Location", "/items"))
        elif path == "/chunked":
            self.chunked([b"first ", b"x" * 100_000, b" last"])
        elif path == "/until-close":
            self.until_close(b"to the end")
        else:
            self.answer(404, "no such page")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(201, json.dumps({"got": body.decode(), "type": self.headers.get("Content-Type")}))

    def answer(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(text.encode()))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def chunked(self, parts: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def until_close(self, content: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
