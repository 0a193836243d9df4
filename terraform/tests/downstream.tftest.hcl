mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "test"
  subnet            = { id = "subnet-1", zone = "eu-central-1a" }
  security_group_id = "sg-1"
  bucket            = { name = "events", arn = "arn:aws:s3:::events" }
  prefix            = "events/"
  secret_arn        = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/notify-AbCdEf"
  artifacts = {
    bucket = "artifacts"
    arn    = "arn:aws:s3:::artifacts"
    files = {
      "sluicegate-agent"                  = { key = "a/sluicegate-agent", sha256 = "aa" }
      "sluicegate-server"                 = { key = "b/sluicegate-server", sha256 = "bb" }
      "install.sh"                        = { key = "c/install.sh", sha256 = "cc" }
      "systemd/sluicegate-agent.service"  = { key = "d/systemd/sluicegate-agent.service", sha256 = "dd" }
      "systemd/sluicegate-server.service" = { key = "e/systemd/sluicegate-server.service", sha256 = "ee" }
      "aws/volume.sh"                     = { key = "f/aws/volume.sh", sha256 = "ff" }
      "aws/metrics.sh"                    = { key = "g/aws/metrics.sh", sha256 = "a1" }
      "aws/sluicegate-metrics.service"    = { key = "h/aws/sluicegate-metrics.service", sha256 = "a2" }
      "aws/sluicegate-metrics.timer"      = { key = "i/aws/sluicegate-metrics.timer", sha256 = "a3" }
      "aws/secret.sh"                     = { key = "j/aws/secret.sh", sha256 = "a4" }
      "aws/sluicegate-secret.service"     = { key = "k/aws/sluicegate-secret.service", sha256 = "a5" }
      "aws/sluicegate-secret.timer"       = { key = "l/aws/sluicegate-secret.timer", sha256 = "a6" }
    }
  }
}

override_module {
  target = module.slot
  outputs = {
    address           = "10.42.0.10"
    volume_id         = "vol-0abc"
    autoscaling_group = "test-server"
    slot              = "server"
    config            = ""
    user_data         = ""
    role_arn          = "arn:aws:iam::111122223333:role/sluicegate/test"
  }
}

run "the_notifier_knows_the_server_by_its_fixed_address" {
  command = plan
  module { source = "./modules/downstream" }

  assert {
    condition     = output.notify_url == "http://10.42.0.10:8090/v1/notices" && output.page_url == "http://127.0.0.1:8090/"
    error_message = "notices go elsewhere"
  }
}

run "a_server_reads_and_can_neither_write_nor_delete" {
  command = plan
  module { source = "./modules/downstream" }

  assert {
    condition     = toset(flatten(data.aws_iam_policy_document.server.statement[*].actions)) == toset(["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"])
    error_message = "the server may do more, or less, than docs/aws.md explains"
  }
}

run "a_server_lists_below_its_prefix_alone" {
  command = plan
  module { source = "./modules/downstream" }

  assert {
    condition     = [for statement in data.aws_iam_policy_document.server.statement : one(statement.condition).values if contains(statement.actions, "s3:ListBucket")] == [tolist(["events/*"])]
    error_message = "the server may list what is not its own"
  }
  assert {
    condition     = strcontains(output.config, "[reconcile]\nprefixes = [\"events/\"]") && !strcontains(output.config, "[pull]")
    error_message = "the server lists what it may not"
  }
}

run "a_queue_is_pulled_from_and_nothing_else_is_done_to_it" {
  command = plan
  module { source = "./modules/downstream" }
  variables {
    pull_queue = { arn = "arn:aws:sqs:eu-central-1:111122223333:theirs", url = "https://sqs.eu-central-1.amazonaws.com/111122223333/theirs" }
  }

  assert {
    condition     = toset(flatten([for statement in data.aws_iam_policy_document.server.statement : statement.actions if contains(statement.resources, var.pull_queue.arn)])) == toset(["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"])
    error_message = "the server may do more, or less, than docs/aws.md explains"
  }
  assert {
    condition     = strcontains(output.config, "[pull]\nqueue_url = \"https://sqs.eu-central-1.amazonaws.com/111122223333/theirs\"")
    error_message = "the server does not pull"
  }
}

run "a_queue_has_arn_and_url" {
  command = plan
  module { source = "./modules/downstream" }
  variables {
    pull_queue = { arn = "theirs", url = "theirs" }
  }
  expect_failures = [var.pull_queue]
}

run "the_page_answers_on_loopback_and_only_our_bucket_is_taken" {
  command = plan
  module { source = "./modules/downstream" }

  assert {
    condition     = strcontains(output.config, "read_from = \"loopback\"") && strcontains(output.config, "buckets = [\"events\"]") && strcontains(output.config, "secret_file = ")
    error_message = "the server is open, or takes unsigned notices"
  }
}

run "a_handler_of_your_own_stands_alone" {
  command = plan
  module { source = "./modules/downstream" }
  variables {
    handler      = "custom"
    extra_config = "[handler]\nkind = \"command\"\n"
  }

  assert {
    condition     = length(regexall("\\[handler\\]", output.config)) == 1 && strcontains(output.config, "kind = \"command\"")
    error_message = "there are two handlers, or none"
  }
}

run "a_port_needs_no_privilege" {
  command = plan
  module { source = "./modules/downstream" }
  variables {
    port = 80
  }
  expect_failures = [var.port]
}

run "a_handler_is_known" {
  command = plan
  module { source = "./modules/downstream" }
  variables {
    handler = "kafka"
  }
  expect_failures = [var.handler]
}
