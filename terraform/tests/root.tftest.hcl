mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  ingest_token = "a-token-that-nobody-shall-see"
  dist_dir     = "./tests/fixtures/dist"
}

run "the_whole_pipeline_can_be_planned" {
  command = plan

  assert {
    condition     = output.server_page_url == "http://127.0.0.1:8090/" && strcontains(output.open_page, "AWS-StartPortForwardingSession") && strcontains(output.open_page, "sluicegate-server")
    error_message = "nobody is told how to open the page"
  }
  assert {
    condition     = length(aws_s3_object.artifact) == length(local.sources) && alltrue([for object in aws_s3_object.artifact : object.checksum_algorithm == "SHA256" && startswith(object.key, object.source_hash)])
    error_message = "a file goes up without its checksum"
  }
}

run "with_tls_and_token_everybody_may_come_and_is_told_how_to_read_the_token" {
  command = plan
  variables {
    balancer             = "public"
    certificate_arn      = "arn:aws:acm:eu-central-1:111122223333:certificate/1"
    domain_name          = "events.example.com"
    ingest_cidrs         = ["0.0.0.0/0"]
    ingest_token_version = 1
    network              = { zone_count = 2 }
  }
  override_resource {
    target          = module.agent.aws_secretsmanager_secret.ingest
    override_during = plan
    values          = { arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:sluicegate/ingest-AbCdEf" }
  }

  assert {
    condition     = strcontains(output.try_it, "Authorization: Bearer $token\" -d 'hello over http' https://events.example.com/v1/events") && strcontains(output.try_it, "--secret-id arn:aws:secretsmanager:eu-central-1:111122223333:secret:sluicegate/ingest-AbCdEf ")
    error_message = "nobody is told how to say the token"
  }
  assert {
    condition     = !strcontains(output.try_it, "a-token-that") && output.agent_netcat_address == null
    error_message = "the token is shown, or netcat is on where a token is asked"
  }
}

run "graviton_is_the_default_and_x86_is_a_choice" {
  command = plan
  variables { architecture = "x86_64" }

  assert {
    condition     = local.instance.type == "t3.small"
    error_message = "the instances do not have the architecture of the programs"
  }
}

run "a_foreign_bucket_is_heard_through_eventbridge" {
  command = plan
  variables {
    create_bucket = false
    bucket_name   = "theirs"
    delivery      = "eventbridge"
  }

  assert {
    condition     = output.bucket == "theirs" && output.switch_on_eventbridge != null
    error_message = "the foreign bucket is not used"
  }
}

run "a_private_network_has_every_endpoint_that_instances_ask" {
  command = plan
  variables { network = { private = true } }

  assert {
    condition     = toset(local.interface_endpoints) == toset(["secretsmanager", "ec2", "ssm", "ssmmessages", "monitoring"]) && !local.instance.public_address
    error_message = "an instance without a way out lacks an endpoint"
  }
}

run "agents_that_consume_a_queue_reach_it_from_a_private_network" {
  command = plan
  variables {
    network = { private = true }
    agents  = { queues = [{ arn = "arn:aws:sqs:eu-central-1:111122223333:orders" }] }
  }

  assert {
    condition     = contains(local.interface_endpoints, "sqs")
    error_message = "there is no way to the queue"
  }
}

run "somebody_elses_server_can_be_told" {
  command = plan
  variables { notify_url = "https://hooks.example.com/s3" }

  assert {
    condition     = output.notify_url == "https://hooks.example.com/s3"
    error_message = "notices go elsewhere"
  }
}

run "a_name_is_short" {
  command = plan
  variables {
    name = "a-name-that-no-balancer-would-take"
  }
  expect_failures = [var.name]
}

run "missing_programs_name_the_command" {
  command = plan
  variables {
    dist_dir = "./tests/fixtures"
  }
  expect_failures = [var.dist_dir]
}

run "an_architecture_is_one_of_two" {
  command = plan
  variables {
    architecture = "amd64"
  }
  expect_failures = [var.architecture]
}

run "the_whole_internet_is_not_let_in_without_tls_and_token" {
  command = plan
  variables {
    ingest_cidrs         = ["128.0.0.0/1"]
    ingest_token_version = 1
  }
  expect_failures = [var.ingest_cidrs]
}

run "a_token_version_counts_up" {
  command = plan
  variables { ingest_token_version = 1.5 }
  expect_failures = [var.ingest_token_version]
}

run "a_public_balancer_asks_for_a_token" {
  command = plan
  variables {
    balancer        = "public"
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1"
    ingest_cidrs    = ["203.0.113.0/24"]
  }
  expect_failures = [var.ingest_token_version]
}

run "a_balancer_is_one_of_three" {
  command = plan
  variables {
    balancer = "nlb"
  }
  expect_failures = [var.balancer]
}

run "a_public_balancer_has_a_certificate" {
  command = plan
  variables {
    balancer             = "public"
    ingest_token_version = 1
    ingest_cidrs         = ["203.0.113.0/24"]
  }
  expect_failures = [var.certificate_arn]
}

run "ports_are_three" {
  command = plan
  variables {
    ports = { http = 8080, netcat = 8080 }
  }
  expect_failures = [var.ports]
}

run "a_foreign_bucket_asks_for_eventbridge" {
  command = plan
  variables {
    create_bucket = false
    bucket_name   = "theirs"
  }
  expect_failures = [var.create_bucket]
}

run "a_delivery_is_one_of_three" {
  command = plan
  variables {
    delivery = "sns"
  }
  expect_failures = [var.delivery]
}

run "an_endpoint_is_a_url" {
  command = plan
  variables {
    s3_endpoint = "localhost:9000"
  }
  expect_failures = [var.s3_endpoint]
}

run "a_secret_version_counts_up" {
  command = plan
  variables { secret_version = 0 }
  expect_failures = [var.secret_version]
}

run "a_public_balancer_names_its_producers" {
  command = plan
  variables {
    balancer             = "public"
    ingest_token_version = 1
    certificate_arn      = "arn:aws:acm:eu-central-1:111122223333:certificate/1"
  }
  expect_failures = [var.ingest_cidrs]
}
