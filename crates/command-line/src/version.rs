//! The text of `--version`.

/// The version of the workspace, the commit where the build knew it, and a line with the versions of
/// what the program keeps or sends.
///
/// The commit comes from the program's own `main.rs`, as `option_env!("SLUICEGATE_COMMIT")`: a new
/// commit then builds that one file again, and no library.
pub fn version(commit: Option<&str>, formats: &str) -> String {
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    format!("{}{commit}\n{formats}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_stands_behind_the_version_where_it_is_known() {
        let line = |commit| version(commit, "inbox 1").replace(env!("CARGO_PKG_VERSION"), "1.2.3");
        assert_eq!(line(Some("abc")), "1.2.3 (abc)\ninbox 1");
        assert_eq!(line(None), "1.2.3\ninbox 1");
    }
}
