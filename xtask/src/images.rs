//! The stages of what is installed: Debian packages in a fresh Debian, and images.

use std::path::Path;
use std::process::Command;

use crate::stage::{Context, Outcome};
use crate::tools;
use crate::workspace::{cargo, root, target};

/// What a test needs that boots a root: namespaces, and the second kind of control groups.
pub(crate) const BOOTING: &str =
    "unshare --mount --pid --net --ipc --uts --cgroup --fork sh -c \"mount -t cgroup2 none $DIR\"";

/// Packages come, serve and go in a fresh Debian that is booted.
pub(crate) fn packages(context: &Context) -> Outcome {
    if let Err(why) = tools::debian(context, "debootstrap", &["debootstrap"]) {
        return Outcome::NotRun(why);
    }
    if let Err(why) = tools::may(BOOTING) {
        return Outcome::NotRun(format!("a root cannot be booted in namespaces, run as root: {why}"));
    }
    Outcome::of([cargo(&["xtask", "package"]), script(Path::new("python3"), "packages")])
}

/// buildah builds each image, and its program starts from the image's root.
pub(crate) fn images(context: &Context) -> Outcome {
    for (program, package) in [("debootstrap", "debootstrap"), ("buildah", "buildah")] {
        if let Err(why) = tools::debian(context, program, &[package]) {
            return Outcome::NotRun(why);
        }
    }
    let python = match tools::venv("yaml", &["pyyaml==6.0.3"]) {
        Ok(bin) => bin.join("python"),
        Err(error) => return Outcome::Failed(format!("installing PyYAML: {error:#}")),
    };
    Outcome::of([cargo(&["xtask", "package", "--programs"]), script(&python, "images")])
}

/// A script of packaging/tests, with a folder of its own and Debian's root, which the stages share.
fn script(python: &Path, name: &str) -> Command {
    let mut script = Command::new(python);
    script.current_dir(root()).arg(format!("packaging/tests/{name}.py"));
    script.arg("--work").arg(target().join("tools").join(name));
    script.arg("--debian").arg(target().join("tools/instance"));
    script
}
