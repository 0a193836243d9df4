"""Installs the Debian packages in a fresh Debian, starts what they bring, and takes them off again.

The root is booted: postinst, units and their sandboxes are those of a machine. Nothing is configured
but what the brought files ask for.
"""

import argparse
import json
import pathlib
import re
import shutil
import sys

from booted import Booted, copy, until
from instance import ROOT, fresh_debian, say

PROGRAMS = ["sluicegate-agent", "sluicegate-server", "sluicegate-notifier", "sluicegate"]
BUILT_NAMES = re.compile("ingest-agent|downstream-server|notifier-lambda")
SERVICES = {"agent": 870, "server": 871}
CONFIG = "/etc/sluicegate/{}.toml"
HEALTH = {kind: (f"/usr/bin/sluicegate-{kind}", "--config", CONFIG.format(kind), "--health") for kind in SERVICES}
# systemd's own scale of exposure: 0 is closed, 100 is open.
THRESHOLDS = {"low-port.conf": 15, "read-logs.conf": 15}


def installs_and_runs(machine, files):
    say("installing, with every dependency satisfied")
    said = machine.run("dpkg", "--install", *files)
    machine.run("dpkg", "--audit")
    for kind in SERVICES:
        assert f"name your bucket in {CONFIG.format(kind)}" in said, f"nothing says what to do next: {said}"
    for program in PROGRAMS:
        version = machine.run(program, "--version")
        print(version.splitlines()[0])
        assert version.startswith(f"{program} "), f"{program} calls itself {version}"
        assert "(" in version.splitlines()[0], f"{program} does not say from which commit it is"
        assert "Status: install ok installed" in machine.run("dpkg", "--status", program)
    zip_file = machine.root / "usr/share/sluicegate/sluicegate-notifier.zip"
    assert zip_file.read_bytes() == (ROOT / "dist/x86_64/sluicegate-notifier.zip").read_bytes()


def every_page_has_the_installed_names(machine):
    say("man pages, completions and help know the installed names alone")
    pages = sorted((machine.root / "usr/share/man/man1").glob("sluicegate*.1"))
    names = {page.stem for page in pages}
    assert {"sluicegate-agent-channel-adopt", "sluicegate-server", "sluicegate"} <= names, names
    for page in pages:
        text = page.read_text().replace("\\-", "-")
        assert f".TH {page.stem} 1" in text, text[:200]
        assert not BUILT_NAMES.search(text), f"{page.name} names a program that is not installed"
        assert "-help" not in page.stem, f"{page.name} is a page of no command"
    # Each page is that of the program itself, and not of another's command that is called alike.
    for name, flag in {"sluicegate-agent": "--check-config", "sluicegate-server": "--notices-buckets", "sluicegate": "--page"}.items():
        assert flag in (machine.root / f"usr/share/man/man1/{name}.1").read_text().replace("\\-", "-"), f"{name}.1 is another program's"
    for program in ("sluicegate-agent", "sluicegate-server", "sluicegate"):
        completion = f"/usr/share/bash-completion/completions/{program}"
        machine.run("bash", "-n", completion)
        function = "_" + program.replace("-", "__")
        complete = f'. {completion}; COMP_WORDS=({program} --h); COMP_CWORD=1; {function} {program} --h {program}; echo "${{COMPREPLY[@]}}"'
        words = machine.run("bash", "-c", complete)
        assert "--help" in words and "--health" in words, words
        for command in commands_of(machine, program):
            text = machine.run(*command, "--help")
            assert f"Usage: {' '.join(command)}" in text, text
            assert not BUILT_NAMES.search(text), f"{' '.join(command)} --help names a program that is not installed:\n{text}"


def commands_of(machine, *command):
    yield command
    listed = machine.run(*command, "--help").partition("\nCommands:\n")[2].partition("\n\n")[0]
    for name in re.findall(r"^  ([a-z-]+)", listed, re.MULTILINE):
        if name != "help":
            yield from commands_of(machine, *command, name)


def services_are_ready_to_be_configured(machine):
    say("services have a user, a folder of theirs, and a unit that is not on yet")
    for kind, number in SERVICES.items():
        name = f"sluicegate-{kind}"
        assert machine.run("id", "-u", name).strip() == str(number)
        data = machine.root / f"var/lib/sluicegate/{kind}"
        assert data.stat().st_uid == number and data.stat().st_mode & 0o777 == 0o750, f"{data}: {data.stat()}"
        secrets = machine.root / f"etc/sluicegate/{kind}.env"
        assert secrets.stat().st_mode & 0o777 == 0o600 and secrets.stat().st_uid == 0, f"others read {secrets}"
        machine.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{name}.service")
        assert machine.show(f"{name}.service", "ActiveState", "UnitFileState") == ["inactive", "disabled"]


