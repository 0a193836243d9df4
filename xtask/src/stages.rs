//! The table of stages, in the order in which they run: what fails fastest comes first.

use std::process::Command;

use crate::images;
use crate::lint;
use crate::stage::{Context, Outcome, Stage};
use crate::terraform;
use crate::tools::{self, Server};
use crate::workspace::{cargo, root, target};
use crate::{inbox, instructions, lambda, openapi, webhooks};

pub(crate) const STAGES: &[Stage] = &[
    Stage { name: "fmt", proves: "the code is formatted", run: fmt },
    Stage {
        name: "lint",
        proves: "workflows, scripts, Dockerfiles, licences and sources are in order",
        run: lint::run,
    },
    Stage { name: "clippy", proves: "the one lint table holds, warnings refused", run: clippy },
    Stage {
        name: "terraform",
        proves: "every module plans as documented, every validation refuses, nothing is insecure",
        run: terraform::modules,
    },
    Stage { name: "unit", proves: "every crate keeps its promises; documents name what exists", run: unit },
    Stage { name: "build", proves: "the programs build as users build them", run: build },
    Stage { name: "e2e", proves: "the real programs as processes: kill -9, memory, examples", run: e2e },
    Stage { name: "sync", proves: "no answer before its sync: the agent under strace", run: sync },
    Stage { name: "disk", proves: "nothing is lost on a full disk: a small one, mounted", run: disk },
    Stage { name: "clock", proves: "nothing is lost while the clock jumps: libfaketime", run: clock },
    Stage { name: "memory", proves: "agent and server in a memory cgroup of 128 MiB", run: memory },
    Stage { name: "readme", proves: "the lines that README says to paste work as they stand", run: readme },
    Stage {
        name: "foreign-s3",
        proves: "the agent and its store against S3 servers that are not ours",
        run: foreign,
    },
    Stage {
        name: "lambda",
        proves: "the packaged notifier in Lambda environments that are not ours",
        run: lambda::run,
    },
    Stage {
        name: "terraform-apply",
        proves: "events through what `terraform apply` made, and through a kill; then destroy",
        run: terraform::apply,
    },
    Stage {
        name: "instances",
        proves: "an instance installs itself, boots and serves; units are sandboxed",
        run: terraform::instances,
    },
    Stage {
        name: "packages",
        proves: "Debian packages install, serve as their units say, and leave, in a fresh Debian",
        run: images::packages,
    },
    Stage {
        name: "images",
        proves: "the images build, hold no secret, start and answer their health check",
        run: images::images,
    },
    Stage {
        name: "inbox",
        proves: "many servers on one PostgreSQL; notices pulled from a real SQS API",
        run: inbox::run,
    },
    Stage {
        name: "webhooks",
        proves: "libraries of Standard Webhooks verify what is signed here, and sign what is taken here",
        run: webhooks::run,
    },
    Stage { name: "openapi", proves: "the server answers as its OpenAPI document says", run: openapi::run },
    Stage { name: "browser", proves: "the page in a real browser", run: browser },
    Stage {
        name: "instructions",
        proves: "no hot part of the agent costs more instructions than its budget",
        run: instructions::run,
    },
    Stage { name: "bench", proves: "the load generators find every id (a short run, no timing)", run: bench },
];

/// `cargo nextest run` where it is installed, `cargo test` elsewhere.
pub(crate) fn test(args: &[&str]) -> Command {
    let nextest = cargo(&["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    let mut command = cargo(if nextest { &["nextest", "run"] } else { &["test"] });
    command.args(args);
    command
}

fn fmt(_: &Context) -> Outcome {
    Outcome::of([cargo(&["fmt", "--all", "--check"])])
}

fn clippy(_: &Context) -> Outcome {
    Outcome::of([cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "foreign-s3,foreign-postgres,foreign-sqs,host",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])])
}

fn unit(_: &Context) -> Outcome {
    Outcome::of([test(&["--workspace", "--exclude", "e2e", "--locked"])])
}

fn build(_: &Context) -> Outcome {
    Outcome::of([cargo(&["build", "--release", "--workspace", "--bins", "--locked"])])
}

