"""Replaces agents by modules/agent/roll.sh with a stand-in for `aws`, and looks in which order things happen.

The stand-in keeps groups in a folder and lets each state last for a few questions, as AWS does.
"""

import pathlib
import subprocess
import sys
import tempfile

ROLL = pathlib.Path(__file__).resolve().parents[1] / "modules/agent/roll.sh"
# A group is a folder: `wanted` and `has` are versions, `asked` counts questions since the refresh began.
AWS = r"""#!/bin/bash
cd "$STATE"
value() { while [ $# -gt 0 ]; do [ "$1" != "$name" ] || { echo "$2"; return; }; shift; done; }
option() { name=$1; shift; value "$@"; }
tell() { grep -qxF "$1" log || echo "$1" >>log; }
passed() { echo x >>"$1"; [ "$(wc -l <"$1")" -gt 2 ]; }
case "$1 $2" in
  "autoscaling describe-auto-scaling-groups")
    group=$(option --auto-scaling-group-names "$@")
    case $(option --query "$@") in
      *Instances*.LaunchTemplate.Version*) cat $group/has ;;
      *LaunchTemplate.Version*) cat $group/wanted ;;
      *InstanceId*) echo i-$group ;;
      *TargetGroupARNs*) cat $group/targets ;;
    esac ;;
  "autoscaling start-instance-refresh")
    group=$(option --auto-scaling-group-name "$@")
    echo "start $group" >>log
    touch $group/refreshing ;;
  "autoscaling describe-instance-refreshes")
    group=$(option --auto-scaling-group-name "$@")
    [ ! -e $group/broken ] || { echo Failed; exit; }
    passed $group/asked || { echo InProgress; exit; }
    cp $group/wanted $group/has
    echo Successful ;;
  "elbv2 describe-target-health")
    target=$(option --target-group-arn "$@")
    [ ! -e deaf ] || { echo unhealthy; exit; }
    passed asked-$target || { echo initial; exit; }
    tell "healthy $(option --targets "$@") $target"
    echo healthy ;;
  "cloudwatch get-metric-statistics")
    slot=$(sed 's/.*Name=Slot,Value=\([a-z0-9-]*\).*/\1/' <<<"$*")
    passed asked-$slot || { echo 0; exit; }
    tell "answers $slot"
    echo 1 ;;
  *) echo "stand-in: aws $*" >&2; exit 255 ;;
esac
"""


class Cloud:
    def __init__(self, folder):
        self.state = folder / "state"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.state.mkdir()
        (self.bin / "aws").write_text(AWS)
        (self.bin / "aws").chmod(0o755)

    def group(self, name, has, wanted, targets="None", broken=False):
        folder = self.state / name
        folder.mkdir()
        for file, text in {"has": has, "wanted": wanted, "targets": targets}.items():
            (folder / file).write_text(f"{text}\n")
        if broken:
            (folder / "broken").touch()

    def roll(self, *slots, patience=60):
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "STATE": str(self.state), "SLUICEGATE_ROLL_PAUSE_S": "0"}
        environment["SLUICEGATE_ROLL_PATIENCE_S"] = str(patience)
        done = subprocess.run([ROLL, "test", *slots], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def log(self):
        file = self.state / "log"
        return file.read_text().splitlines() if file.exists() else []


def each_slot_waits_for_the_one_before(cloud):
    cloud.group("g0", 1, 2, targets="t-http\tt-netcat")
    cloud.group("g1", 2, 2)
    cloud.group("g2", 1, 2, targets="t-http2")
    code, said = cloud.roll("agent-0=g0", "agent-1=g1", "agent-2=g2")
    assert code == 0, said
    assert cloud.log() == [
        "start g0", "healthy Id=i-g0 t-http", "healthy Id=i-g0 t-netcat", "answers agent-0",
        "start g2", "healthy Id=i-g2 t-http2", "answers agent-2",
    ], cloud.log()  # fmt: skip
    assert "agent-1 is new" in said, said
    assert cloud.roll("agent-0=g0", "agent-1=g1", "agent-2=g2")[0] == 0
    assert len(cloud.log()) == 7, "what is new is replaced again"


def a_slot_that_does_not_come_back_stops_the_rest(cloud):
    cloud.group("g0", 1, 2, broken=True)
    cloud.group("g1", 1, 2)
    code, said = cloud.roll("agent-0=g0", "agent-1=g1")
    assert code == 1 and "ended as Failed" in said, said
    assert cloud.log() == ["start g0"], cloud.log()


def a_slot_that_the_balancer_never_finds_healthy_stops_the_rest(cloud):
    cloud.group("g0", 1, 2, targets="t-http")
    cloud.group("g1", 1, 2)
    (cloud.state / "deaf").touch()
    code, said = cloud.roll("agent-0=g0", "agent-1=g1", patience=1)
    assert code == 1 and "gave up after 1 s: the balancer finds agent-0 healthy" in said, said
    assert cloud.log() == ["start g0"], cloud.log()


def main():
    tests = [
        each_slot_waits_for_the_one_before,
        a_slot_that_does_not_come_back_stops_the_rest,
        a_slot_that_the_balancer_never_finds_healthy_stops_the_rest,
    ]
    for test in tests:
        print(f"--- {test.__name__.replace('_', ' ')}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            test(Cloud(pathlib.Path(folder)))
    if subprocess.run([ROLL], stderr=subprocess.DEVNULL).returncode != 64:
        sys.exit("without a slot it does not say how it is used")


if __name__ == "__main__":
    main()
