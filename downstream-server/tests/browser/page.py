#!/usr/bin/env python3
"""The page in a real browser: it starts the server and headless Chromium, posts notices, and
looks at what a person would see. Nothing but Python's own library is needed: Chromium is spoken
to over its debugging pipe.

    page.py [--server PROGRAM] [--axe FILE] [--screenshots FOLDER]

Without --server the release build of the server is made and used. With --axe (the file axe.min.js of
axe-core) the page must have no violation of accessibility that it finds.
"""

import argparse
import base64
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import large

PATIENCE = 60.0
# What the one-command demo promises: a pasted line is on the page within this time.
PROMISED = 3.0
TOKEN = "the-token-of-the-browser"
ATTACK = "<img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"


class Bucket(http.server.BaseHTTPRequestHandler):
    """As much of S3 as a GET and a HEAD need; `objects` is the bucket."""

    objects = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content = self.objects.get(urllib.parse.unquote(self.path.split("?")[0]))
        if content is None:
            body = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
            self.answer(404, body, {"Content-Type": "application/xml"})
        else:
            self.answer(200, content, {"ETag": f'"{hash(content):x}"', "Last-Modified": self.date_time_string()})

    do_HEAD = do_GET

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server:
    """The server under test, in a folder of its own."""

    def __init__(self, program, folder, bucket_port):
        self.ready = folder / "ready.json"
        self.ready.unlink(missing_ok=True)
        self.log = open(folder / "server.log", "ab")
        self.process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0", "--dir", folder / "inbox", "--ready-file", self.ready,
             "--notices-buckets", "logs", "--s3-path-style", "true", "--retry-base", "10ms", "--retry-max", "50ms",
             "--retry-missing-attempts", "3", "--s3-endpoint", f"http://127.0.0.1:{bucket_port}"],
            env={"SLUICEGATE_SERVER_S3_ACCESS_KEY_ID": "id", "SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY": "secret",
                 "SLUICEGATE_SERVER_TOKENS": f"browser:{TOKEN}"},
            stderr=self.log)
        eventually("the server is ready", self.ready.exists)
        self.url = json.loads(self.ready.read_text())["url"]

    def notify(self, key):
        body = json.dumps({"bucket": "logs", "key": key}).encode()
        request = urllib.request.Request(f"{self.url}/v1/notices", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 202, answer.status

    def stop(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, "the server did not stop in order"


class Browser:
    """Headless Chromium with one page, over its debugging pipe (messages end in a zero byte)."""

    def __init__(self, folder):
        to_browser, self.commands = os.pipe()
        self.answers, from_browser = os.pipe()

        def descriptors_3_and_4():
            # Out of the way first: 3 or 4 may be among them.
            source, sink = os.dup(to_browser), os.dup(from_browser)
            source, sink = [fd if fd > 4 else os.dup(os.dup(fd)) for fd in (source, sink)]
            os.dup2(source, 3)
            os.dup2(sink, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={folder}"],
            preexec_fn=descriptors_3_and_4, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.last = 0
        self.rest = b""
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        # Keys are for the page that has the focus.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def receive(self):
        while b"\0" not in self.rest:
            piece = os.read(self.answers, 1 << 16)
            assert piece, "the browser ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def press(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def until(self, what, script, patience=PATIENCE):
        return eventually(what, lambda: self.run(script), patience)

    def look(self, width, height, scheme, file=None):
        """Sets the window, and saves what it shows. The page must not be wider than the window."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        wide = self.run("document.documentElement.scrollWidth")
        assert wide <= width, f"the page is {wide} wide in a window of {width}"
        if file:
            self.run("scrollTo(0, 0)")
            shot = self.call("Page.captureScreenshot", captureBeyondViewport=False)
            file.write_bytes(base64.b64decode(shot["data"]))

    def axe(self, source):
        """What axe-core finds wrong with the page as it is now."""
        if source:
            self.run(source.read_text() + ";0")
            found = self.run("axe.run().then((result) => result.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html)}`))")
            assert found == [], found

    def complaints(self):
        """Errors of the page's script, and what the content security policy blocked."""
        self.call("Runtime.getHeapUsage")
        wrong = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                wrong.append(parameters["exceptionDetails"])
            entry = parameters.get("entry", {})
            refused = "401 (Unauthorized)" in entry.get("text", "")  # as the test itself had it
            if event.get("method") == "Log.entryAdded" and entry.get("level") == "error" and not refused:
                wrong.append(entry["text"])
        return wrong

    def stop(self):
        self.call("Browser.close")
        self.process.wait(PATIENCE)


def eventually(what, ask, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def check(server, browser, axe, screenshots):
    browser.call("Page.navigate", url=server.url)
    browser.until("the page is live", "document.querySelector('#live')?.dataset.state === 'live'")
    browser.until("nothing is shown", "document.querySelector('#no-lines').checkVisibility()")

    # A line is on the page in time, as text, whatever it says.
    Bucket.objects["/logs/today/first.log"] = f"hello from the other side\n{ATTACK}\n".encode()
    began = time.monotonic()
    server.notify("today/first.log")
    browser.until("the line is on the page", "document.querySelector('#lines').innerText.includes('hello from')", PROMISED)
    browser.until("the row is done", "document.querySelector('tr[data-id=\"1\"]')?.dataset.state === 'done'", PROMISED)
    print(f"a line was on the page after {time.monotonic() - began:.2f} s")
    assert ATTACK in browser.text("#lines"), browser.text("#lines")
    assert "logs/today/first.log" in browser.text("tr[data-id='1']")
    browser.until("the figures follow", "document.querySelector('#events').innerText === '2'")

    # What fails is said, with its reason.
    server.notify("lost/object.log")
    browser.until("the failure is shown", "document.querySelector('#dead').innerText === '1'")
    assert "3 attempts: getting object lost/object.log" in browser.text("tr[data-state='gone']")

    # A person replays it by the keyboard alone, and says the token when asked.
    Bucket.objects["/logs/lost/object.log"] = b"found again\n"
    browser.run("document.querySelector('tr[data-state=gone] button').focus()")
    browser.press("Enter", 13, "\r")
    for said in ("a token that nobody knows", TOKEN):
        browser.until("the token is asked for", "document.querySelector('#ask').open && document.activeElement.id === 'token'")
        browser.axe(axe)
        browser.call("Input.insertText", text=said)
        browser.press("Enter", 13, "\r")
        browser.until("it is taken", "!document.querySelector('#ask').open || document.querySelector('#token').value === ''")
    browser.until("the object is done", "document.querySelector('tr[data-id=\"2\"]').dataset.state === 'done'")
    browser.until("nothing is failed", "document.querySelector('#dead').innerText === '0'")
    server.notify("lost/once-more.log")
    browser.until("the failure is shown", "document.querySelector('#dead').innerText === '1'")

    # Everything that can be used is reached by the tabulator.
    browser.run("document.activeElement.blur()")
    reached = set()
    for _ in range(20):
        browser.press("Tab", 9)
        reached.add(browser.run("document.activeElement.id || document.activeElement.name || document.activeElement.localName"))
    assert {"lines", "search", "state", "a", "button"} <= reached, reached

    # Paging and filtering, by mouse or keyboard alike.
    for number in range(70):
        Bucket.objects[f"/logs/many/{number:03}.log"] = b'{"n": %d, "level": "info"}\n' % number * (3 + number)
        server.notify(f"many/{number:03}.log")
    browser.until("all are done", "document.querySelector('#events').innerText === '2,628'")
    browser.until("fifty rows are shown", "document.querySelectorAll('#objects tr').length === 50")
    browser.until("there are older ones", "!document.querySelector('#older').hidden")
    browser.run("document.querySelector('#older').click()")
    browser.until("all rows are shown", "document.querySelectorAll('#objects tr').length === 73")
    order = browser.run("[...document.querySelectorAll('#objects tr')].map((row) => Number(row.dataset.id))")
    assert order == sorted(order, reverse=True), order
    browser.run("document.querySelector('#filter input[value=gone]').click()")
    browser.until("only the failure is shown", "document.querySelectorAll('#objects tr').length === 1")
    browser.run("document.querySelector('#filter input[value=\"\"]').click()")
    browser.until("fifty rows are shown", "document.querySelectorAll('#objects tr').length === 50")
    server.notify("lost/again.log")
    browser.until("the newest row is first", "document.querySelector('#objects tr').innerText.includes('again.log')")

    for scheme in ("light", "dark"):
        for width, height in ((1280, 900), (390, 844)):
            file = screenshots and screenshots / f"page-{scheme}-{width}.png"
            browser.look(width, height, scheme, file)
            browser.axe(axe)
    assert browser.run("document.title") == "Sluicegate"
    assert browser.complaints() == [], browser.complaints()

    # The page says when the server is gone.
    server.stop()
    browser.until("the loss is said", "document.querySelector('#live').dataset.state === 'lost'")


def release_build():
    build = ["cargo", "build", "--release", "--locked", "--package", "downstream-server", "--message-format", "json"]
    messages = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    programs = [message.get("executable") for message in map(json.loads, messages)]
    return next(program for program in programs if program)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--server")
    arguments.add_argument("--axe", type=pathlib.Path)
    arguments.add_argument("--screenshots", type=pathlib.Path)
    options = arguments.parse_args()
    program = options.server or release_build()
    bucket = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=bucket.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = pathlib.Path(folder)
        server = Server(program, folder, bucket.server_port)
        browser = None
        try:
            browser = Browser(folder / "browser")
            check(server, browser, options.axe, options.screenshots)
            large.fill(folder / "inbox")
            server = Server(program, folder, bucket.server_port)
            large.check(server, browser)
            browser.stop()
            server.stop()
        except BaseException:
            print((folder / "server.log").read_text()[-4000:], file=sys.stderr)
            raise
        finally:
            server.process.kill()
            if browser:
                browser.process.kill()
    print("the page is right")


if __name__ == "__main__":
    main()
