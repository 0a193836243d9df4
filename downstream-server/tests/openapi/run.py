#!/usr/bin/env python3
"""Holds the OpenAPI document against the running server: schemathesis asks what the document allows, and what it
does not, and looks whether the answers are as the document says.

    run.py --server PROGRAM --schemathesis PROGRAM
"""

import argparse
import http.server
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "browser"))
from page import Bucket, Server, TOKEN, eventually  # noqa: E402


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--server", required=True)
    arguments.add_argument("--schemathesis", required=True)
    options = arguments.parse_args()
    bucket = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=bucket.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = pathlib.Path(folder)
        server = Server(options.server, folder, bucket.server_port)
        try:
            # Objects 1 to 5, so that numbers which are tried first are of something: done and gone.
            for number in range(1, 6):
                if number != 2:
                    Bucket.objects[f"/logs/day/{number}.log"] = b"one\ntwo\n"
                server.notify(f"day/{number}.log")
            command = [
                options.schemathesis, "run", f"{server.url}/v1/openapi.json", "--header", f"Authorization: Bearer {TOKEN}",
                # It never ends; the unit tests have it.
                "--exclude-path", "/v1/stream",
                "--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--seed", "1", "--request-timeout", "20",
                # Notices ignore members that they do not know and replays their body, on purpose; some requests are
                # refused for what is in the inbox, which no document says; and this machine reads without a token.
                "--exclude-checks", "negative_data_rejection,positive_data_acceptance,ignored_auth",
                "--no-color",
            ]
            environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
            outcome = subprocess.run(command, env=environment, cwd=folder)
            eventually("the server still answers", lambda: server.process.poll() is None)
            server.stop()
        finally:
            server.process.kill()
    sys.exit(outcome.returncode)


if __name__ == "__main__":
    main()
