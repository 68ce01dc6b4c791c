//! Which passes run, and how far.

use super::{PREPARE, Pass, QUANTIZED, SPECIALIZE};
use std::collections::BTreeSet;

/// Switches of the passes. By default all run, without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassOptions {
    disabled: BTreeSet<&'static str>,
    limit: Option<usize>,
}

/// A name that no pass bears.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no pass \"{name}\"; there are: {known}")]
pub struct UnknownPass {
    name: String,
    known: String,
}

impl PassOptions {
    /// Options that run no pass at all.
    pub fn none() -> PassOptions {
        PassOptions { disabled: names().collect(), limit: None }
    }

    /// Switches one pass off or on.
    ///
    /// # Errors
    /// [`UnknownPass`] where no pass has this name.
    pub fn set(&mut self, name: &str, enabled: bool) -> Result<(), UnknownPass> {
        let Some(name) = names().find(|&known| known == name) else {
            let known = names().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
            return Err(UnknownPass { name: name.into(), known: known.join(", ") });
        };
        if enabled {
            self.disabled.remove(name);
        } else {
            self.disabled.insert(name);
        }
        Ok(())
    }

    /// Applies a list such as `-fuse-residual,+fold-pad`, from left to right; `-all` and `+all`
    /// name every pass.
    ///
    /// # Errors
    /// [`UnknownPass`] for a name that no pass has; earlier entries stay applied.
    pub fn apply(&mut self, list: &str) -> Result<(), UnknownPass> {
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (enabled, name) = match entry.strip_prefix('-') {
                Some(name) => (false, name),
                None => (true, entry.strip_prefix('+').unwrap_or(entry)),
            };
            match (name, enabled) {
                ("all", true) => self.disabled.clear(),
                ("all", false) => self.disabled.extend(names()),
                _ => self.set(name, enabled)?,
            }
        }
        Ok(())
    }

    /// Stops after this many rewrites (in each phase by itself), to find a bad one by bisection.
    pub fn set_limit(&mut self, rewrites: Option<usize>) {
        self.limit = rewrites;
    }

    /// The most rewrites that a phase may make.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Whether the pass of this name runs.
    pub fn runs(&self, name: &str) -> bool {
        !self.disabled.contains(name)
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    let all = QUANTIZED.iter().chain(PREPARE).chain(SPECIALIZE);
    all.map(|pass: &&dyn Pass| pass.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_switches_is_applied_from_left_to_right() {
        let mut options = PassOptions::default();
        options.apply("-all, +fold-pad,-fuse-residual").unwrap();
        assert!(options.runs("fold-pad"));
        assert!(!options.runs("fuse-residual") && !options.runs("fold-constants"));
        options.apply("fuse-residual").unwrap();
        assert!(options.runs("fuse-residual"));
    }

    #[test]
    fn unknown_pass_is_named_with_the_known_ones() {
        let message = PassOptions::default().apply("-fold-pads").unwrap_err().to_string();
        assert!(message.contains("\"fold-pads\"") && message.contains("fold-pad,"), "{message}");
    }
}
