"""Who starts the bootstrap: a bare Runtime API that measures, and cargo-lambda's emulator."""

import json
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FUNCTION = {
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "SLUICEGATE_NOTIFY_RETRY_BASE": "10ms",
    "SLUICEGATE_LOG_FORMAT": "json",
}


class Bootstrap:
    """The packaged program as a process; ended with the block that started it."""

    def __init__(self, program, api, name, settings):
        environment = {**FUNCTION, **settings, "AWS_LAMBDA_RUNTIME_API": api, "AWS_LAMBDA_FUNCTION_NAME": name}
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([program], env=environment, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def logged(self):
        self.log.seek(0)
        return self.log.read()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A runtime that was killed closes its connection; that is no news."""


class RuntimeApi:
    """The two requests of Lambda's Runtime API that a runtime makes, and when each came."""

    def __init__(self):
        self.events = queue.Queue()
        self.asked = queue.Queue()
        self.answers = queue.Queue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                api.asked.put(time.monotonic())
                event = api.events.get()
                if event is None:
                    return
                body = json.dumps(event).encode()
                self.send_response(200)
                self.send_header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                self.send_header("lambda-runtime-deadline-ms", str(int((time.time() + 30) * 1000)))
                self.send_header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:1:function:n")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                api.answers.put((time.monotonic(), self.path.rsplit("/", 1)[1], body))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def invoke(self, event):
        """What the function answered, and whether it failed."""
        self.events.put(event)
        _, kind, body = self.answers.get(timeout=60)
        return kind == "error", json.loads(body)

    def close(self):
        self.events.put(None)
        self.server.shutdown()
        self.server.server_close()


class Emulator:
    """cargo-lambda's own Runtime API and invoke API."""

    def __init__(self, cargo_lambda):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory()
        # It builds nothing here, and asks cargo about the package all the same.
        os.mkdir(os.path.join(self.folder.name, "src"))
        for name, text in [("Cargo.toml", '[package]\nname = "none"\n'), ("src/main.rs", "fn main() {}\n")]:
            with open(os.path.join(self.folder.name, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.url = f"http://127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile("w+")
        command = [cargo_lambda, "lambda", "watch", "--only-lambda-apis"]
        command += ["--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
        self.process = subprocess.Popen(
            command, cwd=self.folder.name, stdout=self.log, stderr=self.log, start_new_session=True
        )
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.log.seek(0)
                raise AssertionError(f"cargo-lambda did not listen: {self.log.read()}")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def invoke(self, event):
        """What the function answered, and whether it failed."""
        request = urllib.request.Request(
            f"{self.url}/2015-03-31/functions/_/invocations", json.dumps(event).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                failed = "x-amz-function-error" in answer.headers
                return failed, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return True, json.loads(error.read())
