"""Counts visits in Redis. Only the standard library: INCR is one line."""

import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

STORE = urlsplit(os.environ["REDIS_URL"])


def visits():
    with socket.create_connection((STORE.hostname, STORE.port), timeout=5) as s:
        s.sendall(b"INCR visits\r\n")
        return int(s.makefile("rb").readline()[1:])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        text = "ok\n" if self.path == "/health" else f"{os.environ['TITLE']}: {visits()}, on {socket.gethostname()}\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


host, _, port = os.environ["LISTEN"].rpartition(":")
ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
