"""Makes the minimal example, sends events, kills the agent's instance once, and looks whether each event
arrived once; then destroys it all. `cargo xtask aws-smoke` runs it in an AWS account, where it asks before it
makes anything; apply.py runs the same on an emulator.
"""

import argparse
import json
import math
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import time
import tomllib

from pipeline import ROOT, Account, say

HERE = pathlib.Path(__file__).resolve().parent
PRICES = ROOT / "ingest-agent/src/cli/cost/prices.toml"
TYPES = {"x86_64": "t3.small", "arm64": "t4g.small"}
# Regions other than the table's cost up to a third more (docs/cost.md).
DEARER = 4 / 3
# What destroying may take beyond the time of the run: Lambda lets go of its interfaces slowly.
DESTROY_HOURS = 1
HOURS_A_MONTH = 730


class Bill:
    """What the minimal example costs while it exists; requests of a run like this are fractions of a cent."""

    def __init__(self, region, architecture):
        table = tomllib.loads(PRICES.read_text())
        price = {one["key"]: one["usd"] for one in table["price"]}
        self.as_of = f"list prices of {table['region']}, {table['as_of']}"
        self.factor = 1 if region == table["region"] else DEARER
        self.hourly = {
            f"2 instances {TYPES[architecture]}": 2 * price[f"ec2.{TYPES[architecture]}"],
            "2 public addresses": 2 * price["address"],
            "1 endpoint": price["endpoint"],
            "56 GB gp3": 56 * price["ebs.gp3.gb"] / HOURS_A_MONTH,
            "14 metrics": 14 * price["metric"] / HOURS_A_MONTH,
            "11 alarms": 11 * price["alarm"] / HOURS_A_MONTH,
            "a secret": price["secret"] / HOURS_A_MONTH,
        }

    def usd(self, hours):
        """Begun hours count as whole ones, as they do for endpoints and addresses."""
        return math.ceil(hours) * sum(self.hourly.values()) * self.factor

    def lines(self):
        return [f"  {what:<28} {usd * self.factor:.4f} an hour" for what, usd in self.hourly.items()]


class Times:
    """How long each part took."""

    def __init__(self):
        self.began = self.last = time.monotonic()
        self.parts = []

    def part(self, what):
        now = time.monotonic()
        self.parts.append((what, now - self.last))
        self.last = now

    def hours(self):
        return (time.monotonic() - self.began) / 3600


def events_survive_a_kill(pipeline, times, events, seconds):
    """Half of the events are sent before the kill, and the producer goes on through it."""
    run = f"{pipeline.name}-{secrets.token_hex(4)}"
    say(f"sending {events} events over {seconds} s, and killing the agent's instance in the middle")
    wait = pipeline.begin("server", HERE / "producer.py", pipeline.agent_url, run, events, seconds, pipeline.token())
    time.sleep(seconds / 2)
    pipeline.kill_agent()
    sent = json.loads(wait(1800))
    if not sent["repeats"]:
        sys.exit("the producer met no agent that was away: nothing was shown")
    times.part("events, through a kill")
    print(f"{sent['events']} events answered, {sent['repeats']} requests repeated, the longest wait for an answer {sent['longest_wait_s']} s")

    say("each event is at the handler once, and the objects add up")

    def all_there():
        told = json.loads(pipeline.begin("server", HERE / "delivered.py", pipeline.server_url, pipeline.server_file, run)(300))
        pipeline.told = told
        return told if told["distinct"] >= sent["events"] and not told["broken"] else None

    # The agent seals what is 30 seconds old, so that no flush is needed.
    try:
        told = pipeline.until("all events are at the handler", all_there, 600, 2)
    except SystemExit:
        sys.exit(f"not all events arrived: {pipeline.told}")
    if told["distinct"] != sent["events"] or told["doubled"]:
        sys.exit(f"{sent['events']} events were sent once each, and the handler has {told}")
    times.part("all of it at the handler")
    print(f"{told['distinct']} events in {told['cuts']} objects, none twice, no cut missing or forked, the totals add up")


