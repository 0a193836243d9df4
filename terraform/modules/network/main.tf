# A VPC with just what the pipeline needs, or your own VPC with the security groups alone.

data "aws_region" "current" {}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394: zone_count takes the first ones by name, and availability_zones pins them
  count = local.make && length(var.availability_zones) == 0 ? 1 : 0
  state = "available"
}

data "aws_subnet" "existing" {
  for_each = var.existing_vpc == null ? toset([]) : toset(var.existing_vpc.subnet_ids)
  id       = each.value
}

locals {
  make = var.existing_vpc == null
  zones = local.make ? (
    length(var.availability_zones) > 0 ? var.availability_zones : slice(data.aws_availability_zones.available[0].names, 0, var.zone_count)
  ) : []
  # Private subnets take the first half of the range, public ones the second.
  workload = { for index, zone in local.zones : zone => index }
  public   = var.private && var.public_subnets ? local.workload : {}

  vpc_id = local.make ? aws_vpc.this[0].id : var.existing_vpc.id
  cidr   = local.make ? var.cidr : var.existing_vpc.cidr
  subnets = local.make ? [
    for zone in local.zones : { id = aws_subnet.workload[zone].id, zone = zone }
    ] : [
    for id in var.existing_vpc.subnet_ids : { id = id, zone = data.aws_subnet.existing[id].availability_zone }
  ]
  internet = local.make && (!var.private || var.public_subnets)
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11: flow logs cost more than the rest of a small pipeline; switch them on for your account
  count                            = local.make ? 1 : 0
  cidr_block                       = var.cidr
  enable_dns_support               = true
  enable_dns_hostnames             = true
  assign_generated_ipv6_cidr_block = var.ipv6
  tags                             = merge(var.tags, { Name = var.name })
}

# The group that AWS makes with a VPC lets its members talk; ours are named below, so it allows nothing.
resource "aws_default_security_group" "this" {
  count  = local.make ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = "${var.name}-default-unused" })
}

resource "aws_subnet" "workload" {
  for_each          = local.workload
  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr, 4, each.value)
  ipv6_cidr_block   = var.ipv6 ? cidrsubnet(aws_vpc.this[0].ipv6_cidr_block, 8, each.value) : null
  # An address at launch is asked for by the launch template alone, where the instance needs one.
  map_public_ip_on_launch         = false
  assign_ipv6_address_on_creation = var.ipv6
  tags                            = merge(var.tags, { Name = "${var.name}-${var.private ? "private" : "public"}-${each.key}" })
}

resource "aws_subnet" "public" {
  for_each          = local.public
  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.cidr, 4, 8 + each.value)
  ipv6_cidr_block   = var.ipv6 ? cidrsubnet(aws_vpc.this[0].ipv6_cidr_block, 8, 8 + each.value) : null
  tags              = merge(var.tags, { Name = "${var.name}-balancer-${each.key}" })
}

resource "aws_internet_gateway" "this" {
  count  = local.internet ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = var.name })
}

resource "aws_egress_only_internet_gateway" "this" {
  count  = local.make && var.private && var.ipv6 ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = var.name })
}

resource "aws_route_table" "workload" {
  count  = local.make ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = "${var.name}-workload" })
}

resource "aws_route_table_association" "workload" {
  for_each       = aws_subnet.workload
  subnet_id      = each.value.id
  route_table_id = aws_route_table.workload[0].id
}

resource "aws_route" "out" {
  count                  = local.make && !var.private ? 1 : 0
  route_table_id         = aws_route_table.workload[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route" "out_ipv6" {
  count                       = local.make && var.ipv6 ? 1 : 0
  route_table_id              = aws_route_table.workload[0].id
  destination_ipv6_cidr_block = "::/0"
  gateway_id                  = var.private ? null : aws_internet_gateway.this[0].id
  egress_only_gateway_id      = var.private ? aws_egress_only_internet_gateway.this[0].id : null
}

resource "aws_route_table" "public" {
  count  = length(local.public) > 0 ? 1 : 0
  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = "${var.name}-balancer" })
}

resource "aws_route_table_association" "public" {
  for_each       = aws_subnet.public
  subnet_id      = each.value.id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_route" "public" {
  count                  = length(local.public) > 0 ? 1 : 0
  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route" "public_ipv6" {
  count                       = length(local.public) > 0 && var.ipv6 ? 1 : 0
  route_table_id              = aws_route_table.public[0].id
  destination_ipv6_cidr_block = "::/0"
  gateway_id                  = aws_internet_gateway.this[0].id
}

# Objects and programs go to and from S3 by this, without a public address and free of charge.
resource "aws_vpc_endpoint" "s3" {
  count             = local.make || try(length(var.existing_vpc.route_table_ids) > 0, false) ? 1 : 0
  vpc_id            = local.vpc_id
  service_name      = "com.amazonaws.${data.aws_region.current.name}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = local.make ? [aws_route_table.workload[0].id] : var.existing_vpc.route_table_ids
  tags              = merge(var.tags, { Name = "${var.name}-s3" })
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = var.interface_endpoints
  vpc_id              = local.vpc_id
  service_name        = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = local.subnets[*].id
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  tags                = merge(var.tags, { Name = "${var.name}-${each.key}" })
}
