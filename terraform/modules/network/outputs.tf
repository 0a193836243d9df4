output "vpc_id" {
  description = "The VPC."
  value       = local.vpc_id
}

output "cidr" {
  description = "Its IPv4 range."
  value       = local.cidr
}

output "subnets" {
  description = "Subnets of instances and function, each with its zone."
  value       = local.subnets
}

output "balancer_subnet_ids" {
  description = "Subnets of a load balancer: the public ones for a public one, else those of the instances."
  value = var.balancer != "public" ? local.subnets[*].id : (
    local.make ? (var.private ? [for subnet in aws_subnet.public : subnet.id] : local.subnets[*].id) : var.existing_vpc.public_subnet_ids
  )
}

output "security_group_ids" {
  description = "Security groups by who is in them; `balancer` is null where there is none."
  value = {
    agent    = aws_security_group.agent.id
    server   = aws_security_group.server.id
    notifier = aws_security_group.notifier.id
    balancer = one(aws_security_group.balancer[*].id)
  }
}
