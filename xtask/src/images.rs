//! The stages of what is installed: Debian packages in a fresh Debian, and images.

use std::path::Path;
use std::process::Command;

use crate::stage::{Context, Outcome};
use crate::tools;
use crate::workspace::{cargo, root, target};

/// Packages come and go in the root of a fresh Debian.
pub(crate) fn packages(context: &Context) -> Outcome {
    if let Err(why) = tools::debian(context, "debootstrap", &["debootstrap"]) {
        return Outcome::NotRun(why);
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
