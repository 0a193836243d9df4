//! `cargo xtask package`: what is deployed, under its installed names, in `dist/`.
//!
//! ```text
//! dist/ARCH/sluicegate-agent, sluicegate-server, sluicegate-notifier, sluicegate
//! dist/ARCH/sluicegate-notifier.zip   bootstrap, as Lambda's provided.al2023 takes it
//! dist/ARCH/share/                    man pages and completions, laid out as /usr/share is
//! dist/ARCH/*.tar.gz, *.deb           the same in one archive, and as Debian packages
//! dist/ARCH/SHA256SUMS
//! ```
//!
//! The programs are those of the one release profile and target folder, so that what is shipped in
//! packages and images is, byte for byte, what the tests of whole processes ran.

mod deb;
mod glibc;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};

use crate::built;
use crate::workspace::{cargo, git, root, target};

#[derive(Args)]
pub(crate) struct PackageArgs {
    /// Architecture of the programs; another one than this machine's needs cargo-zigbuild
    #[arg(long, value_enum, default_value_t = Arch::host())]
    arch: Arch,
    /// The programs and the Lambda zip alone: no pages, no archive, no Debian packages
    #[arg(long)]
    programs: bool,
}

/// As Lambda calls them.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Arm64,
}

/// Program, and its name as installed.
const PROGRAMS: [(&str, &str); 4] = [
    ("ingest-agent", "sluicegate-agent"),
    ("downstream-server", "sluicegate-server"),
    ("notifier-lambda", "sluicegate-notifier"),
    ("sluicegate", "sluicegate"),
];
/// Those that people start, and that have a command line.
const STARTED_BY_PEOPLE: [&str; 3] = ["sluicegate-agent", "sluicegate-server", "sluicegate"];

const NOTIFIER_ZIP: &str = "sluicegate-notifier.zip";
/// What the zip may have at most. Lambda takes ten times as much; a larger one starts later.
const MAX_ZIP_BYTES: u64 = 5_000_000;
/// The zip's bytes depend on the program alone, so that an unchanged function is not deployed again.
const ZIP: &str = r#"
import sys, zipfile
entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
entry.external_attr, entry.compress_type = 0o100755 << 16, zipfile.ZIP_DEFLATED
with zipfile.ZipFile(sys.argv[2], "w") as zip:
    zip.writestr(entry, open(sys.argv[1], "rb").read(), compresslevel=9)
"#;

pub(crate) fn run(args: &PackageArgs) -> anyhow::Result<ExitCode> {
    let built = build(args.arch)?;
    let dist = root().join("dist").join(args.arch.name());
    // What an earlier build left would be summed up with what is new.
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("emptying {}", dist.display()))?;
    }
    fs::create_dir_all(&dist).with_context(|| format!("making {}", dist.display()))?;
    for (program, installed) in PROGRAMS {
        glibc::runs_on_amazon_linux(&built.join(program))?;
        fs::copy(built.join(program), dist.join(installed)).with_context(|| format!("copying {program}"))?;
    }
    zip(&dist.join("sluicegate-notifier"), &dist.join(NOTIFIER_ZIP))?;
    if !args.programs {
        share(args.arch, &dist)?;
        archive(args.arch, &dist)?;
        deb::packages(args.arch, &dist)?;
    }
    sums(&dist)?;
    println!("packaged in {}", dist.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs; the folder that they are in.
fn build(arch: Arch) -> anyhow::Result<PathBuf> {
    if arch == Arch::host() {
        done(&mut built::programs())?;
    } else {
        can_build_for(arch)?;
        let target = format!("{}.{}.{}", arch.triple(), glibc::OLDEST.0, glibc::OLDEST.1);
        let mut build = cargo(&["zigbuild", "--release", "--target", &target, "--locked"]);
        for (program, _) in PROGRAMS {
            build.args(["--package", program]);
        }
        done(&mut build)?;
    }
    let folder = if arch == Arch::host() { target() } else { target().join(arch.triple()) };
    Ok(folder.join("release"))
}

/// Says what is missing for another architecture than this machine's, and what installs it.
fn can_build_for(arch: Arch) -> anyhow::Result<()> {
    if !cargo(&["zigbuild", "--version"]).output().is_ok_and(|output| output.status.success()) {
        bail!(
            "building for {} on this machine needs a linker for it: `pip install cargo-zigbuild ziglang`",
            arch.name()
        );
    }
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.current_dir(root()).args(["--print", "target-libdir", "--target", arch.triple()]);
    let folder = PathBuf::from(output(&mut rustc)?.trim());
    // The folder is there when a component of the toolchain made it, and empty without the library.
    let std = fs::read_dir(&folder).into_iter().flatten().flatten();
    if !std.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libstd-")) {
        bail!(
            "{} lacks Rust's library for {}: `rustup target add {}`, or set RUSTC to a compiler that has it",
            folder.display(),
            arch.name(),
            arch.triple()
        );
    }
    Ok(())
}

