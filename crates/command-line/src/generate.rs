//! Man pages and completions, from the same definition that parses the command line.

use std::fs;
use std::io;
use std::path::Path;

use clap_complete::Shell;

/// Writes the man pages of a program and its completions below `share`, laid out as `/usr/share` and
/// `~/.local/share` are. `name` is the name under which the program was called: the one it is installed by.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn generate(command: clap::Command, name: &str, share: &Path) -> io::Result<()> {
    let name = Path::new(name).file_name().map_or_else(|| name.into(), |name| name.to_string_lossy());
    let name = name.into_owned();
    let mut command = command.name(name.clone()).bin_name(name.clone()).display_name(name.clone());
    // clap's own `help` is no command to look up, and would bring a page for each of ours once more.
    let pages = command.clone().disable_help_subcommand(true);
    for (shell, folder, file) in [
        (Shell::Bash, "bash-completion/completions", name.clone()),
        (Shell::Zsh, "zsh/site-functions", format!("_{name}")),
        (Shell::Fish, "fish/vendor_completions.d", format!("{name}.fish")),
    ] {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        clap_complete::generate(shell, &mut command, &name, &mut fs::File::create(folder.join(file))?);
    }
    let man = share.join("man/man1");
    fs::create_dir_all(&man)?;
    // The second line of --version has no place in a page's header.
    let version = pages.get_version().and_then(|version| version.lines().next());
    let version = version.unwrap_or_default().to_owned();
    clap_mangen::generate_to(pages.version(version), man)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_completions_have_the_name_under_which_the_program_was_called() {
        let share = tempfile::tempdir().unwrap();
        let command = clap::Command::new("built-name")
            .version("1.2.3 (abc)\ninbox 1")
            .arg(clap::Arg::new("bucket").long("bucket"))
            .subcommand(clap::Command::new("dead").subcommand(clap::Command::new("list")));
        generate(command, "/usr/bin/installed-name", share.path()).unwrap();
        for file in [
            "bash-completion/completions/installed-name",
            "zsh/site-functions/_installed-name",
            "fish/vendor_completions.d/installed-name.fish",
            "man/man1/installed-name.1",
            "man/man1/installed-name-dead.1",
            "man/man1/installed-name-dead-list.1",
        ] {
            let text = fs::read_to_string(share.path().join(file)).unwrap();
            assert!(text.contains("installed"), "{file}: {text}");
            assert!(!text.contains("built"), "{file}: {text}");
        }
        let page = fs::read_to_string(share.path().join("man/man1/installed-name.1")).unwrap();
        assert!(page.contains("bucket") && page.contains("1.2.3") && !page.contains("inbox"), "{page}");
        let pages = fs::read_dir(share.path().join("man/man1")).unwrap().count();
        assert_eq!(pages, 3, "there is a page of what is no command");
    }
}
