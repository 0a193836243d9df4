# The whole pipeline: agents -> bucket -> notifier -> server, and who watches it.

data "aws_region" "current" {}

locals {
  tags = merge({ Project = "sluicegate", Pipeline = var.name }, var.tags)

  # Without a route to the internet instances need all of these; with one, the function still needs
  # its secret, since it never has a public address.
  interface_endpoints = coalesce(var.network.interface_endpoints, var.network.private ?
  concat(["secretsmanager", "ec2", "ssm", "ssmmessages", "monitoring"], var.server.pull_queue == null && length(var.agents.queues) == 0 ? [] : ["sqs"]) : ["secretsmanager"])

  listen_address = var.network.ipv6 ? "[::]" : "0.0.0.0"
  instance = {
    type           = var.architecture == "arm64" ? "t4g.small" : "t3.small"
    architecture   = var.architecture
    ami_id         = var.ami_id
    key_name       = var.key_name
    public_address = !var.network.private
  }
}

module "network" {
  source = "./modules/network"

  name                = var.name
  existing_vpc        = var.network.existing_vpc
  cidr                = var.network.cidr
  availability_zones  = var.network.availability_zones
  zone_count          = var.network.zone_count
  private             = var.network.private
  public_subnets      = var.balancer == "public"
  ipv6                = var.network.ipv6
  interface_endpoints = local.interface_endpoints
  ingest_cidrs        = var.ingest_cidrs
  balancer            = var.balancer
  netcat              = var.ingest_token_version == null
  sources             = var.agents.sources
  upstreams           = var.agents.upstreams
  ports               = var.ports
  tags                = local.tags
}

module "storage" {
  source = "./modules/storage"

  name                 = var.name
  create_bucket        = var.create_bucket
  bucket_name          = var.bucket_name
  prefix               = var.prefix
  kms_key_arn          = var.kms_key_arn
  versioning           = var.storage.versioning
  retry_horizon_days   = var.storage.retry_horizon_days
  expire_days          = var.storage.expire_days
  noncurrent_days      = var.storage.noncurrent_days
  abort_multipart_days = var.storage.abort_multipart_days
  storage_class        = var.storage.storage_class
  agent_owns_prefix    = var.storage.agent_owns_prefix
  delete_principals    = var.storage.delete_principals
  force_destroy        = var.storage.force_destroy
  tags                 = local.tags
}

module "notifier" {
  source = "./modules/notifier"

  name                 = var.name
  package              = "${var.dist_dir}/${var.architecture}/sluicegate-notifier.zip"
  architecture         = var.architecture
  bucket               = module.storage.bucket
  prefix               = module.storage.prefix
  delivery             = var.delivery
  notify_url           = coalesce(var.notify_url, module.downstream.notify_url)
  secret               = var.secret
  secret_version       = var.secret_version
  secret_recovery_days = var.notifier.secret_recovery_days
  subnet_ids           = module.network.subnets[*].id
  security_group_id    = module.network.security_group_ids.notifier
  memory_mb            = var.notifier.memory_mb
  timeout_s            = var.notifier.timeout_s
  reserved_concurrency = var.notifier.reserved_concurrency
  retries              = var.notifier.retries
  max_event_age_s      = var.notifier.max_event_age_s
  queue                = var.notifier.queue
  log_retention_days   = var.notifier.log_retention_days
  kms_key_arn          = var.kms_key_arn
  environment          = var.notifier.environment
  tags                 = local.tags
}

module "downstream" {
  source = "./modules/downstream"

  name               = var.name
  subnet             = module.network.subnets[0]
  security_group_id  = module.network.security_group_ids.server
  bucket             = module.storage.bucket
  prefix             = module.storage.prefix
  kms_key_arn        = var.kms_key_arn
  secret_arn         = module.notifier.secret_arn
  secret_kms_key_arn = var.kms_key_arn
  port               = var.ports.server
  listen_address     = local.listen_address
  handler            = var.server.handler
  pull_queue         = var.server.pull_queue
  s3_endpoint        = var.s3_endpoint
  extra_config       = var.server.extra_config
  instance           = merge(local.instance, { volume = var.server.volume }, var.server.type == null ? {} : { type = var.server.type })
  artifacts          = local.artifacts
  tags               = local.tags
}

module "agent" {
  source = "./modules/agent"

  name              = var.name
  number            = var.agents.number
  replacement       = var.agents.replacement
  sources           = var.agents.sources
  queues            = var.agents.queues
  subnets           = module.network.subnets
  vpc_id            = module.network.vpc_id
  security_group_id = module.network.security_group_ids.agent
  balancer = {
    kind              = var.balancer
    subnet_ids        = module.network.balancer_subnet_ids
    security_group_id = module.network.security_group_ids.balancer
    certificate_arn   = var.certificate_arn
    domain_name       = var.domain_name
    ipv6              = var.network.ipv6
  }
  token                = var.ingest_token
  token_version        = var.ingest_token_version
  secret_recovery_days = var.notifier.secret_recovery_days

  bucket         = module.storage.bucket
  prefix         = module.storage.prefix
  control_prefix = module.storage.control_prefix
  kms_key_arn    = var.kms_key_arn
  ports          = var.ports
  listen_address = local.listen_address
  partition      = var.agents.partition
  format         = var.agents.format
  codec          = var.agents.codec
  storage_class  = var.agents.storage_class
  object_tags    = var.agents.object_tags
  roll           = var.agents.roll
  s3_endpoint    = var.s3_endpoint
  extra_config   = var.agents.extra_config
  instance       = merge(local.instance, { volume = var.agents.volume }, var.agents.type == null ? {} : { type = var.agents.type })
  artifacts      = local.artifacts
  tags           = local.tags
}

module "observability" {
  source = "./modules/observability"

  name             = var.name
  alarm_emails     = var.alarms.emails
  alarm_topic_arns = var.alarms.topic_arns
  kms_key_arn      = var.kms_key_arn
  function_name    = module.notifier.function_name
  log_group        = module.notifier.log_group
  failure_queue    = module.notifier.failure_queue.name
  notice_queue     = try(module.notifier.notice_queue.name, null)
  agent_slots      = [for slot in values(module.agent.slots) : slot.slot]
  server_slot      = module.downstream.slot.slot
  limits           = var.alarms.limits
  tags             = local.tags
}