def run(pipeline, args, before=(), after=()):
    """All of it; whatever happens, what was made is destroyed."""
    times = Times()
    pipeline.deadline = time.monotonic() + args.minutes * 60
    pipeline.prepare()
    try:
        say("terraform apply")
        pipeline.apply()
        times.part("terraform apply")
        pipeline.start()
        times.part("agent and server answer")
        for check in before:
            check(pipeline)
        times.part("further checks")
        events_survive_a_kill(pipeline, times, args.events, args.seconds)
        for check in after:
            check(pipeline)
        times.part("further checks")
    finally:
        pipeline.deadline = None
        pipeline.stop()
        say("terraform destroy")
        try:
            pipeline.destroy()
        except subprocess.CalledProcessError as error:
            print(f"NOT DESTROYED: {error}\n  cd {pipeline.example} && terraform destroy {' '.join(pipeline.variables())}")
            raise
        times.part("terraform destroy")
    left = pipeline.left()
    if left:
        sys.exit(f"this is left, look at it: {left}")
    say("times")
    for what, seconds in times.parts:
        if seconds >= 1:
            print(f"  {what:<28} {seconds:7.0f} s")
    print(f"instances were {pipeline.instances}")
    bill = Bill(pipeline.region, pipeline.architecture)
    print(f"{pipeline.bill} about {bill.usd(times.hours()):.2f} USD, by {bill.as_of}")


def agreed(pipeline, bill, args):
    """Says what is going to happen and what it may cost; nothing was made yet."""
    who = pipeline.aws("sts", "get-caller-identity")
    most = bill.usd(args.minutes / 60 + DESTROY_HOURS)
    print(f"account {who['Account']} as {who['Arn']}, region {pipeline.region}")
    print(f"makes terraform/examples/minimal under the name {pipeline.name}, and destroys it after {args.minutes} minutes at most")
    print(*bill.lines(), sep="\n")
    print(f"at most {most:.2f} USD ({bill.as_of}{', a third added for the region' if bill.factor > 1 else ''})")
    if most > args.max_usd:
        print(f"that is more than --max-usd {args.max_usd}: nothing was made", file=sys.stderr)
        return False
    if args.yes:
        return True
    try:
        return input(f"type {pipeline.name} to go on: ").strip() == pipeline.name
    except EOFError:
        print("nobody answered (--yes does not ask): nothing was made", file=sys.stderr)
        return False


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for Terraform's state and what else a run keeps")
    parser.add_argument("--name", default=f"smoke-{secrets.token_hex(3)}", help="the pipeline's name")
    parser.add_argument("--events", type=int, default=20000, help="events in all")
    parser.add_argument("--seconds", type=float, default=120, help="over which they are sent, but for what the kill takes")
    parser.add_argument("--minutes", type=float, default=90, help="after which it gives up and destroys")
    return parser


def main():
    parser = arguments(__doc__)
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1")
    parser.add_argument("--architecture", choices=sorted(TYPES), default="x86_64")
    parser.add_argument("--max-usd", type=float, default=1.0, help="what it may cost at most")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    args = parser.parse_args()
    region = {"AWS_REGION": args.region, "AWS_DEFAULT_REGION": args.region}
    for state in args.work.glob("*/checkout/terraform/examples/minimal/terraform.tfstate"):
        print(f"an earlier run was not destroyed: cd {state.parent} && terraform destroy", file=sys.stderr)
    # A folder for each run: the state of one that could not be destroyed stays.
    pipeline = Account(args.work.resolve() / args.name, args.name, args.region, args.architecture, region)
    bill = Bill(args.region, args.architecture)
    if not agreed(pipeline, bill, args):
        sys.exit(64)
    run(pipeline, args)
    shutil.rmtree(pipeline.work)


if __name__ == "__main__":
    main()
