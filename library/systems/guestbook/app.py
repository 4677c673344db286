"""The guestbook's application: entries live in Redis, pages are made here.

GET /    the entries, and the machine that answered
POST /   entry=TEXT adds one

Only the standard library: the Redis protocol is a few lines.
"""

import html
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

REDIS = (os.environ["REDIS_HOST"], int(os.environ["REDIS_PORT"]))
MAX_ENTRY = 1000

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Guestbook</title>
<style>
  body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 38rem; margin: 3rem auto; padding: 0 1rem; }}
  li {{ margin: .3rem 0; overflow-wrap: anywhere; }}
  input {{ font: inherit; padding: .4rem; width: 70%; }} button {{ font: inherit; padding: .4rem .8rem; }}
  footer {{ margin-top: 2rem; color: #777; font-size: .9rem; }}
</style>
<h1>Guestbook</h1>
<form method="post" action="/"><input name="entry" maxlength="1000" autofocus required> <button>Sign</button></form>
<ul>
{entries}
</ul>
<footer>answered by {host}</footer>
"""


def redis(*command):
    """Runs one Redis command and returns its reply (RESP, version 2)."""

    def reply(stream):
        line = stream.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise OSError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [reply(stream) for _ in range(int(rest))]
        return rest.decode()

    words = [w.encode() for w in command]
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
    with socket.create_connection(REDIS, timeout=5) as conn:
        conn.sendall(request)
        with conn.makefile("rb") as stream:
            return reply(stream)


class Guestbook(BaseHTTPRequestHandler):
    def do_GET(self):
        entries = redis("LRANGE", "entries", "0", "99")
        self.answer(200, PAGE.format(
            entries="\n".join(f"<li>{html.escape(e)}</li>" for e in entries),
            host=html.escape(socket.gethostname()),
        ))

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        form = parse_qs(self.rfile.read(min(length, 16 * MAX_ENTRY)).decode("utf-8", "replace"))
        entry = form.get("entry", [""])[0].strip()[:MAX_ENTRY]
        if not entry:
            return self.answer(400, "entry=TEXT is missing\n")
        redis("LPUSH", "entries", entry)
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    host, port = os.environ["LISTEN"].rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Guestbook).serve_forever()
