# What stands in several modules is validated here too, so that a mistake is named by the name that you wrote.

variable "name" {
  description = "Prefix of every name; two pipelines of one account need two."
  type        = string
  default     = "sluicegate"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name is not 3 to 20 lower-case letters, digits and hyphens: a balancer's name takes no more."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}

# === programs

variable "dist_dir" {
  description = "Folder that `cargo xtask package` fills."
  type        = string

  validation {
    condition = alltrue([for file in ["sluicegate-agent", "sluicegate-server", "sluicegate-notifier.zip"] :
      fileexists("${var.dist_dir}/${var.architecture}/${file}")
    ])
    error_message = "dist_dir lacks the programs of this architecture: run `cargo xtask package` (with `--arch arm64` for Graviton), or set architecture to what you have built."
  }
}

variable "architecture" {
  description = "Architecture of function and instances: arm64 (cheaper) or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture is not arm64 or x86_64."
  }
}

variable "ami_id" {
  description = "Image of your own for the instances; the newest Amazon Linux 2023 if null."
  type        = string
  default     = null
}

variable "key_name" {
  description = "Key pair for SSH. No rule lets SSH in: add yours to `security_group_ids` (output), or use Session Manager, which needs no key."
  type        = string
  default     = null
}

# === network

variable "network" {
  description = "The VPC: `private` puts everything into subnets without a route to the internet, reached through interface endpoints. `existing_vpc` takes yours; see the module `network`."
  type = object({
    cidr               = optional(string, "10.42.0.0/16")
    availability_zones = optional(list(string), [])
    zone_count         = optional(number, 1)
    private            = optional(bool, false)
    ipv6               = optional(bool, false)
    # Null: what the network needs.
    interface_endpoints = optional(set(string))
    existing_vpc = optional(object({
      id                = string
      cidr              = string
      subnet_ids        = list(string)
      public_subnet_ids = optional(list(string), [])
      route_table_ids   = optional(list(string), [])
    }))
  })
  default = {}
}

variable "ingest_cidrs" {
  description = "Who may send events, as ranges; the VPC if empty."
  type        = list(string)
  default     = []

  # What is no range is refused by the module `network`.
  validation {
    condition     = var.balancer == "public" && var.ingest_token_version != null || alltrue([for range in var.ingest_cidrs : try(tonumber(split("/", range)[1]), 32) >= 8])
    error_message = "ingest_cidrs holds a range wider than /8, such as 0.0.0.0/0: that needs balancer = \"public\" (TLS) and ingest_token_version (a token), because else anybody could send, and events would cross the internet in clear. Name the ranges of your producers, or set both."
  }
  validation {
    condition     = var.balancer != "public" || length(var.ingest_cidrs) > 0
    error_message = "ingest_cidrs is empty, and balancer is public: name the ranges of the producers that come in from outside."
  }
}

variable "balancer" {
  description = "Where producers connect: `none` (an agent's own fixed address), `internal` (one address for all agents) or `public` (HTTPS, for the ranges of `ingest_cidrs`)."
  type        = string
  default     = "internal"

  validation {
    condition     = contains(["none", "internal", "public"], var.balancer)
    error_message = "balancer is not none, internal or public."
  }
}

variable "certificate_arn" {
  description = "Certificate (ACM) of a public balancer."
  type        = string
  default     = null

  validation {
    condition     = (var.balancer == "public") == (var.certificate_arn != null)
    error_message = "certificate_arn and balancer = \"public\" go together: events must not cross the internet in clear."
  }
}

variable "ingest_token" {
  description = "What producers say as `Authorization: Bearer`, best the ephemeral `aws_secretsmanager_random_password` as in the README; or several, as lines of NAME:TOKEN. It goes to Secrets Manager alone, when `ingest_token_version` is raised."
  type        = string
  ephemeral   = true
  sensitive   = true
  default     = null
}

variable "ingest_token_version" {
  description = "Raise it by one to write `ingest_token` anew. Null asks no producer for a token; with one, netcat is off, since it cannot carry it."
  type        = number
  default     = null

  validation {
    condition     = var.ingest_token_version == null ? true : var.ingest_token_version >= 1 && floor(var.ingest_token_version) == var.ingest_token_version
    error_message = "ingest_token_version is not a whole number from 1 on."
  }
  validation {
    condition     = var.balancer != "public" || var.ingest_token_version != null
    error_message = "ingest_token_version is null and balancer is public: agents that anybody can reach must ask for a token. Set it to 1, with ingest_token."
  }
}

variable "domain_name" {
  description = "Name that your DNS gives to the balancer, as in its certificate; the balancer's own if null."
  type        = string
  default     = null
}

variable "ports" {
  description = "TCP ports of the agent's HTTP and netcat sources, and of the server."
  type = object({
    http   = optional(number, 8080)
    netcat = optional(number, 4444)
    server = optional(number, 8090)
  })
  default = {}

  validation {
    condition     = alltrue([for port in values(var.ports) : port >= 1024 && port <= 65535]) && length(distinct(values(var.ports))) == 3
    error_message = "ports are not three different ones between 1024 and 65535; the programs run without privileges."
  }
}

# === storage

variable "create_bucket" {
  description = "Whether to make the bucket. Of a bucket that exists already nothing is changed, and its objects are announced through EventBridge."
  type        = bool
  default     = true

  validation {
    condition     = var.create_bucket || (var.bucket_name != null && var.delivery == "eventbridge")
    error_message = "create_bucket is false: then bucket_name names the bucket and delivery is eventbridge, because a notification made here would replace everybody else's."
  }
}

