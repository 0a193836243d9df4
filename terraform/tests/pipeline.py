"""A pipeline that Terraform makes from examples/minimal: on AWS (`Account`), or on an emulator with the
programs as processes of this machine (`Emulated`). smoke.py and apply.py drive both through one set of
methods.
"""

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


def say(text):
    print(f"--- {text}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def read(path):
    return path.read_text() if path.exists() else ""


class Pipeline:
    """What both have in common: a copy of the configuration with its state, and what Terraform says."""

    # After this time (of time.monotonic) nothing is waited for any more; what was made is destroyed.
    deadline = None

    def __init__(self, work, name, region, architecture, environment):
        self.work = work
        self.name = name
        self.region = region
        self.architecture = architecture
        self.environment = os.environ | environment
        self.example = work / "checkout/terraform/examples/minimal"
        self.log = {"stdout": subprocess.PIPE, "text": True}

    def until(self, what, check, seconds=60, pause=0.1):
        """Waits until `check` gives something, which is returned."""
        deadline = time.monotonic() + seconds
        if self.deadline:
            deadline = min(deadline, self.deadline)
        while not (found := check()):
            if time.monotonic() > deadline:
                sys.exit(f"it did not happen in time that {what}")
            time.sleep(pause)
        return found

    def copy(self):
        """A copy of what Terraform reads, so that its state does not lie in the checkout."""
        shutil.rmtree(self.work, ignore_errors=True)
        checkout = self.work / "checkout"
        for folder in ("terraform", "packaging"):
            shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        (checkout / "dist").symlink_to(ROOT / "dist")

    def write_override(self, module, **more):
        """What differs from the example. Files named *_override are merged into it."""
        text = {"module": {"sluicegate": {"name": self.name} | module}} | more
        (self.example / "smoke_override.tf.json").write_text(json.dumps(text))

    def terraform(self, *args):
        return subprocess.run(["terraform", *args], cwd=self.example, env=self.environment, check=True, **self.log).stdout

    def aws(self, *args):
        """The answer of `aws`, read from its JSON."""
        command = ["aws", *args, "--output", "json"]
        text = subprocess.run(command, env=self.environment, check=True, **self.log).stdout
        return json.loads(text) if text.strip() else None

    def apply(self):
        self.terraform("init", "-input=false", "-no-color")
        self.made = self.terraform("apply", "-input=false", "-no-color", "-auto-approve", *self.variables())
        print(self.made[self.made.rfind("Apply complete!") :].splitlines()[0])
        self.outputs = json.loads(self.terraform("output", "-json"))["sluicegate"]["value"]

    def destroy(self):
        made = self.terraform("destroy", "-input=false", "-no-color", "-auto-approve", *self.variables())
        print(made[made.rfind("Destroy complete!") :].splitlines()[0])

    def variables(self):
        return [f"-var=region={self.region}", f"-var=architecture={self.architecture}"]

    def buckets(self):
        named = [bucket["Name"] for bucket in self.aws("s3api", "list-buckets")["Buckets"]]
        return [bucket for bucket in named if bucket.startswith(f"{self.name}-")]


class Account(Pipeline):
    """On AWS. What runs on an instance is sent there through Session Manager, as this pipeline has no other way in."""

    instances = "EC2 instances"
    bill = "this cost"
    agent_admin = "http://127.0.0.1:8081"
    server_url = "http://127.0.0.1:8090"
    server_file = "/var/lib/sluicegate/server/events.ndjson"

    def prepare(self):
        self.copy()
        # Nothing of it shall stay, and a second run shall find its names free.
        self.write_override({"storage": {"force_destroy": True}, "notifier": {"secret_recovery_days": 0}})

    def start(self):
        for slot in ("agent-0", "server"):
            self.until(f"{slot} is online", lambda: self.instance(slot) and self.is_online(self.instance(slot)), 900, 5)
            health = f"sluicegate-{slot.split('-')[0]} --config /etc/sluicegate/{slot.split('-')[0]}.toml --health && echo healthy"
            self.until(f"{slot} is healthy", lambda: "healthy" in self.ask(slot, health), 900, 5)
        self.agent_url = self.outputs["agent_http_url"]

    def token(self):
        return ""

    def instance(self, slot):
        filters = [f"Name=tag:Name,Values={self.name}-{slot}", "Name=instance-state-name,Values=running"]
        found = self.aws("ec2", "describe-instances", "--filters", *filters, "--query", "Reservations[].Instances[].InstanceId")
        return found[0] if found else None

    def is_online(self, instance):
        query = ["--filters", f"Key=InstanceIds,Values={instance}", "--query", "InstanceInformationList[0].PingStatus"]
        return self.aws("ssm", "describe-instance-information", *query) == "Online"

    def send(self, slot, script):
        instance = self.instance(slot)
        parameters = json.dumps({"commands": [script], "executionTimeout": ["3600"]})
        command = ["ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", instance]
        return instance, self.aws(*command, "--parameters", parameters, "--query", "Command.CommandId")

    def answer(self, instance, command):
        query = ["ssm", "get-command-invocation", "--command-id", command, "--instance-id", instance]
        answer = self.aws(*query, "--query", "[Status, StandardOutputContent, StandardErrorContent]")
        return None if answer[0] in ("Pending", "InProgress", "Delayed") else answer

    def ask(self, slot, script):
        """What a script printed; nothing where it failed."""
        sent = self.send(slot, script)
        time.sleep(1)
        status, said, _ = self.until("a command has ended", lambda: self.answer(*sent), 300, 2)
        return said if status == "Success" else ""

    def begin(self, slot, program, *args):
        """Starts a Python program there; what is returned waits for its end, and gives what it printed."""
        words = " ".join(f"'{arg}'" for arg in args)
        sent = self.send(slot, f"python3 - {words} <<'PROGRAM'\n{program.read_text()}\nPROGRAM\n")

        def wait(seconds):
            status, said, errors = self.until(f"{program.name} has ended", lambda: self.answer(*sent), seconds, 5)
            return said if status == "Success" else sys.exit(f"{program.name} ended as {status}:\n{said}\n{errors}")

        return wait

    def kill_agent(self):
        """Ends the instance; the group makes another, which takes volume and address."""
        before = self.instance("agent-0")
        self.aws("ec2", "terminate-instances", "--instance-ids", before)
        print(f"terminated {before}")

    def stop(self):
        pass

    def left(self):
        """What still has the pipeline's tag."""
        filters = ["resourcegroupstaggingapi", "get-resources", "--tag-filters", f"Key=Pipeline,Values={self.name}"]
        tagged = self.aws(*filters, "--query", "ResourceTagMappingList[].ResourceARN")
        # An instance and what went with it are shown for an hour after their end.
        gone = (":instance/", ":network-interface/", ":volume/", ":launch-template/")
        return self.buckets() + [arn for arn in tagged if not any(kind in arn for kind in gone)]


class Emulated(Pipeline):
    """On an emulator, which boots no instance: the programs and the scripts of instances run here, told by
    `terraform output -json` alone."""

    instances = "processes of this machine, since the emulator boots none"
    bill = "in an account this would have cost"

    def __init__(self, work, name, endpoint):
        environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            # The SDKs' own retries and metadata look-ups have nothing to find here.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        super().__init__(work, name, "eu-central-1", "x86_64", environment)
        self.endpoint = endpoint
        self.ports = {"http": free_port(), "netcat": free_port(), "server": free_port()}
        self.agent_url = f"http://127.0.0.1:{self.ports['http']}"
        self.server_url = f"http://127.0.0.1:{self.ports['server']}"
        self.server_metrics = f"{self.server_url}/metrics"
        self.server_file = str(work / "events.ndjson")
        self.secrets = work / "server.secrets"
        self.tokens = work / "agent.secrets"
        self.started = {}

    def prepare(self):
        self.copy()
        self.stand_ins()
        # A resource that the example lacks cannot be overridden, so that this is one more file of it.
        password = {"ingest": {"password_length": 32, "exclude_punctuation": True}}
        text = {"ephemeral": {"aws_secretsmanager_random_password": password}}
        (self.example / "token.tf.json").write_text(json.dumps(text))
        self.override(secret_version=1)

    def override(self, secret_version):
        """What differs from AWS: addresses. And a token for producers, so that this is tried as well."""
        provider = {
            "skip_credentials_validation": True,
            "skip_metadata_api_check": "true",
            "skip_requesting_account_id": False,
            "s3_use_path_style": True,
        }
        module = {
            "s3_endpoint": self.endpoint,
            "ports": self.ports,
            "notify_url": f"{self.server_url}/v1/notices",
            "storage": {"force_destroy": True},
            "notifier": {"secret_recovery_days": 0, "environment": {"AWS_ENDPOINT_URL": self.endpoint}},
            "secret_version": secret_version,
            "ingest_token": "${ephemeral.aws_secretsmanager_random_password.ingest.random_password}",
            "ingest_token_version": secret_version,
        }
        self.write_override(module, provider={"aws": provider})

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

    # === programs

    def start(self):
        say("agent and server start with the configurations that instances get")
        config = self.outputs["agent_config"].replace("/run/sluicegate/agent.secrets", str(self.tokens))
        (self.work / "agent.toml").write_text(config)
        (self.work / "server.toml").write_text(self.outputs["server_config"])
        self.fetch_secrets()
        self.launch(
            "server", "--config", "server.toml", "--dir", "inbox", "--notices-secret-file", self.secrets,
            "--handler-path", self.server_file, "--ready-file", "server.ready",
        )  # fmt: skip
        self.start_agent()
        self.until("the server answers", lambda: read(self.work / "server.ready"))

    def start_agent(self):
        (self.work / "agent.ready").unlink(missing_ok=True)
        self.launch("agent", "--config", "agent.toml", "--dir", "agent", "--admin", "127.0.0.1:0", "--ready-file", "agent.ready")
        self.until("the agent answers", lambda: read(self.work / "agent.ready"))
        self.agent_admin = f"http://{json.loads(read(self.work / 'agent.ready'))['admin']}"

    def launch(self, program, *args):
        name = f"sluicegate-{program}"
        log = (self.work / f"{name}.log").open("a")
        command = [ROOT / "dist/x86_64" / name, *args]
        self.started[program] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.work)

    def kill_agent(self):
        self.started["agent"].kill()
        self.started["agent"].wait()
        print(f"killed process {self.started['agent'].pid}")
        # An instance is away for minutes; producers shall meet that.
        time.sleep(1)
        self.start_agent()

    def stop(self):
        for process in self.started.values():
            process.send_signal(signal.SIGTERM)
        for process in self.started.values():
            process.wait(timeout=60)

    def begin(self, _slot, program, *args):
        process = subprocess.Popen([sys.executable, program, *map(str, args)], **self.log)

        def wait(seconds):
            said, _ = process.communicate(timeout=seconds)
            return said if process.returncode == 0 else sys.exit(f"{program.name} ended with {process.returncode}:\n{said}")

        return wait

    def token(self):
        """The last one: after a rotation the one before, which the running agent knows as well."""
        return read(self.tokens).split()[-1].split(":")[-1]

    # === scripts of instances

    def fetch_secrets(self):
        for program, file in (("server", self.secrets), ("agent", self.tokens)):
            self.script("secret.sh", program, SLUICEGATE_SECRET_FILE=str(file), SLUICEGATE_SECRET_GROUP=str(os.getgid()))

    def script(self, name, program, **more):
        """Runs a script of instances with the environment that user data writes for it."""
        lines = self.outputs["user_data"][{"agent": "agent-0"}.get(program, program)].splitlines()
        begin = lines.index("cat >/etc/sluicegate/instance.env <<'ENV'")
        file = self.work / f"{program}.env"
        # The metrics are elsewhere only because ports are free ones here.
        kept = [line for line in lines[begin + 1 : lines.index("ENV")] if not line.startswith("SLUICEGATE_METRICS_URL")]
        file.write_text("\n".join(kept) + "\n")
        environment = self.environment | {"SLUICEGATE_INSTANCE_ENV": str(file)} | more
        subprocess.run([ROOT / "packaging/aws" / name], env=environment, check=True)

    # === what is there

    def keys(self, prefix=""):
        found = self.aws("s3api", "list-objects-v2", "--bucket", self.outputs["bucket"])["Contents"]
        return [one["Key"] for one in found if one["Key"].startswith(prefix)]

    def notices(self):
        """All that the server was sent, whatever it answered."""
        text = urllib.request.urlopen(self.server_metrics, timeout=30).read().decode()
        lines = [line for line in text.splitlines() if line.startswith("sluicegate_server_notices_total{")]
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)

    def left(self):
        return self.buckets()
