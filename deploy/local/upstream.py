"""The upstream of ./deploy/local/run: echoes the request that it received, which shows what Envoy and keyward changed."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def echo(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        # http.server cannot read a chunked body, and would take the rest of it for the next request.
        self.close_connection = "transfer-encoding" in self.headers
        headers = {name.lower(): ", ".join(self.headers.get_all(name)) for name in self.headers}
        received = {"method": self.command, "path": self.path, "headers": headers}
        body = json.dumps(received, indent=2, sort_keys=True).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = echo


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
