//! Rules about words and files.

use super::{Finding, Source};
use regex::Regex;
use std::collections::BTreeSet;

/// Lines of a Rust file, tests included.
const MAX_LINES: usize = 600;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Findings for every line of code (comments and literals blanked) that matches.
fn in_code(
    sources: &[Source],
    allowed: impl Fn(&str) -> bool,
    pattern: &str,
    what: &str,
) -> Vec<Finding> {
    let pattern = regex(pattern);
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && !allowed(&s.path)) {
        for (number, line) in source.code.lines().enumerate() {
            if let Some(hit) = pattern.find(line) {
                findings.push(source.at(number, format!("{} {what}", hit.as_str())));
            }
        }
    }
    findings
}

/// A pattern of this file.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("pattern of a rule: {error}"))
}

/// `std::arch` and pulp only in crates/kernels.
pub(super) fn intrinsics_in_kernels(sources: &[Source]) -> Vec<Finding> {
    let allowed = |path: &str| path.starts_with("crates/kernels/");
    in_code(sources, allowed, r"\b(std::arch|core::arch|pulp)\b", "outside crates/kernels")
}

/// rayon only in par.rs.
pub(super) fn rayon_in_par(sources: &[Source]) -> Vec<Finding> {
    let allowed = |path: &str| path == "crates/kernels/src/par.rs";
    in_code(sources, allowed, r"\brayon\b", "outside crates/kernels/src/par.rs")
}

/// CPU queries only in isa.rs.
pub(super) fn cpu_asked_in_isa(sources: &[Source]) -> Vec<Finding> {
    let allowed = |path: &str| path == "crates/kernels/src/isa.rs";
    let pattern = r"\b(is_\w+_feature_detected|cpufeatures|__cpuid\w*)\b";
    in_code(sources, allowed, pattern, "outside crates/kernels/src/isa.rs")
}

/// Rust files have at most [`MAX_LINES`] lines.
pub(super) fn file_length(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|s| s.is_rust() && !LONG_FILES.iter().any(|&(file, _)| file == s.path))
        .map(|s| (s, s.text.lines().count()))
        .filter(|&(_, lines)| lines > MAX_LINES)
        .map(|(s, lines)| s.whole(format!("{lines} lines, more than {MAX_LINES}")))
        .collect()
}

/// No `todo!`, `unimplemented!`, `dbg!`, `#[ignore]`.
pub(super) fn nothing_unfinished(sources: &[Source]) -> Vec<Finding> {
    in_code(sources, |_| false, r"\b(todo|unimplemented|dbg)!|#\[ignore\b", "is unfinished work")
}

/// Whether a text rule does not look at the file: the rules' own patterns and samples, and the
/// lock file, which names the registry.
fn is_exempt(path: &str) -> bool {
    path.starts_with("xtask/src/tidy/") || path == "Cargo.lock"
}

fn in_text(sources: &[Source], pattern: &str, what: &str) -> Vec<Finding> {
    let pattern = regex(pattern);
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| !is_exempt(&s.path)) {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(hit) = pattern.find(line) {
                findings.push(source.at(number, format!("\"{}\" {what}", hit.as_str())));
            }
        }
    }
    findings
}

/// No registry host and no absolute path of one machine.
pub(super) fn no_private_places(sources: &[Source]) -> Vec<Finding> {
    let pattern = concat!(
        r"(^|[\s\x22'`(=:])/(work|root|home)/",
        r"|\b(index|static)\.crates\.io|pypi\.org|pythonhosted\.org|registry\.npmjs",
        r"|deb\.debian\.org|proxy\.golang\.org|artifactory",
    );
    in_text(sources, pattern, "is a place of one machine or a registry")
}

/// No talk of who wrote the code and how work on it is organised.
pub(super) fn no_organisational_talk(sources: &[Source]) -> Vec<Finding> {
    let pattern = concat!(
        r"(?i)\b(session|agent|helper|subagent|worker|person) #?\d+\b",
        r"|\b(previous|earlier|next|later|last) session\b",
        r"|\bthe next issue\b|\bissue #?\d+ of the project\b|\bissues show\b|\bmy brief\b",
        r"|\bco-authored[- ]by\b|\blanguage model\b",
    );
    in_text(sources, pattern, "is about how work is organised")
}

/// Pictures, models and weights that others made are named in NOTICE.
pub(super) fn notice_names_files_of_others(sources: &[Source]) -> Vec<Finding> {
    const KINDS: [&str; 12] = [
        ".png",
        ".jpg",
        ".jpeg",
        ".bmp",
        ".webp",
        ".safetensors",
        ".onnx",
        ".tflite",
        ".pth",
        ".h5",
        ".ttf",
        ".npy",
    ];
    let notice = sources.iter().find(|s| s.path == "NOTICE").map_or("", |s| s.text.as_str());
    sources
        .iter()
        .filter(|s| KINDS.iter().any(|kind| s.path.ends_with(kind)))
        // Plots of our own measurements, and what tests wrote.
        .filter(|s| !s.path.starts_with("docs/") && !s.path.contains("/tests/generated/"))
        .filter(|s| !notice.contains(s.path.rsplit('/').next().unwrap_or(&s.path)))
        .map(|s| s.whole("not named in NOTICE"))
        .collect()
}

