mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  token             = "a-token-that-nobody-shall-see"
  name              = "test"
  subnets           = [{ id = "subnet-1", zone = "eu-central-1a" }, { id = "subnet-2", zone = "eu-central-1b" }]
  vpc_id            = "vpc-1"
  security_group_id = "sg-1"
  bucket            = { name = "events", arn = "arn:aws:s3:::events" }
  prefix            = "events/"
  control_prefix    = "_sluicegate/"
  ports             = { http = 8080, netcat = 4444 }
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
    address                 = "10.42.0.20"
    volume_id               = "vol-0abc"
    autoscaling_group       = "test-agent-0"
    slot                    = "agent-0"
    config                  = ""
    user_data               = ""
    role_arn                = "arn:aws:iam::111122223333:role/sluicegate/test"
    launch_template_version = 7
  }
}

run "without_a_balancer_producers_use_the_agents_own_address" {
  command = plan
  module { source = "./modules/agent" }

  assert {
    condition     = output.http_url == "http://10.42.0.20:8080" && output.netcat_address == "10.42.0.20:4444" && length(aws_lb.this) == 0
    error_message = "the agent cannot be reached where the outputs say"
  }
}

run "an_agent_puts_and_looks_and_never_deletes" {
  command = plan
  module { source = "./modules/agent" }

  assert {
    condition = toset(flatten(data.aws_iam_policy_document.agent.statement[*].actions)) == toset([
      "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads",
    ])
    error_message = "an agent may do more, or less, than docs/aws.md explains"
  }
  assert {
    condition     = toset(flatten(data.aws_iam_policy_document.agent.statement[*].resources)) == toset(["arn:aws:s3:::events", "arn:aws:s3:::events/events/*", "arn:aws:s3:::events/_sluicegate/*"])
    error_message = "an agent reaches beyond its prefixes"
  }
}

run "nobody_is_asked_for_a_token_inside_unless_one_is_set" {
  command = plan
  module { source = "./modules/agent" }

  assert {
    condition     = !strcontains(output.config, "token") && strcontains(output.config, "[sources.netcat]") && output.token_secret_arn == null
    error_message = "the default configuration asks for a token, or lacks netcat"
  }
}

run "objects_hold_a_json_object_a_line_unless_another_format_is_named" {
  command = plan
  module { source = "./modules/agent" }

  assert {
    condition     = strcontains(output.config, "format = \"ndjson\"\n")
    error_message = "the default is another format"
  }
}

run "objects_have_the_class_and_the_tags_that_were_asked_for" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    storage_class = "INTELLIGENT_TIERING"
    object_tags   = { team = "data", kind = "events" }
  }

  assert {
    condition     = strcontains(output.config, "storage_class = \"INTELLIGENT_TIERING\"\ntags = [\"kind=events\",\"team=data\"]\n")
    error_message = "the agent is not told"
  }
  assert {
    condition     = contains(flatten(data.aws_iam_policy_document.agent.statement[*].actions), "s3:PutObjectTagging")
    error_message = "the agent may not put tags"
  }
}

run "a_storage_class_can_be_read_from_and_a_tag_is_one" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    storage_class = "DEEP_ARCHIVE"
    object_tags   = { "aws:x" = "y" }
  }
  expect_failures = [var.storage_class, var.object_tags]
}

run "agents_are_spread_over_the_zones" {
  command = plan
  module { source = "./modules/agent" }
  variables { number = 3 }

  assert {
    condition     = local.slots == { agent-0 = var.subnets[0], agent-1 = var.subnets[1], agent-2 = var.subnets[0] } && length(output.slots) == 3
    error_message = "agents are not spread"
  }
}

run "several_agents_are_replaced_one_after_the_other" {
  command = plan
  module { source = "./modules/agent" }
  variables { number = 3 }

  assert {
    condition     = local.rolling && terraform_data.roll[0].triggers_replace == { agent-0 = 7, agent-1 = 7, agent-2 = 7 }
    error_message = "all instances go at the same time, or a new template does not replace them"
  }
}

run "one_agent_is_replaced_by_its_own_group" {
  command = plan
  module { source = "./modules/agent" }

  assert {
    condition     = !local.rolling && length(terraform_data.roll) == 0
    error_message = "a single agent needs a script to be replaced"
  }
}

run "agents_are_replaced_at_once_where_that_is_asked_for" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    number      = 3
    replacement = "at_once"
  }

  assert {
    condition     = !local.rolling && length(terraform_data.roll) == 0
    error_message = "a machine without `aws` cannot apply"
  }
}

run "a_replacement_is_one_of_two" {
  command = plan
  module { source = "./modules/agent" }
  variables { replacement = "slow" }
  expect_failures = [var.replacement]
}

run "a_queue_is_consumed_and_its_key_used_and_no_other" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    queues = [
      { arn = "arn:aws:sqs:eu-central-1:111122223333:orders", kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1" },
      { arn = "arn:aws:sqs:eu-central-1:111122223333:clicks" },
    ]
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.agent.statement : statement.sid => [statement.actions, statement.resources] if contains(["Consume", "QueueKeys"], statement.sid) } == {
      Consume = [
        toset(["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]),
        toset(["arn:aws:sqs:eu-central-1:111122223333:orders", "arn:aws:sqs:eu-central-1:111122223333:clicks"]),
      ]
      QueueKeys = [toset(["kms:Decrypt"]), toset(["arn:aws:kms:eu-central-1:111122223333:key/1"])]
    }
    error_message = "the agents may do more, or less, with their queues than docs/aws.md explains"
  }
}

