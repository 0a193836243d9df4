//! Which C library a program needs: it has to run where instances and Lambda functions run.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// The oldest C library that programs are to run with: that of Amazon Linux 2023.
pub(super) const OLDEST: (u32, u32) = (2, 34);

/// Refuses a program that names a newer version of the C library than instances and Lambda have.
pub(super) fn runs_on_amazon_linux(program: &Path) -> anyhow::Result<()> {
    if let Some((major, minor)) = needed(program)?.filter(|version| *version > OLDEST) {
        anyhow::bail!(
            "{} asks for glibc {major}.{minor}, and Amazon Linux 2023 has {}.{}: build it where the library is older",
            program.display(),
            OLDEST.0,
            OLDEST.1
        );
    }
    Ok(())
}

/// The oldest C library that a program runs with; `None` if it needs none.
pub(super) fn needed(program: &Path) -> anyhow::Result<Option<(u32, u32)>> {
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    Ok(newest_glibc(&bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_the_c_library_is_found() {
        assert_eq!(newest_glibc(b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"), Some((2, 34)));
        assert_eq!(newest_glibc(b"\x7fELF, linked statically"), None);
    }
}