/// Relative links of Markdown files name a file or folder of the repository.
pub(super) fn links_lead_somewhere(sources: &[Source]) -> Vec<Finding> {
    let link = regex(r"\]\(([^)\s]+)\)");
    let exists = |path: &str| {
        sources.iter().any(|s| s.path == path || s.path.starts_with(&format!("{path}/")))
    };
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.path.ends_with(".md")) {
        for (number, line) in source.text.lines().enumerate() {
            for target in link.captures_iter(line).filter_map(|c| Some(c.get(1)?.as_str())) {
                let file = target.split('#').next().unwrap_or_default();
                if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                if !exists(&resolve(&source.path, file)) {
                    findings.push(source.at(number, format!("{target} does not exist")));
                }
            }
        }
    }
    findings
}

/// A path relative to the folder of a file, with `.` and `..` taken out.
fn resolve(from: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Every `DEPTHWISE_` variable that code reads stands in the README.
pub(super) fn knobs_are_documented(sources: &[Source]) -> Vec<Finding> {
    let knob = regex(r"\x22(DEPTHWISE_[A-Z_]+)\x22");
    let readme = sources.iter().find(|s| s.path == "README.md").map_or("", |s| s.text.as_str());
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && !is_exempt(&s.path)) {
        for (number, line) in source.text.lines().enumerate() {
            for name in knob.captures_iter(line).filter_map(|c| Some(c.get(1)?.as_str())) {
                if !readme.contains(name) && seen.insert(name) {
                    findings.push(source.at(number, format!("{name} is not in the README")));
                }
            }
        }
    }
    findings
}

/// The first `cargo test` line of the README stands in .ci/run.
pub(super) fn ci_runs_readme_test(sources: &[Source]) -> Vec<Finding> {
    let find = |path: &str| sources.iter().find(|s| s.path == path);
    let (Some(readme), Some(ci)) = (find("README.md"), find(".ci/run")) else { return Vec::new() };
    let Some(command) = readme.text.lines().find(|line| line.starts_with("cargo test")) else {
        return vec![readme.whole("no line that begins with cargo test")];
    };
    let command = command.split('#').next().unwrap_or_default().trim_end();
    if ci.text.contains(command) {
        return Vec::new();
    }
    vec![ci.whole(format!("does not run `{command}` of the README"))]
}

#[cfg(test)]
mod tests {
    use super::super::assert_rule;
    use super::*;

    #[test]
    fn intrinsics_elsewhere_are_found() {
        assert_rule(
            intrinsics_in_kernels,
            &[
                ("crates/kernels/src/arch/avx2.rs", "use std::arch::x86_64::*;"),
                ("crates/engine/src/lib.rs", "// std::arch\nfn pulpit() {}"),
            ],
            &[("crates/engine/src/lib.rs", "use core::arch::x86_64::*;")],
        );
    }

    #[test]
    fn rayon_elsewhere_is_found() {
        assert_rule(
            rayon_in_par,
            &[("crates/kernels/src/par.rs", "use rayon::ThreadPool;")],
            &[("crates/kernels/src/isa.rs", "use rayon::ThreadPool;")],
        );
    }

    #[test]
    fn cpu_query_elsewhere_is_found() {
        assert_rule(
            cpu_asked_in_isa,
            &[("crates/kernels/src/isa.rs", "use std::arch::is_x86_feature_detected as has;")],
            &[("crates/kernels/src/par.rs", "if is_x86_feature_detected!(\"avx2\") {}")],
        );
    }

    #[test]
    fn long_file_is_found() {
        assert_rule(
            file_length,
            &[("a.rs", &"\n".repeat(600)), ("a.md", &"\n".repeat(900))],
            &[("a.rs", &"\n".repeat(601))],
        );
    }

    #[test]
    fn unfinished_work_is_found() {
        assert_rule(
            nothing_unfinished,
            &[("a.rs", "// todo!()\nlet todo = \"dbg!\";")],
            &[("a.rs", "#[ignore = \"slow\"]\nfn f() {}")],
        );
    }

    #[test]
    fn path_of_one_machine_is_found() {
        assert_rule(
            no_private_places,
            &[("a.md", "a/work/b and homework/ and ../shared")],
            &[("a.md", "see `/work/shared`")],
        );
    }

    #[test]
    fn talk_about_work_is_found() {
        assert_rule(
            no_organisational_talk,
            &[("a.rs", "/// The next run of this session; a session has 1 arena.")],
            &[("a.rs", "// added in session 3")],
        );
    }

    #[test]
    fn photo_without_a_notice_is_found() {
        assert_rule(
            notice_names_files_of_others,
            &[("NOTICE", "photos/cat.png: CC0"), ("photos/cat.png", ""), ("docs/plot.png", "")],
            &[("NOTICE", ""), ("crates/zoo/weights/net.safetensors", "")],
        );
    }

    #[test]
    fn dead_link_is_found() {
        assert_rule(
            links_lead_somewhere,
            &[
                ("docs/a.md", "[up](../README.md#top) [out](https://a.b) [here](#x) [dir](../src)"),
                ("README.md", ""),
                ("src/lib.rs", ""),
            ],
            &[("docs/a.md", "[up](README.md)")],
        );
    }

    #[test]
    fn undocumented_knob_is_found() {
        let code = "std::env::var(\"DEPTHWISE_ISA\")";
        assert_rule(
            knobs_are_documented,
            &[("README.md", "`DEPTHWISE_ISA`"), ("a.rs", code)],
            &[("README.md", ""), ("a.rs", code), ("b.rs", code)],
        );
    }

    #[test]
    fn ci_without_the_test_command_is_found() {
        let readme = ("README.md", "```\ncargo test --workspace  # all\n```");
        assert_rule(
            ci_runs_readme_test,
            &[readme, (".ci/run", "cargo test --workspace 2>&1")],
            &[readme, (".ci/run", "cargo test")],
        );
    }
}
