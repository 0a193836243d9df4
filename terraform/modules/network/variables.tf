variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "existing_vpc" {
  description = "A VPC of your own: its id, its IPv4 range, one or more subnets for everything of ours, and the route tables that get the S3 gateway endpoint (empty: you have one already). `null` makes a VPC."
  type = object({
    id                = string
    cidr              = string
    subnet_ids        = list(string)
    public_subnet_ids = optional(list(string), [])
    route_table_ids   = optional(list(string), [])
  })
  default = null

  validation {
    condition     = var.existing_vpc == null ? true : length(var.existing_vpc.subnet_ids) > 0
    error_message = "existing_vpc.subnet_ids is empty: name at least one subnet."
  }
}

variable "cidr" {
  description = "IPv4 range of the VPC that is made, from /16 to /24."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 24, false)
    error_message = "cidr is not an IPv4 range from /16 to /24, such as 10.42.0.0/16."
  }
}

variable "availability_zones" {
  description = "Zones of the subnets; the first `zone_count` of the region if empty."
  type        = list(string)
  default     = []
}

variable "zone_count" {
  description = "How many zones to use where `availability_zones` is empty."
  type        = number
  default     = 1

  validation {
    condition     = var.zone_count >= 1 && var.zone_count <= 3 && floor(var.zone_count) == var.zone_count
    error_message = "zone_count is not 1, 2 or 3."
  }
}

variable "private" {
  description = "Whether instances stand in private subnets without any route to the internet. Then `interface_endpoints` must be what they need; otherwise they have a public address for what they ask of AWS, and nothing may come in by it."
  type        = bool
  default     = false
}

variable "public_subnets" {
  description = "Whether a private network has public subnets too, for a public load balancer."
  type        = bool
  default     = false
}

variable "ipv6" {
  description = "Whether VPC and subnets have IPv6 beside IPv4."
  type        = bool
  default     = false
}

variable "interface_endpoints" {
  description = "AWS services that are reached through an endpoint in the VPC, each at about $7.30 a month and zone."
  type        = set(string)
  default     = ["secretsmanager"]

  validation {
    condition     = alltrue([for service in var.interface_endpoints : can(regex("^[a-z0-9.-]+$", service))])
    error_message = "interface_endpoints holds a name that is not that of a service, such as secretsmanager or ssm."
  }
}

variable "ingest_cidrs" {
  description = "Who may send events, as IPv4 or IPv6 ranges; the VPC if empty."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for range in var.ingest_cidrs : can(cidrhost(range, 0))])
    error_message = "ingest_cidrs holds what is not a range such as 10.0.0.0/8 or 2001:db8::/32."
  }
}

variable "balancer" {
  description = "Where producers connect: `none` (the agents' own addresses), `internal` or `public`."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "internal", "public"], var.balancer)
    error_message = "balancer is not none, internal or public."
  }
}

variable "ports" {
  description = "TCP ports of the agent's HTTP and netcat sources, and of the server."
  type        = object({ http = number, netcat = number, server = number })
}

variable "sources" {
  description = "Ports of further sources of the agents, by a name for each; see the module `agent`."
  type        = map(object({ port = number, protocol = optional(string, "tcp") }))
  default     = {}
}

variable "upstreams" {
  description = "Where agents fetch events other than from AWS's own services, such as a RabbitMQ: a port and ranges, by a name for each. Nothing else but HTTPS may go out."
  type        = map(object({ port = number, cidrs = list(string) }))
  default     = {}

  validation {
    condition     = alltrue([for upstream in values(var.upstreams) : upstream.port >= 1 && upstream.port <= 65535 && length(upstream.cidrs) > 0 && alltrue([for range in upstream.cidrs : can(cidrhost(range, 0))])])
    error_message = "upstreams holds a port that is none, or no range such as 10.0.3.0/24."
  }
}

variable "netcat" {
  description = "Whether agents have a netcat source, which knows no authentication and is never public."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
