mock_provider "aws" {
  source = "./tests/mocks"
}

variables { name = "test" }

run "a_bucket_is_closed_encrypted_and_cleans_up_after_uploads" {
  command = plan
  module { source = "./modules/storage" }

  assert {
    condition     = aws_s3_bucket.this[0].bucket == "test-events-111122223333-eu-central-1" && !aws_s3_bucket.this[0].force_destroy
    error_message = "the bucket's name or its protection is not what the README says"
  }
  assert {
    condition     = aws_s3_bucket_public_access_block.this[0].block_public_acls && aws_s3_bucket_public_access_block.this[0].block_public_policy && aws_s3_bucket_public_access_block.this[0].ignore_public_acls && aws_s3_bucket_public_access_block.this[0].restrict_public_buckets
    error_message = "the bucket is open"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "the bucket is not encrypted"
  }
  assert {
    condition     = one(aws_s3_bucket_versioning.this[0].versioning_configuration).status == "Enabled"
    error_message = "versioning is not on by default"
  }
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this[0].rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 7
    error_message = "abandoned uploads stay"
  }
  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this[0].rule) == 2
    error_message = "objects expire or move without being told to"
  }
}

run "the_policy_denies_what_would_lose_or_double_events" {
  command = plan
  module { source = "./modules/storage" }
  variables { delete_principals = ["arn:aws:iam::111122223333:role/cleaner"] }

  assert {
    condition     = data.aws_iam_policy_document.bucket[0].statement[0].effect == "Deny" && one(data.aws_iam_policy_document.bucket[0].statement[0].condition).variable == "aws:SecureTransport"
    error_message = "plain http is let in"
  }
  assert {
    condition = data.aws_iam_policy_document.bucket[0].statement[1].actions == toset(["s3:PutObject"]) && alltrue([
      for condition in data.aws_iam_policy_document.bucket[0].statement[1].condition :
      condition.variable == "s3:if-none-match" ? condition.test == "Null" && condition.values == tolist(["true"]) :
      condition.variable == "s3:ObjectCreationOperation" && condition.test == "Bool" && condition.values == tolist(["true"])
    ]) && length(data.aws_iam_policy_document.bucket[0].statement[1].condition) == 2
    error_message = "a put without If-None-Match is let in, or the parts of an upload are not"
  }
  assert {
    condition     = data.aws_iam_policy_document.bucket[0].statement[1].resources == toset(["arn:aws:s3:::${aws_s3_bucket.this[0].id}/events/*"])
    error_message = "the rule reaches beyond the agents' prefix"
  }
  assert {
    condition     = contains(data.aws_iam_policy_document.bucket[0].statement[2].actions, "s3:DeleteObject") && one(data.aws_iam_policy_document.bucket[0].statement[2].condition).test == "ArnNotLike"
    error_message = "deletions are let in"
  }
  override_resource {
    target          = aws_s3_bucket.this
    override_during = plan
    values          = { id = "test-events" }
  }
}

run "a_prefix_that_others_write_to_is_not_guarded" {
  command = plan
  module { source = "./modules/storage" }
  variables { agent_owns_prefix = false }

  assert {
    condition     = length(data.aws_iam_policy_document.bucket[0].statement) == 1
    error_message = "others cannot write or delete"
  }
  override_resource {
    target          = aws_s3_bucket.this
    override_during = plan
    values          = { id = "test-events" }
  }
}

run "a_key_expiry_and_a_storage_class_are_taken" {
  command = plan
  module { source = "./modules/storage" }
  variables {
    kms_key_arn   = "arn:aws:kms:eu-central-1:111122223333:key/1"
    expire_days   = 8
    storage_class = { class = "STANDARD_IA", after_days = 30 }
    versioning    = "Disabled"
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms" && one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).bucket_key_enabled
    error_message = "the key is not used"
  }
  assert {
    condition     = length(aws_s3_bucket_versioning.this) == 0 && length(aws_s3_bucket_lifecycle_configuration.this[0].rule) == 3
    error_message = "versioning or lifecycle is not as asked"
  }
  assert {
    condition     = alltrue([for rule in slice(aws_s3_bucket_lifecycle_configuration.this[0].rule, 1, 3) : rule.filter[0].prefix == "events/"])
    error_message = "an expiry or a move reaches beyond the events"
  }
}