def a_service_that_lacks_its_bucket_says_so_once(machine):
    say("a service that lacks its bucket says so, and is not started again")
    for kind, key in (("agent", "sinks.s3.bucket"), ("server", "notices.buckets")):
        said = machine.fails(f"sluicegate-{kind}.service", 64)
        assert key in said and "name" in said, said
    line = 1 + (machine.root / "etc/sluicegate/agent.toml").read_text().splitlines().index('bucket = ""')
    assert f"/etc/sluicegate/agent.toml:{line}: " in machine.log("sluicegate-agent.service")


class Store:
    """An S3 to store in: that of the demo, which is one of the packages, on ports of its own."""

    def __init__(self, machine):
        addresses = {"http": 18080, "netcat": 14444, "admin": 18081, "page": 18090, "s3": 9000, "lambda": 9001}
        flags = [word for name, port in addresses.items() for word in (f"--{name}", f"127.0.0.1:{port}")]
        machine.start("/usr/bin/sluicegate", "--dir", "/root/demo", "--ready-file", "/root/demo.ready", *flags)
        until("the store answers", lambda: (machine.root / "root/demo.ready").exists())
        keys = json.loads((machine.root / "root/demo/keys.json").read_text())
        self.bucket = "events"
        self.environment = f"AWS_ACCESS_KEY_ID={keys['access_key']}\nAWS_SECRET_ACCESS_KEY={keys['secret_key']}\nAWS_REGION=us-east-1\n"


def edit(machine, kind, *changes):
    """What a person changes in the brought file; each place must be there."""
    path = machine.root / CONFIG.format(kind).lstrip("/")
    text = path.read_text()
    for before, after in changes:
        assert before in text, f"{path.name} has no {before!r}"
        text = text.replace(before, after, 1)
    path.write_text(text)


def an_event_goes_through_both_services(machine):
    say("with what the files ask for, an event goes from the agent to the store and to the server")
    store = Store(machine)
    here = (("# endpoint =", "endpoint ="), ("# path_style =", "path_style ="))
    edit(machine, "agent", ('bucket = ""', f'bucket = "{store.bucket}"'), *here)
    edit(machine, "server", ("buckets = []", f'buckets = ["{store.bucket}"]'), *here)
    for kind in SERVICES:
        with (machine.root / f"etc/sluicegate/{kind}.env").open("a") as file:
            file.write(store.environment)
        machine.run("systemctl", "enable", f"sluicegate-{kind}.service")
        machine.runs(f"sluicegate-{kind}.service", HEALTH[kind])
    assert " 200 " in machine.request(8080, "POST", "/v1/events", '{"hello":"from a package"}')
    answer = machine.request(8081, "POST", "/v1/flush")
    key = re.search(r'"(events/[^"]+)"', answer)
    assert key, f"the flush names no object: {answer}"
    notice = json.dumps({"bucket": store.bucket, "key": key[1]})
    assert " 202 " in machine.request(8090, "POST", "/v1/notices", notice)
    until("the server is done with the object", lambda: "from a package" in machine.request(8090, "GET", "/v1/events"))
    for kind, number in SERVICES.items():
        owner = machine.show(f"sluicegate-{kind}.service", "MainPID")
        assert machine.run("stat", "-c", "%u", f"/proc/{owner}").strip() == str(number), f"{kind} runs as somebody else"


def a_relative_folder_lies_in_the_one_that_may_be_written(machine):
    say("a configuration without a folder keeps its data where the unit may write")
    before = (machine.root / "etc/sluicegate/agent.toml").read_text()
    edit(machine, "agent", ('data_dir = "/var/lib/sluicegate/agent"\n', ""))
    machine.runs("sluicegate-agent.service", HEALTH["agent"])
    assert (machine.root / "var/lib/sluicegate/agent/sluicegate-data/agent/channels/main").is_dir(), "its channel is elsewhere"
    machine.write(CONFIG.format("agent"), before)


def a_folder_that_may_not_be_written_is_named(machine):
    say("a folder that the sandbox does not allow is named, and the service is not started again")
    for kind in SERVICES:
        before = (machine.root / f"etc/sluicegate/{kind}.toml").read_text()
        edit(machine, kind, (f'dir = "/var/lib/sluicegate/{kind}"', 'dir = "/srv/data"'))
        said = machine.fails(f"sluicegate-{kind}.service", 77)
        assert "/srv/data" in said and f"user {SERVICES[kind]}" in said, said
        machine.run("install", "-d", "-o", f"sluicegate-{kind}", "/srv/data")
        allowed = f"/etc/systemd/system/sluicegate-{kind}.service.d/data.conf"
        machine.write(allowed, "[Service]\nReadWritePaths=/srv/data\n")
        machine.runs(f"sluicegate-{kind}.service", HEALTH[kind])
        machine.run("rm", "-r", allowed, "/srv/data")
        machine.write(CONFIG.format(kind), before)


