"""A server to begin with: python app.py --port 8000 --data data"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/":
            self.answer(200, {"hello": "world"})
        else:
            self.answer(404, {"error": "there is nothing here"})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # how many may wait to be accepted; 5 if nothing is said


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--data", type=Path, required=True, help="the folder for all that must survive a restart")
options = parser.parse_args()
Server(("127.0.0.1", options.port), Handler).serve_forever()
