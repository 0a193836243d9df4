# What the instance may do; docs/aws.md says why, action by action.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name_prefix        = "${local.full_name}-"
  path               = "/sluicegate/"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = local.tags
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "${local.full_name}-"
  path        = "/sluicegate/"
  role        = aws_iam_role.this.name
  tags        = local.tags
}

# Session Manager instead of SSH.
resource "aws_iam_role_policy_attachment" "ssm" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

data "aws_iam_policy_document" "instance" {
  #checkov:skip=CKV_AWS_356: Describe actions and PutMetricData know no resource to name
  statement {
    sid       = "FetchPrograms"
    actions   = ["s3:GetObject"]
    resources = ["${var.artifacts.arn}/*"]
  }

  statement {
    sid     = "TakeVolumeAndAddress"
    actions = ["ec2:AttachVolume", "ec2:AttachNetworkInterface"]
    resources = [
      "${local.ec2}:volume/${aws_ebs_volume.data.id}",
      "${local.ec2}:network-interface/${aws_network_interface.fixed.id}",
    ]
  }

  # Attaching names the instance too: only instances of this slot.
  statement {
    sid       = "ToThisSlot"
    actions   = ["ec2:AttachVolume", "ec2:AttachNetworkInterface"]
    resources = ["${local.ec2}:instance/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Name"
      values   = [local.full_name]
    }
  }

  statement {
    sid       = "SeeWhetherTheyAreFree"
    actions   = ["ec2:DescribeVolumes", "ec2:DescribeNetworkInterfaces"]
    resources = ["*"]
  }

  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["Sluicegate"]
    }
  }

  dynamic "statement" {
    for_each = var.secret_arn == null ? [] : [var.secret_arn]
    content {
      sid       = "Secret"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "instance" {
  name   = "instance"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.instance.json
}

resource "aws_iam_role_policy" "program" {
  name   = var.program
  role   = aws_iam_role.this.id
  policy = var.policy_json
}