variable "bucket_name" {
  description = "The bucket; a name made of `name`, account and region if null."
  type        = string
  default     = null
}

variable "prefix" {
  description = "What the keys of events begin with."
  type        = string
  default     = "events/"
}

variable "storage" {
  description = "Versioning, life of objects, storage class, and who may delete; see the module `storage`."
  type = object({
    versioning           = optional(string, "Enabled")
    retry_horizon_days   = optional(number, 7)
    expire_days          = optional(number)
    noncurrent_days      = optional(number, 30)
    abort_multipart_days = optional(number, 7)
    storage_class        = optional(object({ class = string, after_days = number }))
    agent_owns_prefix    = optional(bool, true)
    delete_principals    = optional(list(string), [])
    force_destroy        = optional(bool, false)
  })
  default = {}
}

variable "kms_key_arn" {
  description = "KMS key of objects, queues, secret and log; the services' own keys if null. Its policy must let S3, SNS, SQS, Lambda and CloudWatch use it."
  type        = string
  default     = null
}

# === notifier

variable "delivery" {
  description = "How S3 reaches the notifier: `direct`, `sqs` or `eventbridge`."
  type        = string
  default     = "direct"

  validation {
    condition     = contains(["direct", "sqs", "eventbridge"], var.delivery)
    error_message = "delivery is not direct, sqs or eventbridge."
  }
}

variable "notify_url" {
  description = "Where notices are posted; the server made here if null."
  type        = string
  default     = null
}

variable "secret" {
  description = "What notices are signed with: at least 16 bytes, best the ephemeral `aws_secretsmanager_random_password` as in the examples. It goes to Secrets Manager alone, when `secret_version` is raised."
  type        = string
  ephemeral   = true
  sensitive   = true
  default     = null
}

variable "secret_version" {
  description = "Raise it by one to write `secret` anew. Null writes nothing: put a secret there yourself before the first event."
  type        = number
  default     = null

  validation {
    condition     = var.secret_version == null ? true : var.secret_version >= 1 && floor(var.secret_version) == var.secret_version
    error_message = "secret_version is not a whole number from 1 on."
  }
}

variable "notifier" {
  description = "The function's limits; see the module `notifier`."
  type = object({
    memory_mb            = optional(number, 128)
    timeout_s            = optional(number, 60)
    reserved_concurrency = optional(number, -1)
    retries              = optional(number, 2)
    max_event_age_s      = optional(number, 21600)
    log_retention_days   = optional(number, 30)
    secret_recovery_days = optional(number, 7)
    environment          = optional(map(string), {})
    queue = optional(object({
      batch_size  = optional(number, 10)
      max_receive = optional(number, 5)
      concurrency = optional(number, 10)
    }), {})
  })
  default = {}
}

# === instances

variable "agents" {
  description = "The agents: how many, their instances and how these are replaced, ports of further sources, queues and upstreams that sources take from, how objects are laid out and finished; see the modules `agent` and `network`."
  type = object({
    number        = optional(number, 1)
    replacement   = optional(string, "rolling")
    type          = optional(string)
    sources       = optional(map(object({ port = number, protocol = optional(string, "tcp") })), {})
    queues        = optional(list(object({ arn = string, kms_key_arn = optional(string) })), [])
    upstreams     = optional(map(object({ port = number, cidrs = list(string) })), {})
    partition     = optional(string, "dt=%Y-%m-%d")
    format        = optional(string, "ndjson")
    codec         = optional(string, "zstd")
    storage_class = optional(string)
    object_tags   = optional(map(string), {})
    roll          = optional(object({ size = optional(string, "64MiB"), age = optional(string, "5m") }), {})
    extra_config  = optional(string, "")
    volume = optional(object({
      size_gb         = optional(number, 20)
      iops            = optional(number, 3000)
      throughput_mb_s = optional(number, 125)
      kms_key_arn     = optional(string)
      final_snapshot  = optional(bool, false)
    }), {})
  })
  default = {}
}

variable "server" {
  description = "The server: its instance and its handler; see the module `downstream`."
  type = object({
    type         = optional(string)
    handler      = optional(string, "ndjson")
    pull_queue   = optional(object({ arn = string, url = string, kms_key_arn = optional(string) }))
    extra_config = optional(string, "")
    volume = optional(object({
      size_gb         = optional(number, 20)
      iops            = optional(number, 3000)
      throughput_mb_s = optional(number, 125)
      kms_key_arn     = optional(string)
      final_snapshot  = optional(bool, false)
    }), {})
  })
  default = {}
}

variable "s3_endpoint" {
  description = "URL of an S3-compatible store for agent and server instead of AWS, as in tests."
  type        = string
  default     = null

  validation {
    condition     = var.s3_endpoint == null ? true : can(regex("^https?://", var.s3_endpoint))
    error_message = "s3_endpoint is not an http or https URL."
  }
}

# === observability

variable "alarms" {
  description = "Who hears alarms, and when they sound; see the module `observability`."
  type = object({
    emails     = optional(list(string), [])
    topic_arns = optional(list(string), [])
    limits = optional(object({
      unshipped_minutes = optional(number, 15)
      inbox_age_s       = optional(number, 900)
      disk_percent      = optional(number, 80)
    }), {})
  })
  default = {}
}
