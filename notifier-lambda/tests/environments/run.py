#!/usr/bin/env python3
"""The packaged notifier in Lambda environments that are not ours.

    run.py --package bootstrap.zip --cargo-lambda PROGRAM --ministack http://127.0.0.1:4566

cargo-lambda's emulator invokes it as Lambda does; MiniStack starts it from the package as the target of a
bucket's notification and of an SQS event source mapping. Each test stands by itself; a name as argument
runs just that one.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
import zipfile

import boto3
from botocore.config import Config

from receiver import NEXT_SECRET, REFUSED, SECRET, Receiver
from runtimes import Bootstrap, Emulator, RuntimeApi

FIXTURES = os.path.join(os.path.dirname(__file__), "../../../crates/s3-event/tests/fixtures")
BUCKET = "sluicegate-environments"
KEYS = ["plain.txt", "a b+c.txt", "one%2Ftwo&three=four.txt", "grüße/日本語.log", "a//b/../c", "k" * 1024]
STARTS = 15


def fixture(name):
    with open(os.path.join(FIXTURES, f"{name}.json"), encoding="utf-8") as file:
        return json.load(file)


def message(number, event):
    """An SQS message, in the documented form, with this S3 event."""
    sqs = copy.deepcopy(fixture("sqs")["Records"][0])
    sqs["messageId"] = f"message-{number}"
    sqs["body"] = event if isinstance(event, str) else json.dumps(event)
    return sqs


def put(key):
    event = fixture("put")
    event["Records"][0]["s3"]["object"]["key"] = key
    return event


class Environments:
    def __init__(self, options):
        self.package = options.package
        self.cargo_lambda = options.cargo_lambda
        self.ministack = options.ministack
        self.folder = tempfile.TemporaryDirectory()
        with zipfile.ZipFile(self.package) as package:
            self.bootstrap = package.extract("bootstrap", self.folder.name)
        os.chmod(self.bootstrap, 0o755)
        self.receiver = Receiver()

    def settings(self, **more):
        return {
            "SLUICEGATE_NOTIFY_URL": self.receiver.url,
            "SLUICEGATE_NOTIFY_SECRET": SECRET,
            "SLUICEGATE_NOTIFY_RETRY_BASE": "10ms",
            "SLUICEGATE_LOG_FORMAT": "json",
            **more,
        }

    def aws(self, service):
        return boto3.client(
            service,
            endpoint_url=self.ministack,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
        )

    def managed(self, secret_id):
        """Where the secret lies in MiniStack's Secrets Manager."""
        return {
            "SLUICEGATE_NOTIFY_SECRET": "",
            "SLUICEGATE_NOTIFY_SECRET_ID": secret_id,
            "AWS_ENDPOINT_URL": self.ministack,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def function(self, name, **more):
        """Makes the function from the package."""
        client = self.aws("lambda")
        with open(self.package, "rb") as package:
            answer = client.create_function(
                FunctionName=name,
                Runtime="provided.al2023",
                Role="arn:aws:iam::000000000000:role/notifier",
                Handler="bootstrap",
                Code={"ZipFile": package.read()},
                Timeout=20,
                Environment={"Variables": self.settings(**more)},
            )
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        return answer["FunctionArn"]


def start_up_is_measured(environments):
    """No assertion: what a start costs beside Lambda's own, for whoever compares two builds."""
    asked, answered = [], []
    for _ in range(STARTS):
        api = RuntimeApi()
        started = time.monotonic()
        with Bootstrap(environments.bootstrap, api.address, "notifier", environments.settings()):
            asked.append(api.asked.get(timeout=30) - started)
            event_at = time.monotonic()
            api.events.put(fixture("put"))
            at, kind, body = api.answers.get(timeout=30)
            assert kind == "response", body
            answered.append(at - event_at)
        api.close()
    asked_ms, answered_ms = (1000 * statistics.median(times) for times in (asked, answered))
    print(f"    start to first request: {asked_ms:.1f} ms; first event to its answer: {answered_ms:.1f} ms")
    print(f"    (medians of {STARTS}; package {os.path.getsize(environments.package)} bytes)")


def cargo_lambda_runs_the_packaged_bootstrap(environments):
    receiver = environments.receiver
    with Emulator(environments.cargo_lambda) as emulator:
        api = emulator.url + "/.rt"
        with Bootstrap(environments.bootstrap, api, "_", environments.settings()) as bootstrap:
            failed, answer = emulator.invoke(fixture("keys"))
            assert not failed and answer["relayed"] == 9, answer
            assert ("sluicegate-events", "red flower.jpg") in receiver.taken, receiver.taken
            assert ("sluicegate-events", "one%2Ftwo.txt") in receiver.taken, receiver.taken
            for name, key in [("sns", "red flower.jpg"), ("eventbridge", "example-key")]:
                receiver.forget()
                failed, answer = emulator.invoke(fixture(name))
                assert not failed and [taken[1] for taken in receiver.taken] == [key], (name, answer)
            batch = [message(0, put("0")), message(1, put(REFUSED)), message(2, "no JSON"), message(3, put("3"))]
            failed, answer = emulator.invoke({"Records": batch})
            wanted = [{"itemIdentifier": "message-1"}, {"itemIdentifier": "message-2"}]
            assert not failed and answer == {"batchItemFailures": wanted}, answer
            failed, answer = emulator.invoke(put(REFUSED))
            assert failed and answer["errorType"] == "NotRelayed", answer
            assert SECRET not in bootstrap.logged()


def a_real_bucket_notification_reaches_the_server_through_ministack(environments):
    receiver = environments.receiver
    s3 = environments.aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    arn = environments.function("notifier-direct")
    events = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"LambdaFunctionConfigurations": [events]}
    )
    for key in KEYS:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"event\n")
    wanted = {(BUCKET, key) for key in KEYS}
    receiver.wait_until(lambda one: set(one.taken) >= wanted, "every key arrives as it is")
    assert set(receiver.taken) == wanted and receiver.unauthorized == 0, receiver.taken
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})


