"""Builds the images with buildah and starts what is in them as a container engine would: as the image's
user, with its environment, in a root that is read-only but for the volume.

No container engine runs here, so this is unproven: pulling Debian's image (a root made by debootstrap
has its name), Docker's own builder, and what an engine adds to a container (limits, seccomp, networks).
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import yaml

from instance import ROOT, fresh_debian, say

DEBIAN = "localhost/debian:bookworm"
USERS = {"agent": 870, "server": 871, "demo": 872}
# What only the running container is told.
TOKEN = "0123456789abcdef0123456789abcdef"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SHAPES = {
    "an access key": rb"(?:AKIA|ASIA)[A-Z0-9]{16}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a secret of notices": rb"whsec_[A-Za-z0-9+/]{24}",
}


class Buildah:
    def __init__(self, work):
        work.mkdir(parents=True, exist_ok=True)
        # A policy of our own, for whoever has none: nothing is pulled here.
        policy = work / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.policy = ["--signature-policy", str(policy)]
        # vfs copies a whole root for each step; overlay does not, where the file system below takes it.
        for driver in ("overlay", "vfs"):
            folders = ["--root", str(work / driver / "storage"), "--runroot", str(work / driver / "run")]
            self.base = ["buildah", *folders, "--storage-driver", driver]
            probe = subprocess.run([*self.base, "from", *self.policy, "--name", "probe", "scratch"], capture_output=True)
            if probe.returncode == 0 and subprocess.run([*self.base, "mount", "probe"], capture_output=True).returncode == 0:
                self("rm", "probe")
                return
        sys.exit("buildah takes neither overlay nor vfs here")

    def __call__(self, command, *args):
        policy = self.policy if command in ("build", "commit", "from") else []
        done = subprocess.run([*self.base, command, *policy, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"buildah {command} {' '.join(map(str, args))}:\n{done.stdout[-4000:]}")
        return done.stdout.strip()


def debian(buildah, root):
    """Debian's image, made from a root of debootstrap."""
    container = buildah("from", "scratch").splitlines()[-1]
    buildah("add", "--quiet", container, root, "/")
    buildah("commit", "--quiet", container, DEBIAN)
    buildah("rm", container)


def build(buildah, target):
    say(f"building the image {target}")
    buildah(
        "build", "--isolation", "chroot", "--format", "docker", "--layers", "--timestamp", "0", "--pull-never",
        "--build-arg", f"DEBIAN={DEBIAN}", "--file", ROOT / "docker/Dockerfile", "--target", target,
        "--tag", f"localhost/sluicegate-{target}", ROOT,
    )  # fmt: skip
    return json.loads(buildah("inspect", "--type", "image", f"localhost/sluicegate-{target}"))["Docker"]["config"]


@contextlib.contextmanager
def mounted(buildah, target):
    container = buildah("from", "--pull-never", f"localhost/sluicegate-{target}").splitlines()[-1]
    try:
        yield pathlib.Path(buildah("mount", container))
    finally:
        buildah("rm", container)


def holds_nothing_but_its_program(root, target, config):
    """No shell, no tool, no setuid, no secret, nobody's else files."""
    programs = [path.name for path in root.rglob("*") if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK)]
    others = [name for name in programs if not re.match(r"sluicegate|ld-linux|lib.*\.so", name)]
    assert not others, f"{target} holds programs besides its own: {others}"
    size = 0
    for path in root.rglob("*"):
        status = path.lstat()
        assert not status.st_mode & 0o6000, f"{path} is setuid or setgid"
        if not path.is_symlink():
            assert not status.st_mode & 0o002, f"everybody may write to {path}"
        volume = pathlib.Path("/var/lib/sluicegate") / target
        inside = pathlib.Path("/") / path.relative_to(root)
        owner = USERS[target] if inside.is_relative_to(volume) else 0
        assert status.st_uid == owner, f"{inside} belongs to {status.st_uid}"
        if path.is_file():
            size += status.st_size
            if path.suffix != ".so" and "ca-certificates" not in path.name:
                holds_no_secret(f"{target}: {inside}", path.read_bytes())
    holds_no_secret(f"the configuration of {target}", json.dumps(config).encode())
    names = [line.split("=")[0] for line in config.get("Env") or []]
    assert not [name for name in names if re.search("SECRET|TOKEN|PASSWORD|CREDENTIAL|AWS_", name)], names
    print(f"{target}: {size / 1e6:.1f} MB, {len(programs)} programs and libraries, user {config['User']}")


