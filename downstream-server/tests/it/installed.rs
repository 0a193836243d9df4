//! The program as it is installed: under another name, with the configuration that packages bring.

use std::fs;
use std::path::Path;
use std::process::Command;

use contract::exit;
use tempfile::TempDir;

const BROUGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/etc/server.toml");

/// The exit code, and everything that the program prints for these arguments, called as `name`.
fn said(name: &Path, args: &[&str]) -> (i32, String) {
    let output = Command::new(name).args(args).env_clear().output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_downstream-server"))
}

#[test]
fn help_version_and_errors_have_the_name_that_it_was_called_by() {
    let dir = TempDir::new().unwrap();
    let name = dir.path().join("installed-server");
    std::os::unix::fs::symlink(program(), &name).unwrap();
    for args in [&["--help"][..], &["--no-such-flag"]] {
        let (_, text) = said(&name, args);
        assert!(text.contains("Usage: installed-server") && !text.contains("downstream-server"), "{text}");
    }
    assert!(said(&name, &["--version"]).1.starts_with("installed-server "));
}

#[test]
fn the_configuration_that_packages_bring_lacks_buckets_and_nothing_else() {
    let (code, text) = said(program(), &["--config", BROUGHT, "--check-config"]);
    assert_eq!((code, text.lines().count()), (i32::from(exit::CONFIG), 1), "{text}");
    assert!(text.starts_with("notices.buckets: "), "{text}");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("server.toml");
    let text = fs::read_to_string(BROUGHT).unwrap().replace("buckets = []", "buckets = [\"mine\"]");
    let (head, handler) = text.split_once("\nkind = ").unwrap();
    // Each handler that is only shown, too.
    let shown = handler.split("\n\n").skip(1).map(|lines| format!("\n{lines}").replace("\n# ", "\n"));
    let all: Vec<String> = shown.chain(["\nkind = \"log\"".to_owned()]).collect();
    assert_eq!(all.len(), 3);
    for handler in all {
        fs::write(&file, format!("{head}\n{handler}")).unwrap();
        let (code, text) = said(program(), &["--config", file.to_str().unwrap(), "--check-config"]);
        assert_eq!(code, 0, "{handler}: {text}");
    }
}

#[test]
fn a_folder_that_may_not_be_written_exits_77_and_names_the_setting_and_the_user() {
    // Nobody makes folders there, root neither.
    let args = ["--notices-buckets", "logs", "--listen", "127.0.0.1:0", "--dir", "/sys/sluicegate"];
    let (code, text) = said(program(), &args);
    assert_eq!(code, i32::from(exit::PERMISSION), "{text}");
    assert!(text.contains("/sys/sluicegate") && text.contains("dir (--dir)"), "{text}");
}
