//! `cargo xtask tidy`: the rules of the house that a script can see.
//!
//! A rule is a function from files to findings, listed in [`RULES`], with a sample that passes
//! and one that does not beside it.

mod code;
mod manifests;
mod text;
mod unsafety;

use crate::workspace;
use anyhow::{Context, Result, bail};
use code::blank_comments_and_strings;
use std::fmt;

#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Print the rules and their reasons
    #[arg(long)]
    list: bool,
}

/// A text file of the repository.
pub(crate) struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
    /// `text` with comments and the insides of literals blanked out; empty but for Rust files.
    code: String,
}

impl Source {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Source {
        let (path, text) = (path.into(), text.into());
        let code =
            if path.ends_with(".rs") { blank_comments_and_strings(&text) } else { String::new() };
        Source { path, text, code }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The folder of the workspace member that the file belongs to: `crates/engine`, `xtask`.
    fn member(&self) -> &str {
        let depth = if self.path.starts_with("crates/") { 2 } else { 1 };
        self.path.match_indices('/').nth(depth - 1).map_or("", |(at, _)| &self.path[..at])
    }

    fn at(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: line + 1, what: what.into() }
    }

    fn whole(&self, what: impl Into<String>) -> Finding {
        self.at(0, what)
    }
}

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

type Rule = fn(&[Source]) -> Vec<Finding>;

/// Name, reason, rule.
const RULES: &[(&str, &str, Rule)] = &[
    ("dependencies", "crates depend one way", manifests::dependencies),
    ("lints", "every member has the lints of the workspace", manifests::lints),
    ("forbid-unsafe", "safe crates say so", unsafety::forbid_unsafe),
    ("unsafe-place", "unsafe is fenced in", unsafety::unsafe_in_its_place),
    ("unsafe-reason", "unsafe is argued, for every target", unsafety::unsafe_has_reasons),
    ("intrinsics", "SIMD lives in kernels", text::intrinsics_in_kernels),
    ("rayon", "threads live behind Par", text::rayon_in_par),
    ("cpu-queries", "the CPU is asked in one file", text::cpu_asked_in_isa),
    ("file-length", "a file can be read in one sitting", text::file_length),
    ("unfinished", "nothing unfinished, no test switched off", text::nothing_unfinished),
    ("places", "no name of a host or of a folder of one machine", text::no_private_places),
    ("talk", "text is about the code, not about who wrote it", text::no_organisational_talk),
    ("notice", "files of others are named in NOTICE", text::notice_names_files_of_others),
    ("links", "links between documents lead somewhere", text::links_lead_somewhere),
    ("knobs", "every environment variable is documented", text::knobs_are_documented),
    ("readme-test", ".ci/run begins with the README's test command", text::ci_runs_readme_test),
];

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        for (name, reason, _) in RULES {
            println!("{name:14} {reason}");
        }
        return Ok(());
    }
    let sources = read()?;
    let mut findings = 0;
    for (name, reason, rule) in RULES {
        for finding in rule(&sources) {
            println!("{finding} [{name}: {reason}]");
            findings += 1;
        }
    }
    if findings > 0 {
        bail!("tidy: {findings} findings");
    }
    println!("tidy: {} rules hold in {} files", RULES.len(), sources.len());
    Ok(())
}

/// All text files of the repository; the others get an empty text, so that rules see their names.
fn read() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in workspace::files()? {
        let bytes = std::fs::read(workspace::root().join(&path))
            .with_context(|| format!("cannot read {path}"))?;
        sources.push(Source::new(path, String::from_utf8(bytes).unwrap_or_default()));
    }
    Ok(sources)
}

/// The rule finds nothing in the first sample and exactly one thing in the second.
#[cfg(test)]
fn assert_rule(rule: Rule, good: &[(&str, &str)], bad: &[(&str, &str)]) {
    let sources = |files: &[(&str, &str)]| -> Vec<Source> {
        files.iter().map(|(path, text)| Source::new(*path, *text)).collect()
    };
    assert_eq!(rule(&sources(good)), []);
    let findings = rule(&sources(bad));
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_of_a_file_is_its_crate_folder() {
        assert_eq!(Source::new("crates/engine/src/lib.rs", "").member(), "crates/engine");
        assert_eq!(Source::new("xtask/src/main.rs", "").member(), "xtask");
        assert_eq!(Source::new("README.md", "").member(), "");
    }
}
