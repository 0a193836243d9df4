//! The tables of stages, in the order in which they run: what fails fastest comes first.

use std::process::Command;

use crate::built::{self, FEATURES};
use crate::stage::Lane::{Computes, Waits};
use crate::stage::{Context, Outcome, Stage};
use crate::tools::{self, Server};
use crate::workspace::{cargo, root, target};
use crate::{images, inbox, instructions, lambda, lint, openapi, terraform, webhooks};

/// Programs and tests.
const BUILT: &[&str] = &["build", "tests"];

pub(crate) const STAGES: &[Stage] = &[
    Stage { name: "fmt", proves: "the code is formatted", lane: Waits, needs: &[], run: fmt },
    Stage {
        name: "build",
        proves: "the programs build as users build them",
        lane: Computes,
        needs: &["fmt"],
        run: build,
    },
    Stage {
        name: "tests",
        proves: "every test builds, with the features of all",
        lane: Computes,
        needs: &["fmt"],
        run: tests,
    },
    Stage {
        name: "unit",
        proves: "every crate keeps its promises; documents name what exists",
        lane: Computes,
        needs: &["tests"],
        run: |_| built::all_but_processes(),
    },
    Stage {
        name: "clippy",
        proves: "the one lint table holds, warnings refused",
        lane: Computes,
        needs: &["fmt"],
        run: clippy,
    },
    Stage {
        name: "lint",
        proves: "workflows, scripts, Dockerfiles, licences and sources are in order",
        lane: Waits,
        needs: &[],
        run: lint::run,
    },
    Stage {
        name: "terraform",
        proves: "every module plans as documented, every validation refuses, nothing is insecure",
        lane: Waits,
        needs: &[],
        run: terraform::modules,
    },
    Stage {
        name: "openapi",
        proves: "the server answers as its OpenAPI document says",
        lane: Waits,
        needs: &["build"],
        run: openapi::run,
    },
    Stage {
        name: "browser",
        proves: "the page in a real browser",
        lane: Waits,
        needs: &["build"],
        run: browser,
    },
    Stage {
        name: "e2e",
        proves: "the real programs as processes: kill -9, memory, examples",
        lane: Waits,
        needs: BUILT,
        run: e2e,
    },
    Stage {
        name: "sync",
        proves: "no answer before its sync: the agent under strace",
        lane: Waits,
        needs: BUILT,
        run: sync,
    },
    Stage {
        name: "disk",
        proves: "nothing is lost on disks that are full or read-only, or of several: small ones, mounted",
        lane: Waits,
        needs: BUILT,
        run: disk,
    },
    Stage {
        name: "clock",
        proves: "nothing is lost while the clock jumps: libfaketime",
        lane: Waits,
        needs: BUILT,
        run: clock,
    },
    Stage {
        name: "cgroup",
        proves: "agent and server in 128 MiB of memory; nothing is lost without a processor",
        lane: Waits,
        needs: BUILT,
        run: cgroup,
    },
    Stage {
        name: "readme",
        proves: "the lines that README says to paste work as they stand",
        lane: Waits,
        needs: BUILT,
        run: readme,
    },
    Stage {
        name: "foreign-s3",
        proves: "the agent and its store against S3 servers that are not ours",
        lane: Waits,
        needs: BUILT,
        run: foreign,
    },
    Stage {
        name: "inbox",
        proves: "many servers on one PostgreSQL; notices pulled from a real SQS API",
        lane: Waits,
        needs: &["tests"],
        run: inbox::run,
    },
    Stage {
        name: "lambda",
        proves: "the packaged notifier in Lambda environments that are not ours",
        lane: Waits,
        needs: &["build"],
        run: lambda::run,
    },
    Stage {
        name: "terraform-apply",
        proves: "events through what `terraform apply` made, and through a kill; then destroy",
        lane: Waits,
        needs: &["build"],
        run: terraform::apply,
    },
    Stage {
        name: "instances",
        proves: "an instance installs itself, boots and serves; units are sandboxed",
        lane: Waits,
        needs: &["build"],
        run: terraform::instances,
    },
    Stage {
        name: "packages",
        proves: "Debian packages install, serve as their units say, and leave, in a fresh Debian",
        lane: Waits,
        needs: &["build"],
        run: images::packages,
    },
    Stage {
        name: "images",
        proves: "the images build, hold no secret, start and answer their health check",
        lane: Waits,
        needs: &["build"],
        run: images::images,
    },
    Stage {
        name: "webhooks",
        proves: "libraries of Standard Webhooks verify what is signed here, and sign what is taken here",
        lane: Waits,
        needs: &["build"],
        run: webhooks::run,
    },
    Stage {
        name: "instructions",
        proves: "no hot part of the agent costs more instructions than its budget",
        lane: Computes,
        needs: &["build"],
        run: instructions::run,
    },
    Stage {
        name: "bench",
        proves: "the load generators find every id (a short run, no timing)",
        lane: Computes,
        needs: &["build"],
        run: bench,
    },
];

