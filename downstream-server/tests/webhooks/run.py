#!/usr/bin/env python3
"""Holds our signatures against two libraries of Standard Webhooks that are not ours, in both directions: what the
notifier and the http handler sign, they verify; what they sign, the server takes; with each form of a secret.

    run.py --server PROGRAM --notifier PROGRAM --npm FOLDER

It runs under a Python that has `standardwebhooks`; FOLDER is the npm package of that name.
"""

import argparse
import base64
import datetime
import http.server
import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import standardwebhooks

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "browser"))
from page import PATIENCE, Bucket, eventually  # noqa: E402

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Python:
    """The library of PyPI."""

    def __init__(self, secret, raw):
        self.webhook = standardwebhooks.Webhook(secret.encode() if raw else secret)

    def sign(self, name, seconds, body):
        return self.webhook.sign(name, datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc), body)

    def verify(self, body, headers):
        try:
            self.webhook.verify(body, headers)
            return True
        except standardwebhooks.WebhookVerificationError:
            return False


class Node:
    """The library of npm, a process for each question."""

    folder = None

    def __init__(self, secret, raw):
        self.secret, self.raw = secret, raw

    def ask(self, **question):
        question.update(secret=self.secret, raw=self.raw)
        command = ["node", str(HERE / "library.cjs"), str(self.folder)]
        answer = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, timeout=PATIENCE)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    def sign(self, name, seconds, body):
        return self.ask(sign=name, seconds=seconds, body=body)

    def verify(self, body, headers):
        return self.ask(headers=headers, body=body)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    received = queue.Queue()
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.received.put((body, {name: self.headers[name] for name in HEADERS}))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Lambda(http.server.BaseHTTPRequestHandler):
    """As much of Lambda's Runtime API as one invocation needs; then it has no more events."""

    events = None
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        event = json.dumps(self.events.get()).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "request")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 60) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:notifier")
        self.send_header("Content-Length", str(len(event)))
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def post(url, body, headers):
    request = urllib.request.Request(url, body.encode(), {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def check(options, folder, ports, events, secret, raw):
    bucket, receiver, runtime = ports
    ready = folder / "ready.json"
    log = open(folder / "log", "ab")
    server = subprocess.Popen(
        [options.server, "--listen", "127.0.0.1:0", "--dir", folder / "inbox", "--ready-file", ready,
         "--notices-buckets", "logs", "--s3-path-style", "true", "--s3-endpoint", f"http://127.0.0.1:{bucket}",
         "--handler-kind", "http", "--handler-url", f"http://127.0.0.1:{receiver}/", "--handler-format", "json"],
        env={"SLUICEGATE_SERVER_S3_ACCESS_KEY_ID": "id", "SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY": "secret",
             "SLUICEGATE_SERVER_NOTICES_SECRETS": secret, "SLUICEGATE_SERVER_HANDLER_SECRETS": secret},
        stderr=log)
    notifier = subprocess.Popen(
        [options.notifier],
        env={"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime}", "AWS_LAMBDA_FUNCTION_NAME": "notifier",
             "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
             "SLUICEGATE_NOTIFY_URL": f"http://127.0.0.1:{receiver}/", "SLUICEGATE_NOTIFY_SECRET": secret},
        stderr=log)
    try:
        eventually("the server is ready", ready.exists)
        url = json.loads(ready.read_text())["url"] + "/v1/notices"
        libraries = [library(secret, raw) for library in (Python, Node)]
        others = [library("whsec_" + base64.b64encode(b"another secret, of 32 bytes ....").decode(), False)
                  for library in (Python, Node)]
        for number, (library, other) in enumerate(zip(libraries, others)):
            # Theirs, taken by ours.
            key = f"{'raw' if raw else secret[:5]}-{number}.log"
            Bucket.objects[f"/logs/{key}"] = "one\n\u00fc \u65e5\u672c\n{\"three\":3}\n".encode()
            notice = json.dumps({"bucket": "logs", "key": key}, ensure_ascii=False)
            now = int(time.time())
            headers = {"webhook-id": f"msg_{number}", "webhook-timestamp": str(now)}
            for signer, expected in ((other, 401), (library, 202)):
                headers["webhook-signature"] = signer.sign(f"msg_{number}", now, notice)
                assert post(url, notice, headers) == expected, (type(signer).__name__, expected)
            # Ours, verified by theirs: what the handler forwards, and what the notifier tells.
            record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                      "s3": {"bucket": {"name": "logs"}, "object": {"key": f"f%C3%BCr/{key}"}}}
            events.put({"Records": [record]})
            for _ in range(2):
                body, sent = Receiver.received.get(timeout=PATIENCE)
                for verifier, wrong in zip(libraries, others):
                    assert verifier.verify(body, sent), (type(verifier).__name__, body, sent)
                    assert not wrong.verify(body, sent), "another secret verifies as well"
                    assert not verifier.verify(body.replace("o", "0", 1), sent), "another body verifies as well"
        assert Receiver.received.empty()
    except BaseException:
        sys.stderr.write((folder / "log").read_text())
        raise
    finally:
        for process in (server, notifier):
            process.kill()
            process.wait()


def main():
    arguments = argparse.ArgumentParser()
    for name in ("server", "notifier", "npm"):
        arguments.add_argument(f"--{name}", required=True)
    options = arguments.parse_args()
    Node.folder = options.npm
    made = subprocess.run([options.server, "secret", "new"], check=True, capture_output=True, text=True).stdout.strip()
    again = subprocess.run([options.server, "secret", "new"], check=True, capture_output=True, text=True).stdout.strip()
    assert made.startswith("whsec_") and len(base64.b64decode(made[6:])) == 32 and made != again, made
    bucket, receiver = serve(Bucket), serve(Receiver)
    forms = [
        ("what `secret new` prints", made, False),
        ("base64 without its prefix, as the libraries take it", again[6:], False),
        ("base64 without its prefix, taken as plain text", again[6:], True),
        ("plain text", "a plain text that is no base64", True),
    ]
    for form, secret, raw in forms:
        # A notifier that was ended may still wait for an event at its Runtime API: each has one of its own.
        runtime = type("Runtime", (Lambda,), {"events": queue.Queue()})
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            check(options, pathlib.Path(folder), (bucket, receiver, serve(runtime)), runtime.events, secret, raw)
        print(f"signed and verified, both ways, in Python and in JavaScript: {form}")


if __name__ == "__main__":
    main()
