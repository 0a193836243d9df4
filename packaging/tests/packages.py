"""Installs the Debian packages in the root of a fresh Debian, runs what they bring, and takes them off again.

Not booted: no systemd runs there, so that nothing starts or stops a service.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys

from instance import ROOT, fresh_debian, say

PROGRAMS = ["sluicegate-agent", "sluicegate-server", "sluicegate-notifier", "sluicegate"]
SERVICES = {"agent": 870, "server": 871}


def installs_and_runs(root, run, files):
    say("installing, with every dependency satisfied")
    run("dpkg", "--install", *files)
    run("dpkg", "--audit")
    for program in PROGRAMS:
        version = run(program, "--version")
        print(version.splitlines()[0])
        commit = version.splitlines()[0].partition("(")[2]
        assert commit, f"{program} does not say from which commit it is"
        package = run("dpkg", "--status", program)
        assert "Status: install ok installed" in package
    for program in ("sluicegate-agent", "sluicegate-server", "sluicegate"):
        page = (root / f"usr/share/man/man1/{program}.1").read_text()
        assert f".TH {program} 1" in page, page[:200]
        completion = f"/usr/share/bash-completion/completions/{program}"
        run("bash", "-n", completion)
        function = "_" + program.replace("-", "__")
        complete = f'. {completion}; COMP_WORDS=({program} --h); COMP_CWORD=1; {function} {program} --h {program}; echo "${{COMPREPLY[@]}}"'
        words = run("bash", "-c", complete)
        assert "--help" in words and "--health" in words, words
    assert (root / "usr/share/man/man1/sluicegate-agent-channel.1").exists()
    zip_file = root / "usr/share/sluicegate/sluicegate-notifier.zip"
    assert zip_file.read_bytes() == (ROOT / "dist/x86_64/sluicegate-notifier.zip").read_bytes()


def services_are_ready_to_be_configured(root, run):
    say("services have a user, a folder of theirs, and a unit that is not on yet")
    for kind, number in SERVICES.items():
        name = f"sluicegate-{kind}"
        assert run("id", "-u", name).strip() == str(number)
        data = root / f"var/lib/sluicegate/{kind}"
        assert data.stat().st_uid == number and data.stat().st_mode & 0o777 == 0o750, f"{data}: {data.stat()}"
        unit = f"/usr/lib/systemd/system/{name}.service"
        run("systemd-analyze", "verify", "--man=no", unit)
        assert not list((root / "etc/systemd/system").rglob(f"{name}.service")), f"{name} is on without a configuration"
        (data / "events").write_text("acknowledged")


def installs_again_and_leaves_data_alone(root, run, files):
    say("installing again changes nothing; purging leaves data alone")
    run("dpkg", "--install", *files)
    run("dpkg", "--purge", *PROGRAMS)
    left = [path for program in PROGRAMS for path in root.glob(f"usr/**/{program}*")]
    assert not left, left
    for kind in SERVICES:
        assert (root / f"var/lib/sluicegate/{kind}/events").read_text() == "acknowledged"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for roots, made anew")
    parser.add_argument("--debian", type=pathlib.Path, required=True, help="a folder for Debian's root, kept")
    args = parser.parse_args()
    args.debian.mkdir(parents=True, exist_ok=True)
    base = fresh_debian(args.debian.resolve())
    root = args.work.resolve() / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    debs = sorted((ROOT / "dist/x86_64").glob("*.deb"))
    assert len(debs) == len(PROGRAMS), debs
    for deb in debs:
        shutil.copy(deb, root / "root")

    def run(*command):
        done = subprocess.run(
            ["chroot", str(root), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    files = [f"/root/{deb.name}" for deb in debs]
    installs_and_runs(root, run, files)
    services_are_ready_to_be_configured(root, run)
    installs_again_and_leaves_data_alone(root, run, files)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
