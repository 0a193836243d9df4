"""Applies examples/minimal to an AWS emulator and looks at what it made: events through it, secrets, alarms, the
failure queue; and runs what `cargo xtask aws-smoke` does in an account, a kill of the agent and all.

The agent, the server and the scripts of instances run here as processes, told by `terraform output
-json` alone; the bucket, its notification, the function and the secret are those that Terraform made.
Needs `terraform` and `aws` on the PATH, `jq`, and the programs in dist/.
"""

import json
import subprocess
import urllib.request

import smoke
from pipeline import ROOT, Emulated, read, say

EVENT = "an event through everything that Terraform made"


def an_event_goes_through_what_terraform_made(pipeline):
    say("an event goes from the agent to the bucket, by the function to the server")
    # The lines of try_it as they stand; only the agent's address in the VPC is not here.
    here = pipeline.agent_url
    lines = pipeline.outputs["try_it"].replace(pipeline.outputs["agent_http_url"], here).replace("hello over http", EVENT)
    refused = subprocess.run(["curl", "-s", "-d", EVENT, f"{here}/v1/events"], stdout=subprocess.PIPE, text=True).stdout
    assert "token" in refused, f"an event without a token was answered with {refused}"
    answer = subprocess.run(["bash", "-ec", lines], env=pipeline.environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert json.loads(answer) == {"accepted": 1}, f"the lines of try_it were answered with {answer}"
    urllib.request.urlopen(f"{pipeline.agent_admin}/v1/flush?timeout=30s", data=b"", timeout=40)
    pipeline.until("the server got the event", lambda: EVENT in read(pipeline.work / "events.ndjson"))
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
        ("agent", f"{pipeline.agent_admin}/metrics", "agent", "agent-0"),
        ("server", pipeline.server_metrics, "inbox", "server"),
    ):
        pipeline.script("metrics.sh", program, SLUICEGATE_METRICS_URL=url, SLUICEGATE_DATA_DIR=str(pipeline.work / data))
    sent = set()
    for metric in pipeline.aws("cloudwatch", "list-metrics", "--namespace", "Sluicegate")["Metrics"]:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
        sent.add((dimensions["Pipeline"], dimensions["Slot"], metric["MetricName"]))
    looked_at = set()
    for alarm in pipeline.aws("cloudwatch", "describe-alarms")["MetricAlarms"]:
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


def what_costs_more_than_it_may_is_not_made(pipeline):
    say("what costs more than it may, or nobody agrees to, is not made")
    smoke_py = ROOT / "terraform/tests/smoke.py"
    for more, said in (["--max-usd", "0.01", "--yes"], "nothing was made"), ([], "nobody answered"):
        command = ["python3", smoke_py, "--work", pipeline.work / "unmade", *more]
        done = subprocess.run(command, env=pipeline.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 64 and said in done.stderr, f"{more}: {done.returncode}, {done.stdout}{done.stderr}"
        assert "at most 0." in done.stdout and not (pipeline.work / "unmade").exists(), done.stdout


def main():
    parser = smoke.arguments(__doc__)
    parser.add_argument("--endpoint", required=True, help="the emulator")
    args = parser.parse_args()
    pipeline = Emulated(args.work.resolve(), args.name, args.endpoint)
    before = [
        an_event_goes_through_what_terraform_made,
        the_secret_is_in_secrets_manager_alone,
        alarms_look_at_what_is_sent,
        what_failed_is_sent_again_and_handled_once,
        what_costs_more_than_it_may_is_not_made,
    ]
    try:
        # The function signs with a rotated secret, and nothing here starts the server anew with it: at the end.
        smoke.run(pipeline, args, before, [a_rotated_secret_is_taken_beside_the_one_before])
    except BaseException:
        for log in pipeline.work.glob("*.log"):
            print(f"=== {log.name}", read(log)[-3000:], sep="\n")
        raise


if __name__ == "__main__":
    main()
