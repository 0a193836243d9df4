mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name  = "test"
  ports = { http = 8080, netcat = 4444, server = 8090 }
}

run "a_small_network_has_one_zone_and_one_paid_part" {
  command = plan
  module { source = "./modules/network" }

  assert {
    condition     = length(aws_subnet.workload) == 1 && length(aws_subnet.public) == 0 && keys(aws_vpc_endpoint.interface) == ["secretsmanager"] && length(aws_security_group.balancer) == 0
    error_message = "the small network costs more than the one endpoint that docs/cost.md names"
  }
  assert {
    condition     = aws_vpc_endpoint.s3[0].vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.s3[0].service_name == "com.amazonaws.eu-central-1.s3"
    error_message = "S3 is not reached through the gateway endpoint"
  }
  assert {
    condition     = !aws_subnet.workload["eu-central-1a"].map_public_ip_on_launch && aws_vpc.this[0].enable_dns_hostnames
    error_message = "whatever starts in the subnet gets a public address, or endpoints have no names"
  }
}

run "producers_of_the_vpc_reach_both_sources_and_nobody_else_reaches_anything" {
  command = plan
  module { source = "./modules/network" }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.producers : "${rule.from_port}-${rule.to_port} ${rule.cidr_ipv4}"]) == toset(["8080-8080 10.42.0.0/16", "4444-4444 10.42.0.0/16"])
    error_message = "producers get in where they should not, or not where they should"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.notices.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.notices.from_port == 8090 && aws_vpc_security_group_ingress_rule.endpoints.cidr_ipv4 == "10.42.0.0/16"
    error_message = "the server or the endpoints are open to more than the notifier and the VPC"
  }
}

run "a_private_network_has_no_way_out_but_its_endpoints" {
  command = plan
  module { source = "./modules/network" }
  variables {
    private             = true
    zone_count          = 3
    interface_endpoints = ["secretsmanager", "ec2", "ssm", "ssmmessages", "monitoring"]
  }

  assert {
    condition     = length(aws_internet_gateway.this) == 0 && length(aws_route.out) == 0 && length(aws_subnet.workload) == 3 && length(aws_vpc_endpoint.interface) == 5
    error_message = "a private network has a way out, or too few endpoints"
  }
}

run "a_public_balancer_stands_alone_in_public_subnets_and_only_https_comes_in" {
  command = plan
  module { source = "./modules/network" }
  variables {
    private        = true
    public_subnets = true
    balancer       = "public"
    ingest_cidrs   = ["0.0.0.0/0", "::/0"]
  }

  assert {
    condition     = length(aws_internet_gateway.this) == 1 && length(aws_subnet.public) == 1 && length(aws_route.out) == 0
    error_message = "instances have a route to the internet, or the balancer has none"
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.producers : "${rule.from_port} ${coalesce(rule.cidr_ipv4, rule.cidr_ipv6)}"]) == toset(["443 0.0.0.0/0", "443 ::/0"])
    error_message = "more than HTTPS comes in, or an IPv6 range was taken for an IPv4 one"
  }
  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.balancer_to_agent) == ["http"] && keys(aws_vpc_security_group_egress_rule.balancer_to_agent) == ["http"]
    error_message = "netcat, which knows no token, can be reached from the balancer"
  }
}

run "an_internal_balancer_passes_both_sources_on" {
  command = plan
  module { source = "./modules/network" }
  variables { balancer = "internal" }

  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.balancer_to_agent) == ["http", "netcat"] && length(aws_security_group.balancer) == 1
    error_message = "the balancer does not reach both sources"
  }
}

run "further_sources_are_let_in_by_their_protocols_and_upstreams_are_let_out_to" {
  command = plan
  module { source = "./modules/network" }
  variables {
    balancer  = "internal"
    sources   = { syslog = { port = 5514, protocol = "tcp_udp" }, avro = { port = 4141 } }
    upstreams = { rabbitmq = { port = 5671, cidrs = ["10.0.3.0/24", "2001:db8::/64"] } }
  }

  assert {
    condition     = { for name, rule in aws_vpc_security_group_ingress_rule.balancer_to_agent : name => "${rule.ip_protocol} ${rule.from_port}-${rule.to_port}" } == { http = "tcp 8080-8080", netcat = "tcp 4444-4444", avro = "tcp 4141-4141", syslog-tcp = "tcp 5514-5514", syslog-udp = "udp 5514-5514" }
    error_message = "the balancer does not reach each source by its protocol"
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.producers : "${rule.ip_protocol} ${rule.from_port}"]) == toset(["tcp 8080", "tcp 4444", "tcp 4141", "tcp 5514", "udp 5514"])
    error_message = "producers do not reach each source by its protocol"
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.upstreams : "${rule.from_port} ${coalesce(rule.cidr_ipv4, rule.cidr_ipv6)}"]) == toset(["5671 10.0.3.0/24", "5671 2001:db8::/64"])
    error_message = "agents do not reach their upstream, or more than it"
  }
}

