"""Runs what an EC2 instance runs at its first boot, in the root of a fresh Debian.

The user data is rendered by Terraform from the whole configuration (terraform/tests/render). In the
root, `aws`, the metadata service, `mount` and `systemctl` are stand-ins; bash, checksums, mkfs, blkid,
users, files and the programs are real. Then the root's own systemd verifies and rates the units, boots,
and starts them from what was installed.

No kernel attaches a volume.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from booted import Booted, copy

ROOT = pathlib.Path(__file__).resolve().parents[2]
# systemd's own scale: 0 is closed, 10 is open. What runs as root for a second may be less closed.
THRESHOLDS = {
    "sluicegate-agent.service": 15,
    "sluicegate-server.service": 15,
    "sluicegate-metrics.service": 20,
    "sluicegate-secret.service": 35,
}
STAND_INS = {
    "aws": r"""
state=/stand-in
case "$1 $2" in
  "s3 cp") cp "/stand-in/artifacts/${4#s3://*/}" "$5" ;;
  # The instance before us holds the volume for two more questions.
  "ec2 describe-volumes" | "ec2 describe-network-interfaces")
    kind=${2#describe-}
    [ -e $state/$kind-mine ] && echo i-me || echo i-before ;;
  "ec2 attach-volume" | "ec2 attach-network-interface")
    kind=${2#attach-}s
    echo x >>$state/$kind-asked
    [ "$(wc -l <$state/$kind-asked)" -ge 3 ] || { echo "it is in use" >&2; exit 254; }
    touch $state/$kind-mine
    [ $kind != volumes ] || { mkdir -p /dev/disk/by-id; ln -sf /stand-in/volume "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$(echo "$4" | tr -d -)"; } ;;
  "secretsmanager get-secret-value")
    # A token of several stands in both versions.
    case "$*" in
      *notify*AWSCURRENT*) echo 0123456789abcdef0123456789abcdef0123456789abcdef ;;
      *ingest*AWSCURRENT*) printf '%s\n' 0123456789abcdef0123456789abcdef shop:abcdef0123456789 ;;
      *ingest*) printf '%s\n' fedcba98765432100123456789abcdef shop:abcdef0123456789 ;;
      *) exit 254 ;;
    esac ;;
  *) echo "stand-in: aws $*" >&2; exit 255 ;;
esac
""",
    "curl": r"""
case "$*" in
  *latest/api/token*) echo token ;;
  *latest/meta-data/instance-id*) echo i-me ;;
  *) exit 7 ;;
