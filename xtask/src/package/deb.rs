//! Debian packages, with dpkg-deb alone: what is in them is already built, and four lists of files
//! need no tool that has to be built first.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Arch, committed_at, done, glibc};
use crate::workspace::{root, target};

/// One package.
struct Package {
    name: &'static str,
    summary: &'static str,
    /// The service that it installs, if it is one.
    service: Option<Service>,
    /// Whether the Lambda zip is in it.
    zip: bool,
}

/// What a service has beside its program.
struct Service {
    /// Number of its user and group, as install.sh gives it.
    id: u32,
    data: &'static str,
    /// Name of its files in `packaging/etc`, without their endings, and of its folder of drop-ins.
    kind: &'static str,
}

const PACKAGES: [Package; 4] = [
    Package {
        name: "sluicegate-agent",
        summary: "takes events, makes them durable, ships them as whole S3 objects",
        service: Some(Service { id: 870, data: "/var/lib/sluicegate/agent", kind: "agent" }),
        zip: false,
    },
    Package {
        name: "sluicegate-server",
        summary: "takes notices of S3 objects, fetches them, hands them to a handler",
        service: Some(Service { id: 871, data: "/var/lib/sluicegate/server", kind: "server" }),
        zip: false,
    },
    Package {
        name: "sluicegate-notifier",
        summary: "relays S3 events as signed notices, for AWS Lambda",
        service: None,
        zip: true,
    },
    Package {
        name: "sluicegate",
        summary: "the whole S3 event pipeline on one machine",
        service: None,
        zip: false,
    },
];

/// Makes every package from what already lies in `dist`, and puts it there.
pub(super) fn packages(arch: Arch, dist: &Path) -> anyhow::Result<()> {
    for package in &PACKAGES {
        let tree = target().join("package/deb").join(arch.debian()).join(package.name);
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        package.lay_out(dist, &tree).with_context(|| format!("laying out {}", package.name))?;
        package.control(arch, dist, &tree)?;
        let file = format!("{}_{}_{}.deb", package.name, env!("CARGO_PKG_VERSION"), arch.debian());
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.args(["--root-owner-group", "-Zxz", "-z3", "--build"]).arg(&tree).arg(dist.join(file));
        done(dpkg.env("SOURCE_DATE_EPOCH", committed_at()))?;
    }
    Ok(())
}

impl Package {
    /// Copies everything but the control files.
    fn lay_out(&self, dist: &Path, tree: &Path) -> anyhow::Result<()> {
        let usr = tree.join("usr");
        put(&dist.join(self.name), &usr.join("bin").join(self.name), 0o755)?;
        if self.zip {
            let zip = format!("{}.zip", self.name);
            put(&dist.join(&zip), &usr.join("share/sluicegate").join(&zip), 0o644)?;
        }
        for (folder, file) in self.shared(&dist.join("share"))? {
            put(
                &dist.join("share").join(&folder).join(&file),
                &usr.join("share").join(folder).join(file),
                0o644,
            )?;
        }
        let doc = usr.join("share/doc").join(self.name);
        put(&root().join("LICENSE"), &doc.join("copyright"), 0o644)?;
        put(&root().join("CHANGELOG.md"), &doc.join("CHANGELOG.md"), 0o644)?;
        if let Some(service) = &self.service {
            let unit = format!("{}.service", self.name);
            let units = usr.join("lib/systemd/system");
            put(&root().join("packaging/systemd").join(&unit), &units.join(unit), 0o644)?;
            for (file, mode) in service.configuration() {
                let from = root().join("packaging/etc").join(&file);
                put(&from, &tree.join("etc/sluicegate").join(file), mode)?;
            }
            for entry in fs::read_dir(root().join("packaging/systemd/drop-ins"))? {
                let entry = entry?;
                let folder = usr.join("share/sluicegate").join(service.kind);
                put(&entry.path(), &folder.join(entry.file_name()), 0o644)?;
            }
        }
        Ok(())
    }

    /// Man pages and completions of this program: folder below `share`, and file.
    fn shared(&self, share: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        for folder in
            ["man/man1", "bash-completion/completions", "zsh/site-functions", "fish/vendor_completions.d"]
        {
            for entry in fs::read_dir(share.join(folder))? {
                let file = entry?.file_name().to_string_lossy().into_owned();
                // `sluicegate-agent.1` and `sluicegate-agent-dead.1`, but `sluicegate-agent` is not `sluicegate`'s.
                let owner = PACKAGES
                    .iter()
                    .map(|package| package.name)
                    .filter(|name| file.trim_start_matches('_').starts_with(name))
                    .max_by_key(|name| name.len());
                if owner == Some(self.name) {
                    found.push((folder.into(), file));
                }
            }
        }
        Ok(found)
    }

    fn control(&self, arch: Arch, dist: &Path, tree: &Path) -> anyhow::Result<()> {
        let debian = tree.join("DEBIAN");
        fs::create_dir_all(&debian)?;
        let (major, minor) = glibc::needed(&dist.join(self.name))?.unwrap_or(glibc::OLDEST);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "Package: {}\nVersion: {}", self.name, env!("CARGO_PKG_VERSION"));
        let _ = writeln!(text, "Architecture: {}\nSection: net\nPriority: optional", arch.debian());
        let _ = writeln!(text, "Maintainer: {}", maintainer());
        let _ = writeln!(text, "Homepage: {}", env!("CARGO_PKG_REPOSITORY"));
        let passwd = if self.service.is_some() { ", passwd" } else { "" };
        let _ = writeln!(text, "Depends: libc6 (>= {major}.{minor}), libgcc-s1, ca-certificates{passwd}");
        let _ = writeln!(text, "Installed-Size: {}", kibibytes(tree)?);
        let _ = writeln!(text, "Description: {}", self.summary);
        let _ = writeln!(text, " Part of Sluicegate, an S3 event pipeline: nothing lost, nothing twice.");
        fs::write(debian.join("control"), text)?;
        let Some(service) = &self.service else { return Ok(()) };
        let configuration = service.configuration().map(|(file, _)| format!("/etc/sluicegate/{file}\n"));
        // What somebody has edited, dpkg leaves as it is.
        fs::write(debian.join("conffiles"), configuration.concat())?;
        for script in ["postinst", "prerm"] {
            let text = fs::read_to_string(root().join("packaging/deb").join(script))?
                .replace("@NAME@", self.name)
                .replace("@ID@", &service.id.to_string())
                .replace("@DATA@", service.data)
                .replace("@CONFIG@", &format!("/etc/sluicegate/{}.toml", service.kind));
            let file = debian.join(script);
            fs::write(&file, text)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

impl Service {
    /// What it has below `/etc/sluicegate`: each file and its mode. Secrets have a file that root alone
    /// reads, for systemd.
    fn configuration(&self) -> [(String, u32); 2] {
        [(format!("{}.toml", self.kind), 0o644), (format!("{}.env", self.kind), 0o600)]
    }
}

/// Who answers for a package is whoever built it, by Debian's own variables; nobody else promised to.
fn maintainer() -> String {
    let variable = |name, absent: &str| std::env::var(name).unwrap_or_else(|_| absent.to_owned());
    format!("{} <{}>", variable("DEBFULLNAME", "built locally"), variable("DEBEMAIL", "root@localhost"))
}

fn put(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().expect("a file lies in a folder"))?;
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

fn kibibytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() {
            kibibytes(&entry.path())?
        } else {
            entry.metadata()?.len().div_ceil(1024)
        };
    }
    Ok(sum)
}
