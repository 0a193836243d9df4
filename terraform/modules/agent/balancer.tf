# A network load balancer: one address for all agents, one connection stays with one agent.

locals {
  public = var.balancer.kind == "public"
  listeners = var.balancer.kind == "none" ? {} : merge(
    { for name, source in var.sources : name => { port = source.port, protocol = upper(source.protocol), target = source.port } },
    { http = local.public ? { port = 443, protocol = "TLS", target = var.ports.http } : { port = var.ports.http, protocol = "TCP", target = var.ports.http } },
    local.tokens ? {} : { netcat = { port = var.ports.netcat, protocol = "TCP", target = var.ports.netcat } },
  )
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91: access logs of a balancer that only passes bytes on say little; they cost a bucket
  #checkov:skip=CKV_AWS_150: nothing is kept in a balancer, so nothing is lost with it
  count              = var.balancer.kind == "none" ? 0 : 1
  name               = "${var.name}-agents"
  load_balancer_type = "network"
  internal           = !local.public
  subnets            = var.balancer.subnet_ids
  security_groups    = [var.balancer.security_group_id]
  ip_address_type    = var.balancer.ipv6 ? "dualstack" : "ipv4"
  # Else a producer in the zone of an agent that is being replaced would find nobody.
  enable_cross_zone_load_balancing = true
  tags                             = var.tags
}

resource "aws_lb_target_group" "this" {
  for_each             = local.listeners
  name_prefix          = substr(each.key, 0, 6)
  port                 = each.value.target
  protocol             = each.value.protocol == "TLS" ? "TCP" : each.value.protocol
  vpc_id               = var.vpc_id
  deregistration_delay = 30
  health_check {
    # Whatever a source speaks: an agent that takes events over HTTP takes them all.
    protocol            = "TCP"
    port                = var.ports.http
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
  tags = var.tags
  lifecycle { create_before_destroy = true }
}

resource "aws_lb_listener" "this" {
  #checkov:skip=CKV_AWS_2: a network balancer passes TCP on inside, and ends TLS where it is public
  #checkov:skip=CKV_AWS_103: ssl_policy is TLS 1.2 and 1.3 where it is public
  for_each          = local.listeners
  load_balancer_arn = aws_lb.this[0].arn
  port              = each.value.port
  protocol          = each.value.protocol
  certificate_arn   = each.value.protocol == "TLS" ? var.balancer.certificate_arn : null
  ssl_policy        = each.value.protocol == "TLS" ? "ELBSecurityPolicy-TLS13-1-2-2021-06" : null
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }
  tags = var.tags
}