run "a_bucket_that_exists_is_never_touched" {
  command = plan
  module { source = "./modules/storage" }
  variables {
    create_bucket = false
    bucket_name   = "theirs"
  }

  assert {
    condition     = length(aws_s3_bucket.this) + length(aws_s3_bucket_policy.this) + length(aws_s3_bucket_lifecycle_configuration.this) + length(aws_s3_bucket_versioning.this) + length(aws_s3_bucket_public_access_block.this) + length(aws_s3_bucket_server_side_encryption_configuration.this) + length(aws_s3_bucket_ownership_controls.this) == 0
    error_message = "something of a foreign bucket would be changed"
  }
  assert {
    condition     = output.bucket == { name = "theirs", arn = "arn:aws:s3:::theirs", made = false }
    error_message = "the bucket is not named"
  }
}

run "a_foreign_bucket_has_a_name" {
  command = plan
  module { source = "./modules/storage" }
  variables { create_bucket = false }
  expect_failures = [var.create_bucket]
}

run "a_bucket_name_is_one" {
  command = plan
  module { source = "./modules/storage" }
  variables { bucket_name = "My_Bucket" }
  expect_failures = [var.bucket_name]
}

run "a_prefix_ends_with_a_slash" {
  command = plan
  module { source = "./modules/storage" }
  variables { prefix = "events" }
  expect_failures = [var.prefix]
}

run "an_empty_prefix_is_refused" {
  command = plan
  module { source = "./modules/storage" }
  variables { prefix = "" }
  expect_failures = [var.prefix]
}

run "claims_lie_outside_of_what_is_notified" {
  command = plan
  module { source = "./modules/storage" }
  variables { control_prefix = "events/claims/" }
  expect_failures = [var.control_prefix]
}

run "who_may_delete_is_an_arn" {
  command = plan
  module { source = "./modules/storage" }
  variables { delete_principals = ["alice"] }
  expect_failures = [var.delete_principals]
}

run "a_key_is_an_arn" {
  command = plan
  module { source = "./modules/storage" }
  variables { kms_key_arn = "alias/mine" }
  expect_failures = [var.kms_key_arn]
}

run "versioning_is_one_of_three" {
  command = plan
  module { source = "./modules/storage" }
  variables { versioning = "on" }
  expect_failures = [var.versioning]
}

run "the_retry_horizon_is_whole_days" {
  command = plan
  module { source = "./modules/storage" }
  variables { retry_horizon_days = 0.5 }
  expect_failures = [var.retry_horizon_days]
}

run "nothing_expires_within_the_retry_horizon" {
  command = plan
  module { source = "./modules/storage" }
  variables { expire_days = 7 }
  expect_failures = [var.expire_days]
}

run "old_versions_live_a_day" {
  command = plan
  module { source = "./modules/storage" }
  variables { noncurrent_days = 0 }
  expect_failures = [var.noncurrent_days]
}

run "uploads_live_a_day" {
  command = plan
  module { source = "./modules/storage" }
  variables { abort_multipart_days = 0 }
  expect_failures = [var.abort_multipart_days]
}

run "a_storage_class_can_be_read_at_once" {
  command = plan
  module { source = "./modules/storage" }
  variables { storage_class = { class = "DEEP_ARCHIVE", after_days = 30 } }
  expect_failures = [var.storage_class]
}

run "infrequent_access_begins_after_30_days" {
  command = plan
  module { source = "./modules/storage" }
  variables { storage_class = { class = "STANDARD_IA", after_days = 1 } }
  expect_failures = [var.storage_class]
}