run "a_queue_is_named_by_its_arn" {
  command = plan
  module { source = "./modules/agent" }
  variables { queues = [{ arn = "https://sqs.eu-central-1.amazonaws.com/111122223333/orders" }] }
  expect_failures = [var.queues]
}

run "a_balancer_passes_on_what_further_sources_take" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    balancer = { kind = "internal", subnet_ids = ["subnet-1"], security_group_id = "sg-2" }
    sources  = { syslog = { port = 5514, protocol = "tcp_udp" }, avro = { port = 4141 } }
  }
  override_resource {
    target          = aws_lb.this
    override_during = plan
    values          = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/net/test-agents/1", dns_name = "agents.elb" }
  }
  override_resource {
    target          = aws_lb_target_group.this
    override_during = plan
    values          = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/http/1" }
  }

  assert {
    condition     = toset([for listener in aws_lb_listener.this : "${listener.protocol} ${listener.port}"]) == toset(["TCP 8080", "TCP 4444", "TCP_UDP 5514", "TCP 4141"])
    error_message = "a source behind the balancer is not reached"
  }
  assert {
    condition     = alltrue([for group in aws_lb_target_group.this : one(group.health_check).protocol == "TCP" && one(group.health_check).port == "8080"])
    error_message = "whether an agent takes events is asked where nothing answers TCP"
  }
}

run "a_source_has_a_name_of_its_own" {
  command = plan
  module { source = "./modules/agent" }
  variables { sources = { http = { port = 9999 } } }
  expect_failures = [var.sources]
}

run "a_source_has_a_port_of_its_own" {
  command = plan
  module { source = "./modules/agent" }
  variables { sources = { syslog = { port = 8081 } } }
  expect_failures = [var.sources]
}

run "a_further_source_is_never_public" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    balancer      = { kind = "public", subnet_ids = ["subnet-1"], security_group_id = "sg-2", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1" }
    token_version = 1
    sources       = { syslog = { port = 5514 } }
  }
  expect_failures = [var.sources]
}

run "an_internal_balancer_passes_both_sources_on" {
  command = plan
  module { source = "./modules/agent" }
  variables { balancer = { kind = "internal", subnet_ids = ["subnet-1"], security_group_id = "sg-2" } }
  override_resource {
    target          = aws_lb.this
    override_during = plan
    values          = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/net/test-agents/1", dns_name = "agents.elb" }
  }
  override_resource {
    target          = aws_lb_target_group.this
    override_during = plan
    values          = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/http/1" }
  }

  assert {
    condition     = aws_lb.this[0].internal && toset([for listener in aws_lb_listener.this : "${listener.protocol} ${listener.port}"]) == toset(["TCP 8080", "TCP 4444"])
    error_message = "the balancer faces the internet, or does not pass both sources on"
  }
  assert {
    condition     = output.http_url == "http://agents.elb:8080" && output.netcat_address == "agents.elb:4444"
    error_message = "the outputs do not name the balancer"
  }
}

run "a_public_balancer_ends_tls_asks_for_a_token_and_has_no_netcat" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    balancer = { kind = "public", subnet_ids = ["subnet-1"], security_group_id = "sg-2", domain_name = "events.example.com",
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1" }
    token_version = 1
  }
  override_resource {
    target          = aws_lb.this
    override_during = plan
    values          = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/net/test-agents/1", dns_name = "agents.elb" }
  }
  override_resource {
    target          = aws_lb_target_group.this
    override_during = plan
    values          = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/http/1" }
  }

  assert {
    condition     = keys(aws_lb_listener.this) == ["http"] && aws_lb_listener.this["http"].protocol == "TLS" && aws_lb_listener.this["http"].port == 443
    error_message = "something but TLS faces the internet"
  }
  assert {
    condition     = output.http_url == "https://events.example.com" && output.netcat_address == null
    error_message = "the outputs do not name the public address"
  }
  assert {
    condition     = strcontains(output.config, "token_file = \"/run/sluicegate/agent.secrets\"") && !strcontains(output.config, "netcat") && length(aws_secretsmanager_secret.ingest) == 1
    error_message = "an agent that anybody reaches takes events without a token"
  }
}

run "agents_are_1_to_20" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    number = 0
  }
  expect_failures = [var.number]
}

run "a_balancer_is_one_of_three" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    balancer = { kind = "nlb" }
  }
  expect_failures = [var.balancer]
}

run "a_public_balancer_has_a_certificate" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    balancer      = { kind = "public", subnet_ids = ["subnet-1"], security_group_id = "sg-2" }
    token_version = 1
  }
  expect_failures = [var.balancer]
}

run "a_public_balancer_asks_for_a_token" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    balancer = { kind = "public", subnet_ids = ["subnet-1"], security_group_id = "sg-2", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1" }
  }
  expect_failures = [var.balancer]
}

run "a_token_version_counts_up" {
  command = plan
  module { source = "./modules/agent" }
  variables { token_version = 0 }
  expect_failures = [var.token_version]
}

run "a_token_can_be_brought_back_for_a_while_that_aws_knows" {
  command = plan
  module { source = "./modules/agent" }
  variables { secret_recovery_days = 3 }
  expect_failures = [var.secret_recovery_days]
}

run "a_format_is_one_of_four" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    format = "encoder"
  }
  expect_failures = [var.format]
}

run "a_codec_is_one_of_three" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    codec = "snappy"
  }
  expect_failures = [var.codec]
}

run "a_roll_carries_units" {
  command = plan
  module { source = "./modules/agent" }
  variables {
    roll = { size = "64" }
  }
  expect_failures = [var.roll]
}
