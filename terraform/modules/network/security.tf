# Who may talk to whom, all of it. DNS, time and instance metadata need no rule in a VPC.

locals {
  # By name, protocol and port; what comes by both protocols has two.
  sources = merge(concat(
    [{ http = { port = var.ports.http, protocol = "tcp" } }],
    var.balancer == "public" || !var.netcat ? [] : [{ netcat = { port = var.ports.netcat, protocol = "tcp" } }],
    [for name, source in var.sources : { for protocol in split("_", source.protocol) :
      source.protocol == "tcp_udp" ? "${name}-${protocol}" : name => { port = source.port, protocol = protocol }
    }],
  )...)
  senders = length(var.ingest_cidrs) > 0 ? var.ingest_cidrs : [local.cidr]
  # What producers connect to: the balancer's ports, or the agents' own.
  front = var.balancer == "public" ? { https = { port = 443, protocol = "tcp" } } : local.sources
  entrances = { for pair in setproduct(keys(local.front), local.senders) : join(" ", pair) => {
    port     = local.front[pair[0]].port
    protocol = local.front[pair[0]].protocol
    range    = pair[1]
  } }
  upstreams = merge([for name, upstream in var.upstreams : { for range in upstream.cidrs : "${name} ${range}" => {
    port  = upstream.port
    range = range
  } }]...)
}

resource "aws_security_group" "agent" {
  #checkov:skip=CKV2_AWS_5: it is attached to instances in another module
  name_prefix = "${var.name}-agent-"
  description = "Agents: events come in, objects go out"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-agent" })
  lifecycle { create_before_destroy = true }
}

resource "aws_security_group" "server" {
  #checkov:skip=CKV2_AWS_5: it is attached to instances in another module
  name_prefix = "${var.name}-server-"
  description = "Downstream server: notices come in, nothing else does"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-server" })
  lifecycle { create_before_destroy = true }
}

resource "aws_security_group" "notifier" {
  #checkov:skip=CKV2_AWS_5: it is attached to a function in another module
  name_prefix = "${var.name}-notifier-"
  description = "Notifier function: nothing comes in"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-notifier" })
  lifecycle { create_before_destroy = true }
}

resource "aws_security_group" "endpoints" {
  name_prefix = "${var.name}-endpoints-"
  description = "Interface endpoints: the VPC asks AWS"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })
  lifecycle { create_before_destroy = true }
}

resource "aws_security_group" "balancer" {
  #checkov:skip=CKV2_AWS_5: it is attached to a load balancer in another module
  count       = var.balancer == "none" ? 0 : 1
  name_prefix = "${var.name}-balancer-"
  description = "Load balancer: producers come in"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-balancer" })
  lifecycle { create_before_destroy = true }
}

resource "aws_vpc_security_group_ingress_rule" "producers" {
  for_each          = local.entrances
  security_group_id = var.balancer == "none" ? aws_security_group.agent.id : aws_security_group.balancer[0].id
  description       = "Producers, ${each.key}"
  ip_protocol       = each.value.protocol
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = strcontains(each.value.range, ":") ? null : each.value.range
  cidr_ipv6         = strcontains(each.value.range, ":") ? each.value.range : null
}

resource "aws_vpc_security_group_ingress_rule" "balancer_to_agent" {
  for_each                     = var.balancer == "none" ? {} : local.sources
  security_group_id            = aws_security_group.agent.id
  description                  = "Load balancer, ${each.key}"
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.balancer[0].id
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_agent" {
  for_each                     = var.balancer == "none" ? {} : local.sources
  security_group_id            = aws_security_group.balancer[0].id
  description                  = "Agents, ${each.key}"
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.agent.id
}

resource "aws_vpc_security_group_ingress_rule" "notices" {
  security_group_id            = aws_security_group.server.id
  description                  = "Notices"
  ip_protocol                  = "tcp"
  from_port                    = var.ports.server
  to_port                      = var.ports.server
  referenced_security_group_id = aws_security_group.notifier.id
}

resource "aws_vpc_security_group_egress_rule" "notices" {
  security_group_id            = aws_security_group.notifier.id
  description                  = "Notices to the server"
  ip_protocol                  = "tcp"
  from_port                    = var.ports.server
  to_port                      = var.ports.server
  referenced_security_group_id = aws_security_group.server.id
}

resource "aws_vpc_security_group_egress_rule" "upstreams" {
  for_each          = local.upstreams
  security_group_id = aws_security_group.agent.id
  description       = "Upstream, ${each.key}"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = strcontains(each.value.range, ":") ? null : each.value.range
  cidr_ipv6         = strcontains(each.value.range, ":") ? each.value.range : null
}

# S3 and the other APIs of AWS have no fixed addresses, so HTTPS may go anywhere that a route leads to.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = { agent = aws_security_group.agent.id, server = aws_security_group.server.id, notifier = aws_security_group.notifier.id }
  security_group_id = each.value
  description       = "HTTPS, for AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "https_ipv6" {
  for_each          = var.ipv6 ? { agent = aws_security_group.agent.id, server = aws_security_group.server.id, notifier = aws_security_group.notifier.id } : {}
  security_group_id = each.value
  description       = "HTTPS, for AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv6         = "::/0"
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from the VPC"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = local.cidr
}
