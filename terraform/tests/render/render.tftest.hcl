# Renders the user data of the minimal example's slots, for packaging/tests/instance.py to run. It is
# no test of its own, and `terraform test` without -test-directory passes it by.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = module.agent.module.slot["agent-0"].aws_ebs_volume.data
  values = { id = "vol-0a0a0a0a" }
}

override_resource {
  target = module.downstream.module.slot.aws_ebs_volume.data
  values = { id = "vol-0b0b0b0b" }
}

override_resource {
  target = module.notifier.aws_secretsmanager_secret.notify
  values = { arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/notify-AbCdEf" }
}

override_resource {
  target = module.agent.aws_secretsmanager_secret.ingest
  values = { arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/ingest-AbCdEf" }
}

override_module {
  target  = module.observability
  outputs = { topic_arn = "", dashboard = "", alarms = [] }
}

run "render" {
  variables {
    dist_dir     = "../dist"
    architecture = "x86_64"
    balancer     = "none"
    # Never written: a mock provider has no Secrets Manager.
    secret               = "long enough to be a secret"
    ingest_token         = "long enough to be a token"
    ingest_token_version = 1
  }
}