/// One file, `bootstrap`, with its permission to be executed, without which Lambda does not start it.
fn zip(program: &Path, to: &Path) -> anyhow::Result<()> {
    done(Command::new("python3").args(["-c", ZIP]).arg(program).arg(to))?;
    let bytes = fs::metadata(to)?.len();
    ensure!(bytes < MAX_ZIP_BYTES, "{} has {bytes} bytes; at most {MAX_ZIP_BYTES} are meant", to.display());
    Ok(())
}

/// The notifier's zip for this machine's architecture, once [`run`] has made it.
pub(crate) fn notifier_zip() -> PathBuf {
    root().join("dist").join(Arch::host().name()).join(NOTIFIER_ZIP)
}

/// Man pages and completions, written by the programs under their installed names; by those of this
/// machine, where the packaged ones cannot run on it.
fn share(arch: Arch, dist: &Path) -> anyhow::Result<()> {
    let here = if arch == Arch::host() { None } else { Some(build(Arch::host())?) };
    let folder = target().join("package");
    fs::create_dir_all(&folder)?;
    for (program, installed) in PROGRAMS.iter().filter(|(_, name)| STARTED_BY_PEOPLE.contains(name)) {
        let mut runs = dist.join(installed);
        if let Some(here) = &here {
            runs = folder.join(installed);
            fs::copy(here.join(program), &runs)?;
        }
        done(Command::new(runs).arg("--generate").arg(dist.join("share")))?;
    }
    Ok(())
}

/// Programs, pages, completions, units, configurations and examples in one archive: what install.sh needs.
fn archive(arch: Arch, dist: &Path) -> anyhow::Result<()> {
    let name = format!("sluicegate-{}-linux-{}", env!("CARGO_PKG_VERSION"), arch.name());
    let mut tar = Command::new("tar");
    tar.arg("--create").args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"]);
    tar.arg(format!("--mtime=@{}", committed_at()));
    // gzip writes its input's name and time, and neither here.
    tar.arg("--use-compress-program=gzip --no-name").arg(format!("--transform=s,^,{name}/,"));
    tar.arg("--file").arg(dist.join(format!("{name}.tar.gz")));
    tar.arg("--directory").arg(dist).args(PROGRAMS.map(|(_, installed)| installed));
    tar.args([NOTIFIER_ZIP, "share"]);
    tar.arg("--directory").arg(root()).args(["LICENSE", "CHANGELOG.md", "examples"]);
    tar.arg("--directory").arg(root().join("packaging")).args(["install.sh", "systemd", "etc"]);
    done(&mut tar)
}

fn sums(dist: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dist)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.file_name());
        }
    }
    files.sort();
    let sums = output(Command::new("sha256sum").current_dir(dist).args(files))?;
    print!("{sums}");
    Ok(fs::write(dist.join("SHA256SUMS"), sums)?)
}

/// The commit's time, so that the same commit makes the same archives; seconds since 1970.
fn committed_at() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    // No history, as in an unpacked release: the packages are dated 1980, as the zip is.
    given.or_else(|| git(&["log", "-1", "--format=%ct"])).unwrap_or_else(|| "315532800".to_owned())
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {error}", output.status);
    Ok(String::from_utf8(output.stdout)?)
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

    /// As Debian calls them.
    fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
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
