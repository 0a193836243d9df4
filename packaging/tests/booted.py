"""A root that its own systemd boots, so that units run as they do on a machine.

Processes, mounts, network and control groups are namespaces of their own; the kernel is this
machine's, and there are no devices but /dev/null and its kin. Needs root.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

# The first script enters a control group of its own, the second makes that the root of all it sees.
GROUP = r"""
set -e
at=$(mktemp -d)
mount -t cgroup2 none "$at"
mkdir "$at/$2"
echo 0 >"$at/$2/cgroup.procs"
umount "$at"
rmdir "$at"
exec unshare --cgroup bash -c "$3" boot "$1"
"""
BOOT = r"""
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
  : >"dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
umount -l /mnt
exec env -i container=sluicegate-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --log-target=journal --show-status=0
"""
LEAVE = r"""
at=$(mktemp -d)
mount -t cgroup2 none "$at"
[ ! -d "$at/$1" ] || find "$at/$1" -depth -type d -exec rmdir {} \;
umount "$at"
rmdir "$at"
"""
# As systemd, which starts units with a PATH of its own, and apt, which asks nothing.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


class Booted:
    """`with Booted(root) as machine`: runs for as long as the block."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.group = f"sluicegate-{os.getpid()}"
        self.programs = []

    def __enter__(self):
        command = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
        command += ["bash", "-c", GROUP, "boot", str(self.root), self.group, BOOT]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until("a process is systemd", self.find)
        until("systemd has booted", lambda: self.try_run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"))
        return self

    def find(self):
        if self.process.poll() is not None:
            sys.exit(f"the root does not boot: it ended with {self.process.returncode}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.first = next((child for child in children if pathlib.Path(f"/proc/{child}/comm").read_text() == "systemd\n"), None)
        return self.first

    def __exit__(self, *_):
        # The first process takes all others of its namespace along.
        self.process.kill()
        self.process.wait()
        for program in self.programs:
            program.wait()
        until("its last process has ended", lambda: not pathlib.Path(f"/proc/{self.first}").exists())
        subprocess.run(["unshare", "--mount", "bash", "-c", LEAVE, "leave", self.group], check=True)

    def command(self, *command):
        return ["nsenter", "--target", self.first, "--all", "--wd=/", *command]

    def try_run(self, *command, **extra):
        return subprocess.run(
            self.command(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT | extra
        )

    def run(self, *command, **extra):
        """What it printed; a failure ends the test."""
        done = self.try_run(*command, **extra)
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def start(self, *command):
        """In the background, until the machine is off."""
        self.programs.append(subprocess.Popen(self.command(*command), env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    # === units

    def show(self, unit, *properties):
        text = self.run("systemctl", "show", "--value", *(f"--property={name}" for name in properties), unit)
        values = [line for line in text.splitlines() if line]
        return values[0] if len(properties) == 1 else values

    def runs(self, unit, health):
        """Starts it anew, and waits until it says itself that it is ready."""
        self.run("systemctl", "daemon-reload")
        self.try_run("systemctl", "reset-failed", unit)
        self.run("systemctl", "restart", unit)

        def ready():
            if self.show(unit, "ActiveState") == "failed":
                sys.exit(f"{unit} failed:\n{self.log(unit)}")
            return self.try_run(*health).returncode == 0

        until(f"{unit} is ready", ready)

    def fails(self, unit, code):
        """Starts it anew; what it says when it ends with `code` and stays down."""
        self.run("systemctl", "daemon-reload")
        self.try_run("systemctl", "reset-failed", unit)
        before = self.log(unit)
        self.try_run("systemctl", "restart", unit)
        until(f"{unit} has failed", lambda: self.show(unit, "ActiveState") == "failed")
        said = self.log(unit)[len(before) :]
        assert self.show(unit, "ExecMainStatus") == str(code), f"{unit} did not end with {code}: {said}"
        assert self.show(unit, "NRestarts") == "0", f"{unit} is started again and again: {said}"
        return said

    def log(self, unit):
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def request(self, port, method, path, body=""):
        """The answer to an HTTP request on loopback; there is no curl in a small Debian."""
        head = f"{method} {path} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\nConnection: close\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf \"$1\" >&3; printf %s \"$2\" >&3; cat <&3"
        return self.run("bash", "-c", script, "request", head, body)


def until(what, check, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > deadline:
            sys.exit(f"within {seconds} s it did not happen that {what}")
        time.sleep(0.05)
    return found


def copy(base, root):
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
