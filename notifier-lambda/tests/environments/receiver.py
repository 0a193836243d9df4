"""The receiving end: an HTTP server on a free port that verifies each notice and records it."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT_SECRET = "whsec_bmV4dCBzZWNyZXQgdGhhdCBjb21lcyBub3c="

# A key with this in it is refused for good.
REFUSED = "refuse me"


def key_of(secret):
    return base64.b64decode(secret.removeprefix("whsec_"))


class Receiver:
    """Answers 202, 401 to a wrong signature, 422 to keys that are refused."""

    def __init__(self):
        self.secrets = [SECRET]
        self.changed = threading.Condition()
        self.taken = []
        self.refused = []
        self.unauthorized = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.receive(self.headers, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/notices"

    def receive(self, headers, body):
        with self.changed:
            try:
                if not self.is_genuine(headers, body):
                    self.unauthorized += 1
                    return 401
                notice = json.loads(body)
                place = (notice["bucket"], notice["key"])
                if REFUSED in notice["key"]:
                    self.refused.append(place)
                    return 422
                self.taken.append(place)
                return 202
            finally:
                self.changed.notify_all()

    def is_genuine(self, headers, body):
        """After the Standard Webhooks convention, computed by other means than ours."""
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        if abs(time.time() - int(headers["webhook-timestamp"])) > 60:
            return False
        for secret in self.secrets:
            tag = base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()
            if f"v1,{tag}" in headers["webhook-signature"].split(" "):
                return True
        return False

    def forget(self):
        with self.changed:
            self.taken, self.refused, self.unauthorized = [], [], 0

    def wait_until(self, holds, what, seconds=60):
        with self.changed:
            if not self.changed.wait_for(lambda: holds(self), seconds):
                raise AssertionError(f"{what}: taken {self.taken}, refused {self.refused}")
