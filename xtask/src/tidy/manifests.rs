//! Rules about `Cargo.toml` files.

use super::{Finding, Source};
use toml::Table;

/// Crates of the project that each crate may depend on, and those that only its tests may see
/// besides. Members that are not listed (tasks, benches) may see everything.
const DEPENDENCIES: &[(&str, &[&str], &[&str])] = &[
    ("tensor", &[], &["testkit"]),
    ("layers", &["tensor"], &["testkit"]),
    ("kernels", &["tensor"], &["layers", "testkit"]),
    ("formats", &["tensor", "layers"], &["testkit"]),
    ("zoo", &["tensor", "layers", "formats"], &["testkit", "engine", "vision"]),
    ("engine", &["tensor", "layers", "kernels", "formats"], &["testkit", "zoo", "vision"]),
    ("vision", &["tensor"], &["testkit"]),
    ("train", &["tensor", "layers", "kernels", "engine", "vision"], &["testkit", "zoo"]),
    ("compress", &["tensor", "layers", "kernels", "engine"], &["testkit", "zoo"]),
    ("explain", &["tensor", "layers", "kernels", "engine"], &["testkit", "zoo"]),
    (
        "cli",
        &["tensor", "layers", "engine", "formats", "zoo", "vision", "train", "compress", "explain"],
        &["testkit"],
    ),
    ("testkit", &["tensor", "layers"], &[]),
];

/// Crates of others that belong to one place.
const HOMES: &[(&str, &[&str])] = &[
    ("pulp", &["kernels"]),
    ("cpufeatures", &["kernels"]),
    ("rayon", &["kernels"]),
    ("anyhow", &["cli", "xtask"]),
];

const SECTIONS: [(&str, bool); 3] =
    [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];

/// Dependencies go one way.
pub(super) fn dependencies(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (source, manifest) in manifests(sources) {
        let member = source.member().rsplit('/').next().unwrap_or_default();
        let rule = DEPENDENCIES.iter().find(|rule| rule.0 == member);
        if rule.is_none() && source.path.starts_with("crates/") {
            findings.push(source.whole("a crate without a line in tidy's table of dependencies"));
        }
        for (section, in_tests) in SECTIONS {
            let Some(names) = manifest.get(section).and_then(|s| s.as_table()) else { continue };
            for name in names.keys() {
                let ours = name.strip_prefix("depthwise-");
                let allowed = match (ours, rule) {
                    (Some(ours), Some((_, always, tests))) => {
                        always.contains(&ours) || (in_tests && tests.contains(&ours))
                    }
                    (Some(_), None) => true,
                    (None, _) => HOMES
                        .iter()
                        .filter(|_| !in_tests)
                        .all(|&(other, homes)| other != name || homes.contains(&member)),
                };
                if !allowed {
                    findings.push(source.whole(format!("{member} may not depend on {name}")));
                }
            }
        }
    }
    findings
}

/// Every member has `[lints] workspace = true`.
pub(super) fn lints(sources: &[Source]) -> Vec<Finding> {
    let has = |manifest: &Table| {
        manifest.get("lints").and_then(|l| l.get("workspace")?.as_bool()) == Some(true)
    };
    manifests(sources)
        .filter(|(_, manifest)| !has(manifest))
        .map(|(source, _)| source.whole("no [lints] workspace = true"))
        .collect()
}

/// The manifests of members. One that cannot be read is cargo's to complain about.
fn manifests(sources: &[Source]) -> impl Iterator<Item = (&Source, Table)> {
    sources
        .iter()
        .filter(|s| {
            !s.member().is_empty()
                && s.path.strip_prefix(s.member()) == Some("/Cargo.toml")
                && s.member() != "fuzz"
        })
        .filter_map(|s| Some((s, s.text.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::super::assert_rule;
    use super::*;

    #[test]
    fn upward_dependency_is_found() {
        let kernels = "[dependencies]\ndepthwise-tensor.workspace = true\npulp = \"1\"\n\
                       [dev-dependencies]\ndepthwise-layers.workspace = true\n";
        assert_rule(
            dependencies,
            &[
                ("crates/kernels/Cargo.toml", kernels),
                ("xtask/Cargo.toml", "[dependencies]\nanyhow = \"1\"\ndepthwise-zoo = \"1\""),
                ("Cargo.toml", "[workspace.dependencies]\npulp = \"1\""),
            ],
            &[("crates/kernels/Cargo.toml", "[dependencies]\ndepthwise-layers = \"1\"")],
        );
    }

    #[test]
    fn library_away_from_home_is_found() {
        assert_rule(
            dependencies,
            &[],
            &[("crates/engine/Cargo.toml", "[dependencies]\nrayon.workspace = true")],
        );
    }

    #[test]
    fn crate_without_a_rule_is_found() {
        assert_rule(dependencies, &[], &[("crates/new/Cargo.toml", "")]);
    }

    #[test]
    fn member_without_lints_is_found() {
        assert_rule(
            lints,
            &[("xtask/Cargo.toml", "[lints]\nworkspace = true"), ("Cargo.toml", "")],
            &[("crates/zoo/Cargo.toml", "[package]\nname = \"x\"")],
        );
    }
}
