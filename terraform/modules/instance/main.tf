# One slot: an Auto Scaling group of one, with a volume and a network interface that outlive every
# instance. The instance installs itself, fetches both, and goes on where the one before stopped.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  full_name = "${var.name}-${var.slot}"
  tags      = merge(var.tags, { Name = local.full_name })
  ami_arch  = var.architecture == "arm64" ? "arm64" : "x86_64"
  # Resolved at each launch, so that a replacement is patched; an image of your own stays.
  image = coalesce(var.ami_id, "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${local.ami_arch}")
  ec2   = "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  user_data = templatefile("${path.module}/user_data.sh.tftpl", {
    program       = var.program
    name          = var.name
    slot          = var.slot
    region        = data.aws_region.current.name
    volume        = aws_ebs_volume.data.id
    interface     = aws_network_interface.fixed.id
    metrics_url   = var.metrics_url
    secret        = coalesce(var.secret_arn, "-")
    config_base64 = base64gzip(var.config)
    bucket        = var.artifacts.bucket
    files         = { for path in local.needed : path => var.artifacts.files[path] }
  })
  needed = concat(
    ["sluicegate-${var.program}", "install.sh", "systemd/sluicegate-${var.program}.service",
    "aws/volume.sh", "aws/metrics.sh", "aws/sluicegate-metrics.service", "aws/sluicegate-metrics.timer"],
    var.secret_arn == null ? [] : ["aws/secret.sh", "aws/sluicegate-secret.service", "aws/sluicegate-secret.timer"],
  )
}

resource "aws_ebs_volume" "data" {
  #checkov:skip=CKV_AWS_189: volume.kms_key_arn chooses; encrypted it is always
  availability_zone = var.subnet.zone
  size              = var.volume.size_gb
  type              = "gp3"
  iops              = var.volume.iops
  throughput        = var.volume.throughput_mb_s
  encrypted         = true
  kms_key_id        = var.volume.kms_key_arn
  final_snapshot    = var.volume.final_snapshot
  tags              = local.tags
}

# The address that others know. It moves with the slot.
resource "aws_network_interface" "fixed" {
  description     = "Fixed address of ${local.full_name}"
  subnet_id       = var.subnet.id
  security_groups = [var.security_group_id]
  tags            = local.tags
}

resource "aws_launch_template" "this" {
  #checkov:skip=CKV_AWS_88: public_address chooses; the security groups let nothing in from outside
  name_prefix            = "${local.full_name}-"
  image_id               = local.image
  instance_type          = var.instance_type
  key_name               = var.key_name
  ebs_optimized          = true
  update_default_version = true
  user_data              = base64encode(local.user_data)

  iam_instance_profile { arn = aws_iam_instance_profile.this.arn }

  metadata_options {
    http_endpoint = "enabled"
    # Version 2 alone, and out of reach for whatever would run in a container.
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  network_interfaces {
    associate_public_ip_address = var.public_address
    security_groups             = [var.security_group_id]
    delete_on_termination       = true
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      encrypted             = true
      volume_type           = "gp3"
      delete_on_termination = true
    }
  }

  monitoring { enabled = false }

  tag_specifications {
    resource_type = "instance"
    tags          = local.tags
  }
  tag_specifications {
    resource_type = "volume"
    tags          = merge(local.tags, { Name = "${local.full_name}-root" })
  }

  tags = local.tags
}

resource "aws_autoscaling_group" "this" {
  name_prefix         = "${local.full_name}-"
  vpc_zone_identifier = [var.subnet.id]
  # Never two: the volume is one, and what is on it has one owner.
  min_size          = 1
  max_size          = 1
  desired_capacity  = 1
  target_group_arns = var.target_group_arns
  # A full channel is no reason to replace an instance, so the balancer's opinion is not asked.
  health_check_type         = "EC2"
  health_check_grace_period = 120
  wait_for_capacity_timeout = "0"

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  # A new program, configuration or image is a new template, and replaces the instance: first the
  # old one goes, since it holds the volume.
  dynamic "instance_refresh" {
    for_each = var.refresh ? [1] : []
    content {
      strategy = "Rolling"
      preferences {
        min_healthy_percentage = 0
        max_healthy_percentage = 100
      }
    }
  }

  dynamic "tag" {
    for_each = local.tags
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  depends_on = [aws_iam_role_policy.program, aws_iam_role_policy.instance, aws_iam_role_policy_attachment.ssm]
}
