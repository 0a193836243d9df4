mock_provider "aws" {
  source = "./tests/mocks"
}

variables { repository = "acme/pipeline" }

override_resource {
  target          = aws_iam_openid_connect_provider.github
  override_during = plan
  values          = { arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com" }
}

run "only_the_approved_environment_of_this_repository_applies" {
  command = plan
  module { source = "./bootstrap" }

  assert {
    condition = toset([for condition in data.aws_iam_policy_document.trust["apply"].statement[0].condition : "${condition.test} ${condition.variable} ${join(",", condition.values)}"]) == toset([
      "StringEquals token.actions.githubusercontent.com:aud sts.amazonaws.com",
      "StringEquals token.actions.githubusercontent.com:sub repo:acme/pipeline:environment:production",
    ])
    error_message = "another repository, branch or environment may apply"
  }
  assert {
    condition     = contains(flatten([for condition in data.aws_iam_policy_document.trust["plan"].statement[0].condition : condition.values]), "repo:acme/pipeline:pull_request")
    error_message = "another repository may plan"
  }
}

run "the_state_is_closed_and_keeps_its_versions" {
  command = plan
  module { source = "./bootstrap" }

  assert {
    condition     = one(aws_s3_bucket_versioning.state.versioning_configuration).status == "Enabled" && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    error_message = "the state can be lost or read"
  }
}

run "a_name_is_short" {
  command = plan
  module { source = "./bootstrap" }
  variables { name = "X" }
  expect_failures = [var.name]
}

run "a_repository_has_no_wildcard" {
  command = plan
  module { source = "./bootstrap" }
  variables { repository = "acme/*" }
  expect_failures = [var.repository]
}

run "an_environment_has_no_wildcard" {
  command = plan
  module { source = "./bootstrap" }
  variables { environment = "*" }
  expect_failures = [var.environment]
}