def drop_in(machine, kind, name):
    folder = f"/etc/systemd/system/sluicegate-{kind}.service.d"
    machine.run("install", "-D", "-m", "0644", f"/usr/share/sluicegate/{kind}/{name}", f"{folder}/{name}")
    machine.run("systemctl", "daemon-reload")
    unit = f"/usr/lib/systemd/system/sluicegate-{kind}.service"
    machine.run("systemd-analyze", "verify", "--man=no", unit)
    rated = machine.run("systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLDS[name]}", "--no-pager", unit)
    print([line for line in rated.splitlines() if "Overall exposure" in line][-1].strip())


def a_drop_in_allows_a_low_port(machine):
    say("a port below 1024 is refused with what it needs, and taken with the drop-in")
    for kind, port, low in (("agent", 8080, 80), ("server", 8090, 81)):
        before = (machine.root / f"etc/sluicegate/{kind}.toml").read_text()
        edit(machine, kind, (f'listen = "127.0.0.1:{port}"', f'listen = "127.0.0.1:{low}"'))
        said = machine.fails(f"sluicegate-{kind}.service", 77)
        assert "CAP_NET_BIND_SERVICE" in said, said
        drop_in(machine, kind, "low-port.conf")
        machine.runs(f"sluicegate-{kind}.service", HEALTH[kind])
        path = {"agent": "/v1/events", "server": "/v1/notices"}[kind]
        assert " 405 " in machine.request(low, "DELETE", path), f"{kind} does not answer on port {low}"
        machine.run("rm", "-r", f"/etc/systemd/system/sluicegate-{kind}.service.d")
        machine.write(CONFIG.format(kind), before)


def a_drop_in_allows_logs_to_be_read(machine):
    say("a log is hidden from the unit, and read with the drop-in")
    machine.write("/var/log/app.log", "a line\n", mode=0o640)
    machine.run("chown", "root:adm", "/var/log/app.log")
    for kind in SERVICES:
        unit = f"sluicegate-{kind}.service"
        probe = machine.root / f"etc/systemd/system/{unit}.d/probe.conf"
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text("[Service]\nExecStartPre=/usr/bin/cat /var/log/app.log\nRestart=no\n")
        machine.run("systemctl", "daemon-reload")
        assert machine.try_run("systemctl", "restart", unit).returncode, f"{kind} reads what only `adm` may read"
        drop_in(machine, kind, "read-logs.conf")
        machine.runs(unit, HEALTH[kind])
        probe.unlink()


def installs_again_and_leaves_what_is_not_its_own(machine, files):
    say("installing again keeps what was edited and what runs; purging leaves data alone")
    edited = (machine.root / "etc/sluicegate/agent.toml").read_text()
    said = machine.run("dpkg", "--install", *files)
    assert (machine.root / "etc/sluicegate/agent.toml").read_text() == edited, "an edited configuration is gone"
    assert "not started yet" not in said, said
    for kind in SERVICES:
        until(f"{kind} runs on", lambda: machine.show(f"sluicegate-{kind}.service", "ActiveState") == "active")
    machine.run("dpkg", "--purge", *PROGRAMS)
    left = [path for program in PROGRAMS for path in machine.root.glob(f"usr/**/{program}*")]
    left += machine.root.glob("etc/sluicegate/*.*")
    assert not left, left
    for kind in SERVICES:
        assert any((machine.root / f"var/lib/sluicegate/{kind}").iterdir()), f"the data of {kind} went with its package"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for roots, made anew")
    parser.add_argument("--debian", type=pathlib.Path, required=True, help="a folder for Debian's root, kept")
    args = parser.parse_args()
    args.debian.mkdir(parents=True, exist_ok=True)
    root = args.work.resolve() / "root"
    copy(fresh_debian(args.debian.resolve()), root)
    debs = sorted((ROOT / "dist/x86_64").glob("*.deb"))
    if len(debs) != len(PROGRAMS):
        sys.exit(f"dist/ holds {len(debs)} packages, not {len(PROGRAMS)}")
    for deb in debs:
        shutil.copy(deb, root / "root")
    files = [f"/root/{deb.name}" for deb in debs]
    with Booted(root) as machine:
        installs_and_runs(machine, files)
        every_page_has_the_installed_names(machine)
        services_are_ready_to_be_configured(machine)
        a_service_that_lacks_its_bucket_says_so_once(machine)
        an_event_goes_through_both_services(machine)
        a_relative_folder_lies_in_the_one_that_may_be_written(machine)
        a_folder_that_may_not_be_written_is_named(machine)
        a_drop_in_allows_a_low_port(machine)
        a_drop_in_allows_logs_to_be_read(machine)
        installs_again_and_leaves_what_is_not_its_own(machine, files)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
