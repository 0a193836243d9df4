//! Everything that is wrong with a configuration, collected, so that one run shows it all.

use std::fmt;

/// Where a value stands: what a person has to edit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the configuration file, from 1.
    Line(usize),
    /// A command line flag.
    Flag(&'static str),
    /// Nowhere: it is missing, or a default.
    Nowhere,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong there, with the full name of its key.
    pub text: String,
}

/// All mistakes of one configuration, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// What the file is called in messages.
    pub file: String,
    /// At least one.
    pub list: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    /// One line a mistake: `FILE:LINE: KEY: what is wrong`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Mistake { origin, text }) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match origin {
                Origin::Line(line) => write!(f, "{}:{line}: {text}", self.file)?,
                Origin::Flag(flag) => write!(f, "{flag}: {text}")?,
                Origin::Nowhere => write!(f, "{}: {text}", self.file)?,
            }
        }
        Ok(())
    }
}