def holds_no_secret(where, content):
    for shape, pattern in SHAPES.items():
        # A program knows how a key begins; only a whole one is a secret.
        for found in re.finditer(pattern, content):
            text = found.group()
            assert b"EXAMPLE" in text or shape == "a private key" and content[found.end() : found.end() + 1] != b"\n", f"{where} holds {shape}: {text}"


class Started:
    """A program of an image as an engine starts it."""

    def __init__(self, root, target, config, arguments=None, environment=None):
        self.config, self.target = config, target
        user, group = config["User"].split(":")
        volume = next(iter(config["Volumes"]))
        # An engine makes what it mounts: processes are visible as to any program.
        (root / "proc").mkdir(exist_ok=True)
        # Mounts that nobody else sees; then the image's user, with no right and no way to one.
        inner = (
            f'mount --bind "$1" "$1" && mount --bind "$1{volume}" "$1{volume}" && mount --bind /proc "$1/proc" && mount -o remount,ro,bind "$1" && '
            f'root=$1 && shift && exec setpriv --no-new-privs chroot --userspec={user}:{group} --groups= "$root" "$@"'
        )
        self.enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", inner, "sh", str(root)]
        self.environment = dict(line.split("=", 1) for line in config.get("Env") or []) | (environment or {})
        command = config["Entrypoint"] + (config.get("Cmd") or [] if arguments is None else arguments)
        self.process = subprocess.Popen([*self.enter, *command], env=self.environment)

    def healthy(self):
        """What the image's own health check says."""
        check = self.config["Healthcheck"]["Test"]
        assert check[0] == "CMD", "a check by a shell cannot run where there is none"
        return subprocess.run([*self.enter, *check[1:]], env=self.environment, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        deadline = time.monotonic() + 60
        while (asked := self.healthy()).returncode:
            assert self.process.poll() is None, f"{self.target} ended with {self.process.returncode}"
            assert time.monotonic() < deadline, f"{self.target} is not healthy after 60 s: {asked.stderr}"
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(60)
        assert code in (0, 75), f"{self.target} ended with {code}"
        asked = self.healthy()
        assert asked.returncode == 69, f"{self.target} is gone and its check says {asked.returncode}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url, data, token=None):
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


class Service:
    """A service of compose.yaml: lays its files into the root, and says how its program is started."""

    def __init__(self, root, name):
        # What compose does with the text: no variable is set, so each has its default.
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "compose.yaml").read_text())
        compose = yaml.safe_load(text)
        service = compose["services"][name]
        for config in service.get("configs", []):
            self.lay(root, config["target"], compose["configs"][config["source"]]["content"])
        for secret in service["secrets"]:
            assert secret in compose["secrets"], f"{secret} is no secret of compose.yaml"
            self.lay(root, f"/run/secrets/{secret}", {"notices": SECRET, "tokens": f"producers:{TOKEN}"}[secret])
        self.arguments = service.get("command")
        self.environment = service.get("environment", {}) | {
            # What aws.env would hold; the store is away.
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "mine",
            "AWS_SECRET_ACCESS_KEY": "mine",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        }
        [published] = service["ports"]
        address, _, self.port = published.split(":")
        assert address == "127.0.0.1", f"{name} is published to everybody"

    def lay(self, root, path, content):
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def the_agent_takes_events(root, config):
    say("the agent's image takes events as compose.yaml starts it, with a token alone, while its store is away")
    service = Service(root, "agent")
    # The port of the container's own network has to be a free one here.
    http, admin = free_port(), free_port()
    file = root / "etc/sluicegate/agent.toml"
    told = file.read_text()
    assert f"0.0.0.0:{service.port}" in told, "the published port is not the one that is listened on"
    file.write_text(told.replace(f"0.0.0.0:{service.port}", f"127.0.0.1:{http}"))
    environment = service.environment | {"SLUICEGATE_ADMIN": f"127.0.0.1:{admin}", "SLUICEGATE_SHUTDOWN_TIMEOUT": "1s"}
    with Started(root, "agent", config, service.arguments, environment):
        assert ask(f"http://127.0.0.1:{http}/v1/events", b'"hello"')[0] == 401
        assert ask(f"http://127.0.0.1:{http}/v1/events", b'"hello"', TOKEN)[0] == 200
    assert any((root / "var/lib/sluicegate/agent").rglob("*.seg")), "the event is not on the volume"