esac
""",
    "mountpoint": "exit 1",
    "mount": 'echo "$@" >>/stand-in/mounted',
    # Nothing is enabled before the first boot enables it.
    "systemctl": 'echo "$@" >>/stand-in/systemctl; [ "$1" != is-enabled ]',
}


def say(text):
    print(f"--- {text}", flush=True)


def fresh_debian(work):
    """One download; each root is a copy of it."""
    base = work / "base"
    done = work / "base.done"
    if not done.exists():
        shutil.rmtree(base, ignore_errors=True)
        say("debootstrap")
        include = "systemd,e2fsprogs,util-linux,ca-certificates"
        command = ["debootstrap", "--variant=minbase", f"--include={include}", "bookworm", str(base)]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"debootstrap failed: {base}/debootstrap/debootstrap.log says why")
        done.touch()
    return base


def render():
    """The user data of each slot, as JSON lines of `terraform test` tell it."""
    terraform = lambda *args: subprocess.run(
        ["terraform", *args], cwd=ROOT / "terraform", stdout=subprocess.PIPE, text=True, env=os.environ | {"TF_IN_AUTOMATION": "1"}
    )
    folder = "-test-directory=tests/render"
    terraform("init", "-input=false", "-backend=false", folder)
    for line in terraform("test", folder, "-json", "-verbose").stdout.splitlines():
        message = json.loads(line)
        if message["type"] == "diagnostic":
            sys.exit(f"{message['@message']}: {message['diagnostic'].get('detail')}")
        if message["type"] == "test_state":
            return message["test_state"]["outputs"]["user_data"]["value"]
    sys.exit("terraform rendered nothing")


class Instance:
    def __init__(self, work, base, slot, user_data, volume):
        self.root = work / slot
        self.user_data = user_data
        copy(base, self.root)
        stand_in = self.root / "stand-in"
        (stand_in / "bin").mkdir(parents=True)
        for name, text in STAND_INS.items():
            (stand_in / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
            (stand_in / "bin" / name).chmod(0o755)
        for path, key in re.findall(r"^fetch '(.*)' '(.*)' '[0-9a-f]{64}'$", user_data, re.MULTILINE):
            source = ROOT / "dist/x86_64" / path if path.startswith("sluicegate-") else ROOT / "packaging" / path
            target = stand_in / "artifacts" / key
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        shutil.copyfile(volume, stand_in / "volume")
        (self.root / "user-data").write_text(user_data)

    def run(self, *command, check=True):
        """In the root, the stand-ins first on the PATH."""
        environment = {
            "PATH": "/stand-in/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SLUICEGATE_PAUSE_S": "0.1",
            "SLUICEGATE_PATIENCE_S": "5",
            "SYSTEMD_LOG_LEVEL": "warning",
        }
        done = subprocess.run(
            ["chroot", str(self.root), *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if check and done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done

    def file(self, path):
        return (self.root / path.lstrip("/")).read_text()


def installs_itself(work, base, slot, program, user_data):
    say(f"{slot} installs itself on an empty volume")
    assert len(user_data.encode()) < 16384, "the user data is larger than EC2 takes"
    volume = work / f"{slot}.volume"
    volume.write_bytes(b"")
    os.truncate(volume, 64 << 20)
    instance = Instance(work, base, slot, user_data, volume)
    print(instance.run("bash", "/user-data").stdout.strip())
    name = f"sluicegate-{program}"

    asked = len(instance.file("/stand-in/volumes-asked").splitlines())
    assert asked == 3, f"it asked {asked} times for a volume that the instance before held twice"
    data = f"/var/lib/sluicegate/{program}"
    line = next(line for line in instance.file("/etc/fstab").splitlines() if data in line)
    assert "noexec" in line and "nofail" in line, line
    assert instance.file("/stand-in/mounted").split() == [data]
    assert f"enable --now {name}.service sluicegate-metrics.timer" in instance.file("/stand-in/systemctl")
    kind = instance.run("blkid", "-p", "-o", "value", "-s", "TYPE", "/stand-in/volume").stdout.strip()
    assert kind == "ext4", f"the empty volume holds {kind}"

    config = instance.root / f"etc/sluicegate/{program}.toml"
    owner = int(next(line for line in instance.file("/etc/passwd").splitlines() if line.startswith(name)).split(":")[3])
    assert config.stat().st_mode & 0o777 == 0o640 and config.stat().st_gid == owner, "others read the configuration"
    (instance.root / "run").mkdir(exist_ok=True)
    instance.run("/usr/lib/sluicegate/secret.sh")
    assert " restart " not in instance.file("/stand-in/systemctl"), "the program is started before its volume is there"
    secrets = instance.root / f"run/sluicegate/{program}.secrets"
    assert secrets.stat().st_mode & 0o777 == 0o640 and secrets.stat().st_gid == owner, "others read the secrets"
    if program == "agent":
        names = [line.split(":")[0] for line in secrets.read_text().splitlines()]
        assert names == ["producers", "shop", "producers"], f"the tokens are those of {names}"
    say(f"the installed {name} takes the configuration")
    print(instance.run(f"/usr/bin/{name}", "--config", f"/etc/sluicegate/{program}.toml", "--check-config").stdout.strip())
    return instance


def goes_on_with_its_volume(work, base, slot, user_data, before):
    say(f"a replacement of {slot} takes the volume as it is")
    uuid = ["blkid", "-p", "-o", "value", "-s", "UUID", "/stand-in/volume"]
    after = Instance(work, base, f"{slot}-replacement", user_data, before.root / "stand-in/volume")
    after.run("bash", "/user-data")
    assert after.run(*uuid).stdout == before.run(*uuid).stdout, "the volume was formatted again"
    # At a second boot of the same instance nothing is left to be done, and nothing is done twice.
    after.run("bash", "/user-data")
    assert len([line for line in after.file("/etc/fstab").splitlines() if "sluicegate" in line]) == 1
    shutil.rmtree(after.root)

    say("a volume that holds something else is left alone")
    foreign = work / "foreign.volume"
    foreign.write_bytes(b"")
    os.truncate(foreign, 64 << 20)
    other = Instance(work, base, f"{slot}-foreign", user_data, foreign)
    other.run("mkswap", "-q", "/stand-in/volume")
    held = (other.root / "stand-in/volume").read_bytes()
    done = other.run("bash", "/user-data", check=False)
    assert done.returncode and "not touching it" in done.stdout, done.stdout
    assert (other.root / "stand-in/volume").read_bytes() == held, "a foreign volume was written to"
    shutil.rmtree(other.root)


def refuses_a_changed_file(work, base, slot, user_data):
    say("a program that is not what was uploaded is not started")
    volume = work / "empty.volume"
    volume.write_bytes(b"")
    os.truncate(volume, 64 << 20)
    instance = Instance(work, base, f"{slot}-changed", user_data, volume)
    program = next(instance.root.glob("stand-in/artifacts/*/sluicegate-*"))
    program.write_bytes(program.read_bytes() + b"!")
    done = instance.run("bash", "/user-data", check=False)
    assert done.returncode and not (instance.root / "stand-in/systemctl").exists(), done.stdout
    shutil.rmtree(instance.root)


def units_hold(instance, program):
    kinds = ("metrics.service", "metrics.timer", "secret.service", "secret.timer")
    units = [f"sluicegate-{program}.service", *(f"sluicegate-{kind}" for kind in kinds)]
    paths = [f"/usr/lib/systemd/system/{unit}" for unit in units]
    say(f"systemd verifies {', '.join(units)}")
    done = instance.run("systemd-analyze", "verify", "--man=no", *paths, check=False)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout
    for path in paths:
        unit = path.rsplit("/", 1)[1]
        if unit not in THRESHOLDS:
            continue
        done = instance.run("systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLDS[unit]}", "--no-pager", path, check=False)
        print([line for line in done.stdout.splitlines() if "Overall exposure" in line][-1].strip())
        assert done.returncode == 0, f"{unit} is open for more than {THRESHOLDS[unit] / 10}"


def serves_in_its_sandbox(instance, program):
    name = f"sluicegate-{program}"
    say(f"{name}.service starts from what was installed, in its whole sandbox")
    fstab = instance.root / "etc/fstab"
    fstab.write_text("".join(line for line in fstab.read_text().splitlines(True) if "sluicegate" not in line))
    with Booted(instance.root) as machine:
        # As sluicegate-secret.service does, with the stand-in for `aws`.
        machine.run("/usr/lib/sluicegate/secret.sh", PATH=f"/stand-in/bin:{os.environ['PATH']}")
        machine.runs(f"{name}.service", (f"/usr/bin/{name}", "--config", f"/etc/sluicegate/{program}.toml", "--health"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for roots; kept, since one is downloaded")
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    base = fresh_debian(work)
    user_data = render()
    for slot, program in (("agent-0", "agent"), ("server", "server")):
        instance = installs_itself(work, base, slot, program, user_data[slot])
        units_hold(instance, program)
        serves_in_its_sandbox(instance, program)
        if program == "agent":
            goes_on_with_its_volume(work, base, slot, user_data[slot], instance)
            refuses_a_changed_file(work, base, slot, user_data[slot])
        shutil.rmtree(instance.root)


if __name__ == "__main__":
    main()
