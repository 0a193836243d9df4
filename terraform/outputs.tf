output "agent_http_url" {
  description = "Where producers post events."
  value       = module.agent.http_url
}

output "agent_netcat_address" {
  description = "Where producers send lines, as host:port, inside the VPC only; null where a token is asked."
  value       = module.agent.netcat_address
}

output "ingest_token_secret_arn" {
  description = "Where the token of producers lies; never the token itself. Null where nobody is asked."
  value       = module.agent.token_secret_arn
}

output "server_page_url" {
  description = "The page, once `open_page` forwards its port to this machine."
  value       = module.downstream.page_url
}

output "open_page" {
  description = "The command that forwards the page to this machine through Session Manager."
  value = join(" ", [
    "aws ssm start-session --region ${data.aws_region.current.name}",
    "--target \"$(aws ec2 describe-instances --region ${data.aws_region.current.name} --filters Name=tag:Name,Values=${var.name}-server Name=instance-state-name,Values=running --query 'Reservations[0].Instances[0].InstanceId' --output text)\"",
    "--document-name AWS-StartPortForwardingSession --parameters portNumber=${var.ports.server},localPortNumber=${var.ports.server}",
  ])
}

output "try_it" {
  description = "Lines to paste on a machine that `ingest_cidrs` lets in. Where a token is asked, they read it with your credentials."
  value = var.ingest_token_version == null ? join("\n", [
    "curl -d 'hello over http' ${module.agent.http_url}/v1/events",
    "echo 'hello over netcat' | nc -w 1 ${replace(module.agent.netcat_address, ":", " ")}",
    ]) : join("\n", [
    "token=$(aws secretsmanager get-secret-value --region ${data.aws_region.current.name} --secret-id ${module.agent.token_secret_arn} --query SecretString --output text | sed 's/.*://;q')",
    "curl -H \"Authorization: Bearer $token\" -d 'hello over http' ${module.agent.http_url}/v1/events",
  ])
}

output "bucket" {
  description = "The bucket of the events."
  value       = module.storage.bucket.name
}

output "notify_url" {
  description = "Where notices are posted."
  value       = coalesce(var.notify_url, module.downstream.notify_url)
}

output "secret_arn" {
  description = "Where the secret of the notices lies; never the secret itself."
  value       = module.notifier.secret_arn
}

output "failure_queue_url" {
  description = "The queue of what could not be relayed."
  value       = module.notifier.failure_queue.url
}

output "notifier_function" {
  description = "The function."
  value       = module.notifier.function_name
}

output "switch_on_eventbridge" {
  description = "For a bucket that exists already: what makes it send its events to EventBridge, keeping what it notifies now; null for a bucket made here."
  value       = module.notifier.switch_on_eventbridge
}

output "dashboard" {
  description = "The dashboard in CloudWatch."
  value       = module.observability.dashboard
}

output "alarm_topic_arn" {
  description = "The topic that alarms are sent to."
  value       = module.observability.topic_arn
}

output "security_group_ids" {
  description = "Security groups by who is in them."
  value       = module.network.security_group_ids
}

output "agent_config" {
  description = "The agents' configuration."
  value       = module.agent.config
}

output "server_config" {
  description = "The server's configuration."
  value       = module.downstream.config
}

output "slots" {
  description = "Each slot: its fixed address, volume and group."
  value = { for slot in concat(values(module.agent.slots), [module.downstream.slot]) : slot.slot => {
    address           = slot.address
    volume_id         = slot.volume_id
    autoscaling_group = slot.autoscaling_group
  } }
}

output "user_data" {
  description = "The scripts with which instances install themselves, by slot."
  value       = { for slot in concat(values(module.agent.slots), [module.downstream.slot]) : slot.slot => slot.user_data }
}
