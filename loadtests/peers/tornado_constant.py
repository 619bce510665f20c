"""A bare Tornado RequestHandler sending the bytes of the file BODY, as Tornado's own tutorial begins."""

import asyncio
import os
import sys
from pathlib import Path

import tornado.web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

BODY = Path(os.environ["BODY"]).read_bytes()


class MessageList(tornado.web.RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(BODY)


async def main(port: int) -> None:
    sockets = bind_sockets(port, "127.0.0.1")
    HTTPServer(tornado.web.Application([("/messages", MessageList)])).add_sockets(sockets)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