def the_server_takes_notices(root, config):
    say("the server's image takes notices as compose.yaml starts it, signed ones alone")
    service = Service(root, "server")
    listens = dict(line.split("=", 1) for line in config["Env"])["SLUICEGATE_SERVER_LISTEN"]
    assert listens.endswith(f":{service.port}"), "the published port is not the one that is listened on"
    port = free_port()
    environment = service.environment | {"SLUICEGATE_SERVER_LISTEN": f"127.0.0.1:{port}"}
    with Started(root, "server", config, service.arguments, environment):
        status, _ = ask(f"http://127.0.0.1:{port}/v1/notices", b'{"bucket": "my-bucket", "key": "a"}')
        assert status == 401, status
        # To write something off asks for a token, wherever it comes from.
        body = b'{"channel": "000102030405060708090a0b0c0d0e0f", "sink": "s3", "first": 1, "last": 1}'
        url = f"http://127.0.0.1:{port}/v1/continuity/write-off"
        assert ask(url, body)[0] == 401 and ask(url, body, TOKEN)[0] != 401, "the token of compose.yaml is not the server's"
    assert any((root / "var/lib/sluicegate/server").iterdir()), "the inbox is not on the volume"


def the_demo_is_the_whole_pipeline(root, config):
    say("the demo's image: an event goes all the way")
    names = ["http", "netcat", "admin", "page", "s3", "lambda"]
    ports = {name: free_port() for name in names}
    arguments = [argument for name in names for argument in (f"--{name}", f"127.0.0.1:{ports[name]}")]
    # The check of the image asks the addresses that are built in; here they have to be free ones.
    config = config | {"Healthcheck": {"Test": ["CMD", "/usr/bin/sluicegate", *arguments, "--health"]}}
    with Started(root, "demo", config, [*config["Cmd"], *arguments]):
        assert ask(f"http://127.0.0.1:{ports['http']}/v1/events", b'"hello from an image"')[0] == 200
        output = root / "var/lib/sluicegate/demo/server/events.ndjson"
        deadline = time.monotonic() + 30
        while not (output.exists() and "hello from an image" in output.read_text()):
            assert time.monotonic() < deadline, "the event is not at the handler after 30 s"
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for images, made anew")
    parser.add_argument("--debian", type=pathlib.Path, required=True, help="a folder for Debian's root, kept")
    args = parser.parse_args()
    args.debian.mkdir(parents=True, exist_ok=True)
    root = fresh_debian(args.debian.resolve())
    work = args.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    buildah = Buildah(work)
    debian(buildah, root)
    runs = {"agent": the_agent_takes_events, "server": the_server_takes_notices, "demo": the_demo_is_the_whole_pipeline}
    for target, run in runs.items():
        config = build(buildah, target)
        user = f"{USERS[target]}:{USERS[target]}"
        assert config["User"] == user, f"{target} runs as {config['User']!r}"
        with mounted(buildah, target) as root:
            holds_nothing_but_its_program(root, target, config)
            run(root, config)
    buildah("rmi", "--all", "--force")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
