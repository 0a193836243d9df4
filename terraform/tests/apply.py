"""Applies examples/minimal to an AWS emulator and sends an event through what it made.

The agent, the server and the scripts of instances run here as processes, told by `terraform output
-json` alone; the bucket, its notification, the function and the secret are those that Terraform made.
Needs `terraform` and `aws` on the PATH, `jq`, and the programs in dist/.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
EVENT = "an event through everything that Terraform made"


def say(text):
    print(f"--- {text}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, check, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    sys.exit(f"within {seconds} s it did not happen that {what}")


def read(path):
    return path.read_text() if path.exists() else ""


class Pipeline:
    def __init__(self, work, endpoint):
        self.work = work
        self.endpoint = endpoint
        self.ports = {"http": free_port(), "netcat": free_port(), "server": free_port()}
        self.server_metrics = f"http://127.0.0.1:{self.ports['server']}/metrics"
        self.secrets = work / "server.secrets"
        self.tokens = work / "agent.secrets"
        self.example = work / "checkout/terraform/examples/minimal"
        self.started = []
        self.environment = os.environ | {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            # The SDKs' own retries and metadata look-ups have nothing to find here.
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def copy(self):
        """A copy of what Terraform reads, so that its state does not lie in the checkout."""
        shutil.rmtree(self.work, ignore_errors=True)
        checkout = self.work / "checkout"
        for folder in ("terraform", "packaging"):
            shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        (checkout / "dist").symlink_to(ROOT / "dist")
        self.stand_ins()
        self.override(secret_version=1)

    def override(self, secret_version):
        """What differs from AWS: addresses. Files named *_override are merged into the example."""
        provider = {
            "skip_credentials_validation": True,
            "skip_metadata_api_check": "true",
            "skip_requesting_account_id": False,
            "s3_use_path_style": True,
        }
        module = {
            "s3_endpoint": self.endpoint,
            "ports": self.ports,
            "notify_url": f"http://127.0.0.1:{self.ports['server']}/v1/notices",
            "storage": {"force_destroy": True},
            "notifier": {"secret_recovery_days": 0, "environment": {"AWS_ENDPOINT_URL": self.endpoint}},
            "secret_version": secret_version,
            "ingest_token": "${ephemeral.aws_secretsmanager_random_password.ingest.random_password}",
            "ingest_token_version": secret_version,
        }
        password = {"ingest": {"password_length": 32, "exclude_punctuation": True}}
        text = {
            "provider": {"aws": provider},
            "module": {"sluicegate": module},
            "ephemeral": {"aws_secretsmanager_random_password": password},
        }
        # A resource that the example lacks cannot be overridden, so that this is one more file of it.
        (self.example / "addresses.tf.json").write_text(json.dumps({"ephemeral": text.pop("ephemeral")}))
        (self.example / "addresses_override.tf.json").write_text(json.dumps(text))

    def terraform(self, *args):
        return subprocess.run(
            ["terraform", *args], cwd=self.example, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def aws(self, *args):
        return subprocess.run(
            ["aws", *args, "--output", "json"], env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def stand_ins(self):
        """`systemctl` that only tells, and `aws` at the emulator: version 1 of it asks SQS elsewhere otherwise."""
        tools = self.work / "tools"
        tools.mkdir()
        aws = shutil.which("aws")
        for name, text in (
            ("systemctl", f'echo systemctl "$@" >>{self.work}/systemctl.log'),
            ("aws", f'exec {aws} --endpoint-url {self.endpoint} "$@"'),
        ):
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        self.environment["PATH"] = f"{tools}:{self.environment['PATH']}"

    def start(self, name, *args):
        log = (self.work / f"{name}.log").open("w")
        program = ROOT / "dist/x86_64" / name
        process = subprocess.Popen([program, *args], env=self.environment, stdout=log, stderr=log, cwd=self.work)
        self.started.append(process)
        return process

    def stop(self):
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(timeout=60)

    def keys(self, prefix=""):
        found = json.loads(self.aws("s3api", "list-objects-v2", "--bucket", self.outputs["bucket"]))["Contents"]
        return [one["Key"] for one in found if one["Key"].startswith(prefix)]

    def notices(self):
        """All that the server was sent, whatever it answered."""
        text = urllib.request.urlopen(self.server_metrics, timeout=30).read().decode()
        lines = [line for line in text.splitlines() if line.startswith("sluicegate_server_notices_total{")]
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)

    def fetch_secrets(self):
        for program, file in (("server", self.secrets), ("agent", self.tokens)):
            self.script("secret.sh", program, SLUICEGATE_SECRET_FILE=str(file), SLUICEGATE_SECRET_GROUP=str(os.getgid()))

    def script(self, name, program, **more):
        """Runs a script of instances with the environment that user data writes for it."""
        lines = [line for line in self.outputs["user_data"][{"agent": "agent-0"}.get(program, program)].splitlines()]
        begin = lines.index("cat >/etc/sluicegate/instance.env <<'ENV'")
        file = self.work / f"{program}.env"
        # The metrics are elsewhere only because ports are free ones here.
        kept = [line for line in lines[begin + 1 : lines.index("ENV")] if not line.startswith("SLUICEGATE_METRICS_URL")]
        file.write_text("\n".join(kept) + "\n")
        environment = self.environment | {"SLUICEGATE_INSTANCE_ENV": str(file)} | more
        subprocess.run([ROOT / "packaging/aws" / name], env=environment, check=True)


def apply_and_start(pipeline):
    work = pipeline.work
    say("terraform apply")
    pipeline.terraform("init", "-input=false", "-no-color")
    began = time.monotonic()
    pipeline.made = pipeline.terraform("apply", "-input=false", "-no-color", "-auto-approve")
    print(pipeline.made[pipeline.made.rfind("Apply complete!") :].splitlines()[0], f"({time.monotonic() - began:.0f} s)")
    outputs = json.loads(pipeline.terraform("output", "-json"))["sluicegate"]["value"]
    pipeline.outputs = outputs

    say("agent and server start with the configurations that instances get")
    (work / "agent.toml").write_text(outputs["agent_config"].replace("/run/sluicegate/agent.secrets", str(pipeline.tokens)))
    (work / "server.toml").write_text(outputs["server_config"])
    pipeline.fetch_secrets()
    pipeline.start(
        "sluicegate-server", "--config", "server.toml", "--dir", "inbox", "--notices-secret-file", pipeline.secrets,
        "--handler-path", "events.ndjson", "--ready-file", "server.ready",
    )
    pipeline.start(
        "sluicegate-agent", "--config", "agent.toml", "--dir", "agent", "--admin", "127.0.0.1:0", "--ready-file", "agent.ready"
    )
    until("the agent and the server answer", lambda: read(work / "agent.ready") and read(work / "server.ready"))
    pipeline.admin = json.loads(read(work / "agent.ready"))["admin"]


def an_event_goes_through_what_terraform_made(pipeline):
    say("an event goes from the agent to the bucket, by the function to the server")
    # The lines of try_it as they stand; only the agent's address in the VPC is not here.
    here = f"http://127.0.0.1:{pipeline.ports['http']}"
    lines = pipeline.outputs["try_it"].replace(pipeline.outputs["agent_http_url"], here).replace("hello over http", EVENT)
    refused = subprocess.run(["curl", "-s", "-d", EVENT, f"{here}/v1/events"], stdout=subprocess.PIPE, text=True).stdout
    assert "token" in refused, f"an event without a token was answered with {refused}"
    answer = subprocess.run(["bash", "-ec", lines], env=pipeline.environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert json.loads(answer) == {"accepted": 1}, f"the lines of try_it were answered with {answer}"
    urllib.request.urlopen(f"http://{pipeline.admin}/v1/flush?timeout=30s", data=b"", timeout=40)
    until("the server got the event", lambda: EVENT in read(pipeline.work / "events.ndjson"))
    print(*pipeline.keys(), sep="\n")
    assert len(pipeline.keys("events/")) == 1, "one event is one object, and nothing beside it"


def the_secret_is_in_secrets_manager_alone(pipeline):
    say("secret and token are in Secrets Manager alone")
    [secret] = read(pipeline.secrets).split()
    assert len(secret) == 48, "the server got something else than the secret"
    name, token = read(pipeline.tokens).strip().split(":")
    assert name == "producers" and len(token) == 32, "the agent got something else than the token"
    for place in (read(pipeline.example / "terraform.tfstate"), json.dumps(pipeline.outputs), pipeline.made):
        assert place and secret not in place and token not in place, "a secret stands in the state, an output or the plan"


def alarms_look_at_what_is_sent(pipeline):
    say("what the alarms look at arrives in CloudWatch")
    for program, url, data, slot in (
        ("agent", f"http://{pipeline.admin}/metrics", "agent", "agent-0"),
        ("server", pipeline.server_metrics, "inbox", "server"),
    ):
        pipeline.script("metrics.sh", program, SLUICEGATE_METRICS_URL=url, SLUICEGATE_DATA_DIR=str(pipeline.work / data))
    sent = set()
    for metric in json.loads(pipeline.aws("cloudwatch", "list-metrics", "--namespace", "Sluicegate"))["Metrics"]:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
        sent.add((dimensions["Pipeline"], dimensions["Slot"], metric["MetricName"]))
    looked_at = set()
    for alarm in json.loads(pipeline.aws("cloudwatch", "describe-alarms"))["MetricAlarms"]:
        if alarm.get("Namespace") == "Sluicegate":
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
            looked_at.add((dimensions["Pipeline"], dimensions["Slot"], alarm["MetricName"]))
    print(*sorted(" ".join(metric) for metric in looked_at), sep="\n")
    assert len(looked_at) == 8, "an agent has five metrics that somebody looks at, and the server three"
    assert looked_at <= sent, f"alarms look at what nobody sends: {looked_at - sent}"


def what_failed_is_sent_again_and_handled_once(pipeline):
    say("what failed is sent again from the failure queue")
    event = json.loads((ROOT / "crates/s3-event/tests/fixtures/put.json").read_text())
    event["Records"][0]["s3"]["bucket"]["name"] = pipeline.outputs["bucket"]
    event["Records"][0]["s3"]["object"]["key"] = pipeline.keys("events/")[0].replace("=", "%3D")
    before = pipeline.notices()
    failed = {"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": event}
    queue = pipeline.outputs["failure_queue_url"]
    pipeline.aws("sqs", "send-message", "--queue-url", queue, "--message-body", json.dumps(failed))
    redrive = [ROOT / "terraform/redrive.sh", queue, pipeline.outputs["notifier_function"]]
    subprocess.run(redrive, env=pipeline.environment, check=True)
    assert pipeline.notices() == before + 1, "the notice was not sent again"
    assert read(pipeline.work / "events.ndjson").count(EVENT) == 1, "a notice that came twice was handled twice"


def a_rotated_secret_is_taken_beside_the_one_before(pipeline):
    say("a rotated secret is taken beside the one before")
    [secret] = read(pipeline.secrets).split()
    [token] = read(pipeline.tokens).split()
    pipeline.override(secret_version=2)
    versions = "notifier.aws_secretsmanager_secret_version.notify", "agent.aws_secretsmanager_secret_version.ingest"
    targets = [f"-target=module.sluicegate.module.{version}" for version in versions]
    pipeline.terraform("apply", "-input=false", "-no-color", "-auto-approve", *targets)
    pipeline.fetch_secrets()
    rotated = read(pipeline.secrets).split()
    assert len(rotated) == 2 and rotated[1] == secret != rotated[0], "the server does not take both secrets"
    tokens = read(pipeline.tokens).split()
    assert len(tokens) == 2 and tokens[1] == token != tokens[0], "the agent does not take both tokens"
    for unit in ("sluicegate-server", "sluicegate-agent"):
        restart = f"systemctl --no-block restart {unit}.service"
        assert read(pipeline.work / "systemctl.log").count(restart) == 2, f"{unit} is not started anew"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", required=True, help="the emulator")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder that is emptied first")
    args = parser.parse_args()
    pipeline = Pipeline(args.work.resolve(), args.endpoint)
    pipeline.copy()
    try:
        apply_and_start(pipeline)
        an_event_goes_through_what_terraform_made(pipeline)
        the_secret_is_in_secrets_manager_alone(pipeline)
        alarms_look_at_what_is_sent(pipeline)
        what_failed_is_sent_again_and_handled_once(pipeline)
        a_rotated_secret_is_taken_beside_the_one_before(pipeline)
    except BaseException:
        for log in pipeline.work.glob("*.log"):
            print(f"=== {log.name}", read(log)[-3000:], sep="\n")
        raise
    finally:
        pipeline.stop()
        say("terraform destroy")
        made = pipeline.terraform("destroy", "-input=false", "-no-color", "-auto-approve")
        print(made[made.rfind("Destroy complete!") :].splitlines()[0])
    left = json.loads(pipeline.aws("s3api", "list-buckets"))["Buckets"]
    left = [bucket["Name"] for bucket in left if bucket["Name"].startswith("sluicegate-") and bucket["Name"] != "sluicegate-test"]
    assert not left, f"buckets are left: {left}"


if __name__ == "__main__":
    main()