/// What takes minutes each: `cargo xtask test --long`.
pub(crate) const LONG: &[Stage] = &[
    Stage {
        name: "build",
        proves: "the programs build as users build them",
        lane: Waits,
        needs: &[],
        run: build,
    },
    Stage {
        name: "tests",
        proves: "every test builds, with the features of all",
        lane: Waits,
        needs: &[],
        run: tests,
    },
    Stage {
        name: "long-crowds",
        proves: "10,000 idle connections and 50,000 unwanted notices keep nobody out",
        lane: Waits,
        needs: BUILT,
        run: long_crowds,
    },
    Stage {
        name: "long-sync",
        proves: "a sync of 45 seconds holds answers back and breaks nothing",
        lane: Waits,
        needs: BUILT,
        run: long_sync,
    },
    Stage {
        name: "long-frozen",
        proves: "parts that stand still for two minutes go on, and nothing is lost or doubled",
        lane: Waits,
        needs: BUILT,
        run: |_| processes(&["long::frozen::", "--test-threads", "5"]),
    },
    Stage {
        name: "long-fidelity",
        proves: "one event in, one event out: every shape through every source, format, codec and consumer",
        lane: Waits,
        needs: BUILT,
        run: |_| processes(&["long::fidelity::", "--test-threads", "1"]),
    },
    Stage {
        name: "long-steady",
        proves: "ten minutes of mixed load with flat memory",
        lane: Waits,
        needs: BUILT,
        run: |_| processes(&["long::steady::"]),
    },
    Stage {
        name: "long-soak",
        proves: "ten minutes of kills and faults on a machine in every trouble",
        lane: Waits,
        needs: BUILT,
        run: long_soak,
    },
];

fn fmt(_: &Context) -> Outcome {
    Outcome::of([cargo(&["fmt", "--all", "--check"])])
}

fn build(_: &Context) -> Outcome {
    Outcome::of([built::programs()])
}

fn tests(_: &Context) -> Outcome {
    built::tests().map_or_else(Outcome::Failed, |_| Outcome::Passed)
}

fn clippy(_: &Context) -> Outcome {
    let mut clippy = cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--features", FEATURES]);
    clippy.args(["--", "-D", "warnings"]);
    Outcome::of([clippy])
}

/// The tests of whole processes that these filters and arguments name.
fn processes(arguments: &[&str]) -> Outcome {
    built::processes(arguments).map_or_else(Outcome::Failed, |command| Outcome::of([command]))
}

fn e2e(_: &Context) -> Outcome {
    processes(&["--skip", "foreign::", "--skip", "host::", "--skip", "long::", "--skip", "readme::"])
}

fn long_crowds(_: &Context) -> Outcome {
    if let Err(why) = tools::may("ulimit -n 12000") {
        return Outcome::NotRun(format!(
            "12,000 descriptors are not allowed, `ulimit -Hn` says how many: {why}"
        ));
    }
    processes(&["long::crowds::", "--test-threads", "1"])
}

fn long_sync(context: &Context) -> Outcome {
    strace(context).map_or_else(Outcome::NotRun, |()| processes(&["long::sync::"]))
}

fn long_soak(context: &Context) -> Outcome {
    let found = mounting().and_then(|()| faketime(context)).and_then(|()| control_group("cpu", "cpu.max"));
    found.map_or_else(Outcome::NotRun, |()| processes(&["long::soak::"]))
}

fn sync(context: &Context) -> Outcome {
    strace(context).map_or_else(Outcome::NotRun, |()| processes(&["host::sync::"]))
}

fn disk(_: &Context) -> Outcome {
    mounting().map_or_else(Outcome::NotRun, |()| processes(&["host::disk::", "host::folders::"]))
}

fn clock(context: &Context) -> Outcome {
    faketime(context).map_or_else(Outcome::NotRun, |()| processes(&["host::clock::"]))
}

fn cgroup(_: &Context) -> Outcome {
    let found = control_group("memory", "memory.max").and_then(|()| control_group("cpu", "cpu.max"));
    found.map_or_else(Outcome::NotRun, |()| processes(&["host::cgroup::"]))
}

fn strace(context: &Context) -> Result<(), String> {
    tools::debian(context, "strace", &["strace"])?;
    tools::debian(context, "setpriv", &["util-linux"])
}

fn faketime(context: &Context) -> Result<(), String> {
    tools::debian(context, "faketime", &["faketime"])
}

fn mounting() -> Result<(), String> {
    tools::may("mount -t tmpfs -o size=1m tmpfs $DIR && umount $DIR")
        .map_err(|why| format!("mounting is not allowed, run as root: {why}"))
}

/// Whether a control group can be made that limits this: of version 1, or of version 2 with this file.
fn control_group(controller: &str, file: &str) -> Result<(), String> {
    let own = "sluicegate-$$";
    let v1 = format!("cd /sys/fs/cgroup/{controller} && mkdir {own} && rmdir {own}");
    let v2 = format!(
        "cd /sys/fs/cgroup && mkdir {own} && test -e {own}/{file}; found=$?; rmdir {own}; exit $found"
    );
    let found = tools::may(&v1).or_else(|_| tools::may(&v2));
    found.map_err(|why| format!("a control group of {controller} cannot be made, run as root: {why}"))
}

fn readme(context: &Context) -> Outcome {
    for (program, package) in [("nc", "netcat-openbsd"), ("curl", "curl")] {
        if let Err(why) = tools::debian(context, program, &[package]) {
            return Outcome::NotRun(why);
        }
    }
    processes(&["readme::"])
}

fn foreign(_: &Context) -> Outcome {
    for start in [Server::ministack, Server::moto] {
        let server = match start() {
            Ok(server) => server,
            Err(error) => return Outcome::Failed(format!("starting an S3 server: {error:#}")),
        };
        println!("--- {} at {}", server.name, server.endpoint);
        let commands = built::needy("blob-store").and_then(|mut store| {
            store.push(built::processes(&["foreign::"])?);
            Ok(store)
        });
        let mut commands = match commands {
            Ok(commands) => commands,
            Err(why) => return Outcome::Failed(why),
        };
        for command in &mut commands {
            command.env("SLUICEGATE_TEST_S3_ENDPOINT", &server.endpoint).envs(server.known.iter().copied());
        }
        let outcome = Outcome::of(commands);
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