def only_failed_messages_come_back_from_an_event_source_mapping_in_ministack(environments):
    receiver = environments.receiver
    s3, sqs = environments.aws("s3"), environments.aws("sqs")
    bucket = BUCKET + "-queued"
    s3.create_bucket(Bucket=bucket)

    def queue(name, **attributes):
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    dead_url, dead_arn = queue("notices-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 3})
    url, arn = queue("notices", RedrivePolicy=redrive, VisibilityTimeout="1")
    events = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [events]}
    )
    bad = [f"{REFUSED} {number}" for number in range(2)]
    for key in KEYS + bad:
        s3.put_object(Bucket=bucket, Key=key, Body=b"event\n")
    # The mapping comes last, so that all messages lie in the queue and go out as one batch.
    environments.function("notifier-queued")
    environments.aws("lambda").create_event_source_mapping(
        EventSourceArn=arn,
        FunctionName="notifier-queued",
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    wanted = sorted((bucket, key) for key in KEYS)
    tries = len(bad) * 3
    receiver.wait_until(
        lambda one: len(one.taken) >= len(wanted) and len(one.refused) >= tries, "all are tried, the bad ones thrice"
    )
    dead = []
    deadline = time.monotonic() + 60
    while len(dead) < len(bad) and time.monotonic() < deadline:
        found = sqs.receive_message(QueueUrl=dead_url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
        for one in found.get("Messages", []):
            dead.append(json.loads(one["Body"])["Records"][0]["s3"]["object"]["key"])
    assert sorted(dead) == [key.replace(" ", "+") for key in bad], dead
    # Had a good message come back, its notice would have come twice.
    assert sorted(receiver.taken) == wanted, receiver.taken
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == left["ApproximateNumberOfMessagesNotVisible"] == "0", left


def a_secret_from_secrets_manager_is_changed_while_it_runs_and_never_logged(environments):
    receiver = environments.receiver
    manager = environments.aws("secretsmanager")
    manager.create_secret(Name="notices", SecretString=SECRET)
    settings = environments.settings(**environments.managed("notices"), SLUICEGATE_LOG_LEVEL="trace")
    api = RuntimeApi()
    try:
        with Bootstrap(environments.bootstrap, api.address, "notifier", settings) as bootstrap:
            failed, answer = api.invoke(fixture("put"))
            assert not failed and receiver.unauthorized == 0, answer
            manager.put_secret_value(SecretId="notices", SecretString=NEXT_SECRET)
            receiver.secrets = [NEXT_SECRET]
            failed, answer = api.invoke(fixture("put"))
            assert not failed and receiver.unauthorized == 1 and len(receiver.taken) == 2, answer
            # Not the server's secret any more: it fails, and says so.
            receiver.secrets = ["whsec_c29tZSBvdGhlciBzZWNyZXQgYWx0b2dldGhlcg=="]
            failed, answer = api.invoke(fixture("put"))
            assert failed and "401" in answer["errorMessage"], answer
            logged = bootstrap.logged()
    finally:
        api.close()
        receiver.secrets = [SECRET]
    assert "the secret has changed" in logged
    for secret in (SECRET, NEXT_SECRET):
        assert secret not in logged and secret.removeprefix("whsec_") not in logged
    started = logged.index("ready to relay notices")
    later = [line for line in logged[started:].splitlines()[1:] if '"target":"notifier_lambda' in line]
    assert later and all('"request_id":"8476a536' in line for line in later), later


TESTS = [
    start_up_is_measured,
    cargo_lambda_runs_the_packaged_bootstrap,
    a_real_bucket_notification_reaches_the_server_through_ministack,
    only_failed_messages_come_back_from_an_event_source_mapping_in_ministack,
    a_secret_from_secrets_manager_is_changed_while_it_runs_and_never_logged,
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--cargo-lambda", required=True)
    parser.add_argument("--ministack", required=True)
    parser.add_argument("only", nargs="*")
    options = parser.parse_args()
    environments = Environments(options)
    failed = 0
    for test in TESTS:
        if options.only and test.__name__ not in options.only:
            continue
        environments.receiver.forget()
        started = time.monotonic()
        try:
            test(environments)
            word = "ok"
        except Exception:
            traceback.print_exc()
            failed += 1
            word = "FAILED"
        print(f"{word:<6} {test.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
