mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "test"
  slot              = "server"
  program           = "server"
  config            = "listen = \"0.0.0.0:8090\"\n"
  metrics_url       = "http://127.0.0.1:8090/metrics"
  secret_arn        = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/notify-AbCdEf"
  policy_json       = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
  subnet            = { id = "subnet-1", zone = "eu-central-1a" }
  security_group_id = "sg-1"
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

override_resource {
  target          = aws_ebs_volume.data
  override_during = plan
  values          = { id = "vol-0abc" }
}

override_resource {
  target          = aws_network_interface.fixed
  override_during = plan
  values          = { id = "eni-0def", private_ip = "10.42.0.10" }
}

override_resource {
  target          = aws_iam_instance_profile.this
  override_during = plan
  values          = { arn = "arn:aws:iam::111122223333:instance-profile/sluicegate/test" }
}

override_resource {
  target          = aws_launch_template.this
  override_during = plan
  values          = { id = "lt-0abc", latest_version = 1 }
}

run "an_instance_asks_metadata_by_version_2_and_has_no_way_in" {
  command = plan
  module { source = "./modules/instance" }

  assert {
    condition     = one(aws_launch_template.this.metadata_options).http_tokens == "required" && one(aws_launch_template.this.metadata_options).http_put_response_hop_limit == 1
    error_message = "the first version of the metadata service answers"
  }
  assert {
    condition     = aws_launch_template.this.key_name == null && endswith(aws_iam_role_policy_attachment.ssm.policy_arn, "AmazonSSMManagedInstanceCore")
    error_message = "there is a key by default, or no Session Manager"
  }
  assert {
    condition     = aws_launch_template.this.image_id == "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    error_message = "the image is not the newest Amazon Linux"
  }
  assert {
    condition     = length(base64decode(aws_launch_template.this.user_data)) < 16384
    error_message = "the user data is larger than EC2 takes"
  }
}

run "data_is_encrypted_and_outlives_every_instance" {
  command = plan
  module { source = "./modules/instance" }

  assert {
    condition     = aws_ebs_volume.data.encrypted && aws_ebs_volume.data.availability_zone == "eu-central-1a" && tobool(one(one(aws_launch_template.this.block_device_mappings).ebs).encrypted)
    error_message = "a disk is not encrypted, or stands in another zone than the instance"
  }
  assert {
    condition     = length(aws_launch_template.this.block_device_mappings) == 1
    error_message = "the data volume belongs to the instance, and would go with it"
  }
  assert {
    condition     = aws_autoscaling_group.this.min_size == 1 && aws_autoscaling_group.this.max_size == 1 && one(one(aws_autoscaling_group.this.instance_refresh).preferences).min_healthy_percentage == 0
    error_message = "two instances could want one volume"
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.this.user_data), "SLUICEGATE_VOLUME_ID=vol-0abc") && strcontains(base64decode(aws_launch_template.this.user_data), "SLUICEGATE_INTERFACE_ID=eni-0def")
    error_message = "a replacement does not know its volume and address"
  }
}

run "a_group_that_somebody_else_refreshes_replaces_nothing_by_itself" {
  command = plan
  module { source = "./modules/instance" }
  variables { refresh = false }

  assert {
    condition     = length(aws_autoscaling_group.this.instance_refresh) == 0 && output.launch_template_version == 1
    error_message = "a new program replaces the instance beside the others, or nobody can tell that it is new"
  }
}

run "programs_come_with_their_checksums_and_no_secret_comes_at_all" {
  command = plan
  module { source = "./modules/instance" }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.this.user_data), "fetch 'sluicegate-server' 'b/sluicegate-server' 'bb'") && !strcontains(base64decode(aws_launch_template.this.user_data), "fetch 'sluicegate-agent'")
    error_message = "a program comes without its checksum, or a wrong one comes"
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.this.user_data), "SLUICEGATE_SECRET_ID=arn:aws:secretsmanager:")
    error_message = "the server does not know where its secret lies"
  }
}

run "an_image_of_your_own_is_taken" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    ami_id   = "ami-0123456789abcdef0"
    key_name = "mine"
  }

  assert {
    condition     = aws_launch_template.this.image_id == "ami-0123456789abcdef0" && aws_launch_template.this.key_name == "mine"
    error_message = "the image or the key is not taken"
  }
}

run "a_program_is_one_of_two" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    program = "notifier"
  }
  expect_failures = [var.program]
}

run "an_instance_type_is_one" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    instance_type = "large"
  }
  expect_failures = [var.instance_type]
}

run "an_instance_type_has_the_architecture" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    instance_type = "t3.small"
  }
  expect_failures = [var.instance_type]
}

run "an_architecture_is_one_of_two" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    architecture = "amd64"
  }
  expect_failures = [var.architecture]
}

run "an_image_is_an_id" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    ami_id = "debian"
  }
  expect_failures = [var.ami_id]
}

run "a_volume_has_a_size" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    volume = { size_gb = 1 }
  }
  expect_failures = [var.volume]
}

run "a_volume_has_operations" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    volume = { iops = 100 }
  }
  expect_failures = [var.volume]
}

run "a_volume_has_throughput" {
  command = plan
  module { source = "./modules/instance" }
  variables {
    volume = { throughput_mb_s = 2000 }
  }
  expect_failures = [var.volume]
}
