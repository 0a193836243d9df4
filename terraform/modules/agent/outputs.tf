locals {
  first = module.slot["agent-0"].address
  host  = var.balancer.kind == "none" ? local.first : coalesce(var.balancer.domain_name, aws_lb.this[0].dns_name)
}

output "http_url" {
  description = "Where producers post events."
  value       = local.public ? "https://${local.host}" : "http://${local.host}:${var.ports.http}"
}

output "netcat_address" {
  description = "Where producers send lines, as host:port; null where agents ask for a token, which netcat cannot carry."
  value       = local.tokens ? null : "${local.host}:${var.ports.netcat}"
}

output "token_secret_arn" {
  description = "Where the token of producers lies; never the token itself. Null where nobody is asked."
  value       = one(aws_secretsmanager_secret.ingest[*].arn)
}

output "slots" {
  description = "Each agent by its slot: address, volume, group, configuration, user data."
  value       = module.slot
}

output "config" {
  description = "The configuration of every agent."
  value       = local.config
}

output "balancer" {
  description = "The balancer's name, for metrics; null where there is none."
  value       = one(aws_lb.this[*].arn_suffix)
}