fn e2e(_: &Context) -> Outcome {
    Outcome::of([test(&["--release", "--package", "e2e", "--locked", "--", "--skip", "readme::"])])
}

/// The whole-process tests of one module that need more of the machine than others.
fn host(module: &str) -> Outcome {
    Outcome::of([test(&["--release", "--package", "e2e", "--features", "host", "--locked", module])])
}

fn sync(context: &Context) -> Outcome {
    for (program, package) in [("strace", "strace"), ("setpriv", "util-linux")] {
        if let Err(why) = tools::debian(context, program, &[package]) {
            return Outcome::NotRun(why);
        }
    }
    host("sync::")
}

fn disk(_: &Context) -> Outcome {
    if let Err(why) = tools::may("mount -t tmpfs -o size=1m tmpfs $DIR && umount $DIR") {
        return Outcome::NotRun(format!("mounting is not allowed, run as root: {why}"));
    }
    host("disk::")
}

fn clock(context: &Context) -> Outcome {
    if let Err(why) = tools::debian(context, "faketime", &["faketime"]) {
        return Outcome::NotRun(why);
    }
    host("clock::")
}

fn memory(_: &Context) -> Outcome {
    let v1 = "mkdir /sys/fs/cgroup/memory/sluicegate-$$ && rmdir /sys/fs/cgroup/memory/sluicegate-$$";
    let v2 = "mkdir /sys/fs/cgroup/sluicegate-$$ && test -e /sys/fs/cgroup/sluicegate-$$/memory.max; \
              found=$?; rmdir /sys/fs/cgroup/sluicegate-$$; exit $found";
    if let Err(why) = tools::may(v1).or_else(|_| tools::may(v2)) {
        return Outcome::NotRun(format!("a memory cgroup cannot be made, run as root: {why}"));
    }
    host("cgroup::")
}

fn readme(context: &Context) -> Outcome {
    for (program, package) in [("nc", "netcat-openbsd"), ("curl", "curl")] {
        if let Err(why) = tools::debian(context, program, &[package]) {
            return Outcome::NotRun(why);
        }
    }
    Outcome::of([test(&["--release", "--package", "e2e", "--locked", "readme::"])])
}

fn foreign(_: &Context) -> Outcome {
    for start in [Server::ministack, Server::moto] {
        let server = match start() {
            Ok(server) => server,
            Err(error) => return Outcome::Failed(format!("starting an S3 server: {error:#}")),
        };
        println!("--- {} at {}", server.name, server.endpoint);
        let mut store = test(&["--package", "blob-store", "--features", "foreign-s3", "--locked", "foreign"]);
        let mut agent =
            test(&["--release", "--package", "e2e", "--features", "foreign-s3", "--locked", "foreign"]);
        for command in [&mut store, &mut agent] {
            command.env("SLUICEGATE_TEST_S3_ENDPOINT", &server.endpoint).envs(server.known.iter().copied());
        }
        let outcome = Outcome::of([store, agent]);
        if !matches!(outcome, Outcome::Passed) {
            return outcome;
        }
    }
    Outcome::Passed
}

fn browser(context: &Context) -> Outcome {
    if let Err(why) = tools::debian(context, "chromium", &["chromium"]) {
        return Outcome::NotRun(why);
    }
    if let Err(why) = tools::debian(context, "npm", &["npm"]) {
        return Outcome::NotRun(why);
    }
    let axe = match tools::npm("axe-core", "4.14.1") {
        Ok(folder) => folder.join("axe.min.js"),
        Err(error) => return Outcome::NotRun(format!("axe-core from npm: {error:#}")),
    };
    let mut script = Command::new("python3");
    let server = target().join("release/downstream-server");
    script.current_dir(root()).arg("downstream-server/tests/browser/page.py").arg("--server").arg(server);
    script.arg("--axe").arg(axe);
    Outcome::of([script])
}

fn bench(_: &Context) -> Outcome {
    Outcome::of([cargo(&["xtask", "bench", "--events", "20000", "--rounds", "1"])])
}