run "an_upstream_has_a_range" {
  command = plan
  module { source = "./modules/network" }
  variables { upstreams = { rabbitmq = { port = 5671, cidrs = ["rabbitmq.internal"] } } }
  expect_failures = [var.upstreams]
}

run "netcat_is_closed_where_agents_have_none" {
  command = plan
  module { source = "./modules/network" }
  variables {
    balancer = "internal"
    netcat   = false
  }

  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.balancer_to_agent) == ["http"] && toset([for rule in aws_vpc_security_group_ingress_rule.producers : rule.from_port]) == toset([8080])
    error_message = "the port of netcat is open, and nobody listens"
  }
}

run "ipv6_stands_beside_ipv4" {
  command = plan
  module { source = "./modules/network" }
  variables { ipv6 = true }
  override_resource {
    target          = aws_vpc.this
    override_during = plan
    values          = { ipv6_cidr_block = "2001:db8:1200::/56" }
  }

  assert {
    condition     = aws_vpc.this[0].assign_generated_ipv6_cidr_block && aws_subnet.workload["eu-central-1a"].ipv6_cidr_block == "2001:db8:1200::/64" && length(aws_route.out_ipv6) == 1 && length(aws_vpc_security_group_egress_rule.https_ipv6) == 3
    error_message = "a part of IPv6 is missing"
  }
}

run "a_private_network_goes_out_by_ipv6_but_is_not_come_into" {
  command = plan
  module { source = "./modules/network" }
  variables {
    ipv6    = true
    private = true
  }
  override_resource {
    target          = aws_vpc.this
    override_during = plan
    values          = { ipv6_cidr_block = "2001:db8:1200::/56" }
  }

  assert {
    condition     = length(aws_egress_only_internet_gateway.this) == 1 && length(aws_internet_gateway.this) == 0
    error_message = "IPv6 of a private network is open from outside"
  }
}

run "a_vpc_of_your_own_is_used_as_it_is" {
  command = plan
  module { source = "./modules/network" }
  variables {
    existing_vpc = { id = "vpc-1", cidr = "10.1.0.0/16", subnet_ids = ["subnet-1", "subnet-2"] }
  }

  assert {
    condition     = length(aws_vpc.this) + length(aws_subnet.workload) + length(aws_internet_gateway.this) + length(aws_route_table.workload) + length(aws_vpc_endpoint.s3) == 0
    error_message = "something is made beside the VPC that exists"
  }
  assert {
    condition     = output.vpc_id == "vpc-1" && join(" ", output.subnets[*].id) == "subnet-1 subnet-2" && join(" ", output.subnets[*].zone) == "eu-central-1b eu-central-1b"
    error_message = "the subnets that exist are not used"
  }
}

run "a_vpc_of_your_own_names_subnets" {
  command = plan
  module { source = "./modules/network" }
  variables {
    existing_vpc = { id = "vpc-1", cidr = "10.1.0.0/16", subnet_ids = [] }
  }
  expect_failures = [var.existing_vpc]
}

run "the_range_of_a_vpc_is_a_range" {
  command = plan
  module { source = "./modules/network" }
  variables {
    cidr = "10.42.0.0/30"
  }
  expect_failures = [var.cidr]
}

run "zones_are_one_to_three" {
  command = plan
  module { source = "./modules/network" }
  variables {
    zone_count = 4
  }
  expect_failures = [var.zone_count]
}

run "an_endpoint_is_named_as_a_service" {
  command = plan
  module { source = "./modules/network" }
  variables {
    interface_endpoints = ["Secrets Manager"]
  }
  expect_failures = [var.interface_endpoints]
}

run "producers_are_ranges" {
  command = plan
  module { source = "./modules/network" }
  variables {
    ingest_cidrs = ["10.0.0.300/8"]
  }
  expect_failures = [var.ingest_cidrs]
}

run "a_balancer_is_one_of_three" {
  command = plan
  module { source = "./modules/network" }
  variables {
    balancer = "nlb"
  }
  expect_failures = [var.balancer]
}
