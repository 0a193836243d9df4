//! `cargo xtask package`: what is deployed, under its installed names, in `dist/`.
//!
//! ```text
//! dist/ARCH/sluicegate-agent
//! dist/ARCH/sluicegate-server
//! dist/ARCH/sluicegate-notifier.zip   bootstrap, as Lambda's provided.al2023 takes it
//! dist/ARCH/SHA256SUMS
//! ```

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};

use crate::workspace::{cargo, root, target};

#[derive(Args)]
pub(crate) struct PackageArgs {
    /// Architecture of the programs; another one than this machine's needs `cargo zigbuild`
    #[arg(long, value_enum, default_value_t = Arch::host())]
    arch: Arch,
}

/// As Lambda calls them.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Arm64,
}

/// Program, and its name as installed.
const PROGRAMS: [(&str, &str); 2] =
    [("ingest-agent", "sluicegate-agent"), ("downstream-server", "sluicegate-server")];

/// The oldest C library that programs are to run with: that of Amazon Linux 2023.
const GLIBC: (u32, u32) = (2, 34);

/// The zip's bytes depend on the program alone, so that an unchanged function is not deployed again.
const ZIP: &str = r#"
import sys, zipfile
entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
entry.external_attr, entry.compress_type = 0o100755 << 16, zipfile.ZIP_DEFLATED
with zipfile.ZipFile(sys.argv[2], "w") as zip:
    zip.writestr(entry, open(sys.argv[1], "rb").read(), compresslevel=9)
"#;

pub(crate) fn run(args: &PackageArgs) -> anyhow::Result<ExitCode> {
    let mut build = if args.arch == Arch::host() {
        cargo(&["build", "--release"])
    } else {
        cargo(&[
            "zigbuild",
            "--release",
            "--target",
            &format!("{}.{}.{}", args.arch.triple(), GLIBC.0, GLIBC.1),
        ])
    };
    build.args(["--locked", "-p", "ingest-agent", "-p", "downstream-server", "-p", "notifier-lambda"]);
    ensure!(build.status().context("starting cargo")?.success(), "building the programs failed");

    let built =
        if args.arch == Arch::host() { target() } else { target().join(args.arch.triple()) }.join("release");
    let dist = root().join("dist").join(args.arch.name());
    fs::create_dir_all(&dist).with_context(|| format!("making {}", dist.display()))?;
    for (program, installed) in PROGRAMS {
        runs_on_amazon_linux(&built.join(program))?;
        fs::copy(built.join(program), dist.join(installed)).with_context(|| format!("copying {program}"))?;
    }
    let notifier = built.join("notifier-lambda");
    runs_on_amazon_linux(&notifier)?;
    let mut zip = Command::new("python3");
    zip.args(["-c", ZIP]).arg(&notifier).arg(dist.join("sluicegate-notifier.zip"));
    ensure!(zip.status().context("starting python3")?.success(), "packing the notifier failed");

    let mut sums = Command::new("sha256sum");
    sums.current_dir(&dist).args(["sluicegate-agent", "sluicegate-server", "sluicegate-notifier.zip"]);
    let sums = sums.output().context("starting sha256sum")?;
    ensure!(sums.status.success(), "sha256sum failed");
    fs::write(dist.join("SHA256SUMS"), &sums.stdout)?;
    print!("{}{}", String::from_utf8_lossy(&sums.stdout), format_args!("packaged in {}\n", dist.display()));
    Ok(ExitCode::SUCCESS)
}

/// Refuses a program that names a newer version of the C library than instances and Lambda have.
fn runs_on_amazon_linux(program: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    if let Some((major, minor)) = newest_glibc(&bytes).filter(|version| *version > GLIBC) {
        anyhow::bail!(
            "{} asks for glibc {major}.{minor}, and Amazon Linux 2023 has {}.{}: build it where the library is older",
            program.display(),
            GLIBC.0,
            GLIBC.1
        );
    }
    Ok(())
}

/// The newest `GLIBC_x.y` that stands in a program: the versions of symbols are plain text in it.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"\0GLIBC_";
    program
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .filter_map(|(at, _)| {
            let version = &program[at + MARK.len()..];
            let end = version.iter().position(|byte| *byte == 0)?;
            let mut parts = std::str::from_utf8(&version[..end]).ok()?.split('.');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
        .max()
}

// === impl Arch ===

impl Arch {
    fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_the_c_library_is_found() {
        assert_eq!(newest_glibc(b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"), Some((2, 34)));
        assert_eq!(newest_glibc(b"\x7fELF, linked statically"), None);
    }
}
