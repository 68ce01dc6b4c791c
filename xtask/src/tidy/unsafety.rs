//! Rules about `unsafe`. Clippy has some of them too, but sees only the code of one target.

use super::{Finding, Source};

/// Files outside crates/kernels that may hold `unsafe`, with the reason.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("crates/tensor/src/buf.rs", "aligned memory"),
    ("crates/tensor/src/buf/pages.rs", "aligned memory"),
    ("crates/tensor/src/buf/slab.rs", "aligned memory"),
    ("crates/tensor/src/arena.rs", "aligned memory"),
    ("crates/engine/tests/allocation.rs", "an allocator that counts"),
];

/// Members that hold `unsafe`, and so cannot forbid it.
const UNSAFE_MEMBERS: &[&str] = &["crates/kernels", "crates/tensor"];

/// Every crate root of a member without `unsafe` forbids it.
pub(super) fn forbid_unsafe(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|s| is_crate_root(s) && !UNSAFE_MEMBERS.contains(&s.member()))
        .filter(|s| !s.code.contains("#![forbid(unsafe_code)]"))
        .map(|s| s.whole("no #![forbid(unsafe_code)]"))
        .collect()
}

fn is_crate_root(source: &Source) -> bool {
    let inside = source.path.strip_prefix(source.member()).unwrap_or_default();
    source.is_rust()
        && !source.member().is_empty()
        && (["/src/lib.rs", "/src/main.rs", "/lib.rs"].contains(&inside)
            || inside.starts_with("/src/bin/"))
}

/// `unsafe` only in the files that hold it by design.
pub(super) fn unsafe_in_its_place(sources: &[Source]) -> Vec<Finding> {
    let allowed = |path: &str| {
        path.starts_with("crates/kernels/") || UNSAFE_FILES.iter().any(|&(file, _)| file == path)
    };
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && !allowed(&s.path)) {
        for (number, line) in source.code.lines().enumerate() {
            if words(line).any(|word| word == "unsafe") {
                findings.push(source.at(number, "unsafe here"));
            }
        }
    }
    findings
}

/// A `SAFETY:` comment above each block and impl, a `# Safety` section on each unsafe fn that is
/// not the method of a trait.
pub(super) fn unsafe_has_reasons(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust()) {
        let lines: Vec<&str> = source.text.lines().collect();
        let mut in_trait_impl = None;
        for (number, code) in source.code.lines().enumerate() {
            let indent = code.len() - code.trim_start().len();
            if in_trait_impl.is_some_and(|at| at == indent && code.trim_start().starts_with('}')) {
                in_trait_impl = None;
            }
            let item = code.trim_start();
            if (item.starts_with("impl") || item.starts_with("unsafe impl"))
                && words(item).any(|w| w == "for")
                && !item.ends_with('}')
            {
                in_trait_impl = Some(indent);
            }
            for kind in unsafe_kinds(code) {
                let missing = match kind {
                    Kind::Block | Kind::Impl => !reason_above(&lines, number, "SAFETY:"),
                    Kind::Fn => {
                        in_trait_impl.is_none() && !reason_above(&lines, number, "# Safety")
                    }
                };
                if missing {
                    findings.push(source.at(number, kind.complaint()));
                }
            }
        }
    }
    findings
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Impl,
    Fn,
}

impl Kind {
    fn complaint(self) -> &'static str {
        match self {
            Kind::Block => "unsafe block without a SAFETY comment",
            Kind::Impl => "unsafe impl without a SAFETY comment",
            Kind::Fn => "unsafe fn without a # Safety section",
        }
    }
}

/// What each `unsafe` of a line begins; types of function pointers and bounds begin nothing.
fn unsafe_kinds(code: &str) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (at, _) in code.match_indices("unsafe") {
        let before = code[..at].chars().next_back();
        let after = &code[at + "unsafe".len()..];
        if before.is_some_and(is_word) || after.starts_with(is_word) {
            continue;
        }
        let after = after.trim_start();
        match after.split_once(|c: char| !is_word(c)).map_or(after, |(word, _)| word) {
            "" if after.is_empty() || after.starts_with('{') => kinds.push(Kind::Block),
            "impl" => kinds.push(Kind::Impl),
            // `unsafe fn(...)` is a type.
            "fn" if !after.starts_with("fn(") => kinds.push(Kind::Fn),
            "extern" if after.contains(" fn ") => kinds.push(Kind::Fn),
            _ => {}
        }
    }
    kinds
}

/// Whether a comment or attribute directly above the statement of this line, or a comment at its
/// end, holds the text.
fn reason_above(lines: &[&str], line: usize, reason: &str) -> bool {
    if lines[line].split_once("//").is_some_and(|(_, comment)| comment.contains(reason)) {
        return true;
    }
    let mut code_lines = 0;
    for above in lines[..line].iter().rev() {
        let above = above.trim();
        if above.starts_with("//") {
            if above.contains(reason) {
                return true;
            }
        } else if !above.starts_with("#[") && !above.starts_with(')') {
            // The beginning of a statement that goes on in this line.
            let goes_on = !above.is_empty() && !above.ends_with([';', '{', '}']);
            code_lines += 1;
            if !goes_on || code_lines > 8 {
                return false;
            }
        }
    }
    false
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_word(c))
}

#[cfg(test)]
mod tests {
    use super::super::assert_rule;
    use super::*;

    #[test]
    fn safe_crate_without_forbid_is_found() {
        assert_rule(
            forbid_unsafe,
            &[
                ("crates/zoo/src/lib.rs", "//! Zoo.\n#![forbid(unsafe_code)]"),
                ("crates/zoo/src/nets.rs", ""),
                ("crates/kernels/src/lib.rs", ""),
            ],
            &[("xtask/src/main.rs", "// #![forbid(unsafe_code)]")],
        );
    }

    #[test]
    fn unsafe_outside_the_fence_is_found() {
        assert_rule(
            unsafe_in_its_place,
            &[
                ("crates/kernels/src/par.rs", "unsafe { f() }"),
                ("crates/tensor/src/buf.rs", "unsafe { f() }"),
                ("crates/zoo/src/lib.rs", "#![forbid(unsafe_code)] // unsafe\nlet s = \"unsafe\";"),
            ],
            &[("crates/tensor/src/shape.rs", "fn f() { unsafe { g() } }")],
        );
    }

    #[test]
    fn unargued_block_is_found() {
        assert_rule(
            unsafe_has_reasons,
            &[
                ("a.rs", "// SAFETY: in bounds.\nlet x =\n    unsafe { f() };"),
                ("b.rs", "// SAFETY: both.\nlet x = call(\n    a,\n    unsafe { f() },\n);"),
                ("c.rs", "type F = unsafe fn(*const f32);"),
            ],
            &[("a.rs", "// SAFETY: f.\nunsafe { f() };\nunsafe { g() };")],
        );
    }

    #[test]
    fn unsafe_fn_without_a_section_is_found() {
        assert_rule(
            unsafe_has_reasons,
            &[
                (
                    "a.rs",
                    "/// # Safety\n/// - x\n#[target_feature(enable = \"avx2\")]\nunsafe fn f() {}",
                ),
                ("b.rs", "impl Op for X {\n    unsafe fn run() {}\n}"),
            ],
            &[("a.rs", "impl X {\n    /// Runs.\n    unsafe fn run() {}\n}")],
        );
    }
}
