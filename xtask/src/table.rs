//! `cargo xtask table`: files that follow from the code.
//!
//! `--shapes` writes `benches/shapes/*.csv`, `--kernels` the list of kernels in `docs/kernels.md`,
//! `--formats` that of operators in `docs/formats.md`, `--speed` the comparison in `README.md`. Tests
//! keep all up to date.

mod speed;

use crate::workspace;
use anyhow::{Context, Result, ensure};
use depthwise_benches::families::{FAMILIES, Family};
use depthwise_benches::shapes::NETS;
use depthwise_formats::{Support, support};
use depthwise_kernels::Isa;
use std::fmt::Write as _;

/// Where the list of kernels stands.
const KERNELS_FILE: &str = "docs/kernels.md";
/// Where the list of operators stands.
const FORMATS_FILE: &str = "docs/formats.md";
/// Where the comparison with other engines stands.
const SPEED_FILE: &str = "README.md";

#[derive(clap::Args)]
#[command(after_help = "Without an option, prints the list of kernels.")]
pub(crate) struct Args {
    /// Write benches/shapes/*.csv from the networks
    #[arg(long)]
    shapes: bool,
    /// Write the list of kernels into docs/kernels.md
    #[arg(long)]
    kernels: bool,
    /// Write the list of operators that are read into docs/formats.md
    #[arg(long)]
    formats: bool,
    /// Write the comparison with other engines into README.md, from the newest benches/record
    #[arg(long)]
    speed: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.shapes {
        for net in NETS {
            let text = net.generate()?.with_context(|| format!("no network {}", net.name))?;
            write(&format!("benches/shapes/{}.csv", net.name), &text)?;
        }
    }
    if args.kernels {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "{KERNELS_FILE} lists the kernels of an x86-64 build; this is another"
        );
        update(KERNELS_FILE, "kernels", &kernels())?;
    }
    if args.formats {
        update(FORMATS_FILE, "formats", &formats())?;
    }
    if args.speed {
        update(SPEED_FILE, "speed", &speed::tables()?)?;
    }
    if !(args.shapes || args.kernels || args.formats || args.speed) {
        print!("{}", kernels());
    }
    Ok(())
}

fn write(path: &str, text: &str) -> Result<()> {
    std::fs::write(workspace::root().join(path), text).with_context(|| format!("write {path}"))?;
    println!("wrote {path}");
    Ok(())
}

/// Exchanges what stands between the markers of `what` in a file.
fn update(path: &str, what: &str, new: &str) -> Result<()> {
    let text =
        std::fs::read_to_string(workspace::root().join(path)).with_context(|| path.to_owned())?;
    let new = replace(&text, what, new).with_context(|| format!("{path} has no markers"))?;
    write(path, &new)
}

/// The text between the markers of `what` exchanged; `None` where a marker is missing.
fn replace(text: &str, what: &str, new: &str) -> Option<String> {
    let begin = format!("<!-- {what}: begin (written by `cargo xtask table --{what}`) -->\n");
    let end = format!("<!-- {what}: end -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{new}{end}{after}"))
}

/// For each format the operators that are read, those of which something is not, and those that
/// are known by name and refused.
fn formats() -> String {
    let all = support();
    let mut names: Vec<&str> = all.iter().map(|support| support.format).collect();
    names.dedup();
    let mut text = String::new();
    for name in names {
        let of_format = || all.iter().filter(|support| support.format == name);
        let listed = |which: &dyn Fn(&&Support) -> bool| {
            of_format().filter(which).map(|s| s.operator).collect::<Vec<_>>().join(", ")
        };
        let whole = listed(&|s| s.is_read && s.limits.is_empty());
        writeln!(text, "### {name}\n\nRead: {whole}.\n").expect("a string takes all");
        text += "| read in part | but for |\n|---|---|\n";
        for Support { operator, limits, .. } in of_format().filter(|s| !s.limits.is_empty()) {
            writeln!(text, "| {operator} | {limits} |").expect("a string takes all");
        }
        let refused = listed(&|s| !s.is_read);
        if !refused.is_empty() {
            writeln!(text, "\nRefused: {refused}.").expect("a string takes all");
        }
        text.push('\n');
    }
    text
}

/// A line for each level of each family, the entries in the order of the list.
fn kernels() -> String {
    let mut text = String::from("| family | computes | level | kernels |\n|---|---|---|---|\n");
    for family in FAMILIES {
        for (i, (isa, names)) in by_level(family).into_iter().enumerate() {
            let (name, what) = if i == 0 { (family.name, family.what) } else { ("", "") };
            let code: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            writeln!(text, "| {name} | {what} | {isa} | {} |", code.join(" "))
                .expect("a string takes all");
        }
    }
    text
}

fn by_level(family: &Family) -> Vec<(Isa, Vec<&'static str>)> {
    let mut levels: Vec<(Isa, Vec<&'static str>)> = Vec::new();
    for kernel in family.kernels() {
        match levels.iter_mut().find(|(isa, _)| *isa == kernel.isa) {
            Some((_, names)) => names.push(kernel.name),
            None => levels.push((kernel.isa, vec![kernel.name])),
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_current(path: &str, what: &str, want: &str) -> bool {
        let text = std::fs::read_to_string(workspace::root().join(path)).unwrap();
        replace(&text, what, want).unwrap() == text
    }

    #[test]
    fn lists_in_the_documentation_are_up_to_date() {
        if cfg!(target_arch = "x86_64") {
            let current = is_current(KERNELS_FILE, "kernels", &kernels());
            assert!(current, "run `cargo xtask table --kernels`");
        }
        let current = is_current(FORMATS_FILE, "formats", &formats());
        assert!(current, "run `cargo xtask table --formats`");
        let current = is_current(SPEED_FILE, "speed", &speed::tables().unwrap());
        assert!(current, "run `cargo xtask table --speed`");
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let (begin, end) =
            ("<!-- x: begin (written by `cargo xtask table --x`) -->\n", "<!-- x: end -->\n");
        let text = format!("a\n{begin}old\n{end}b\n");
        assert_eq!(replace(&text, "x", "new\n"), Some(format!("a\n{begin}new\n{end}b\n")));
        assert_eq!(replace(&text, "y", "new"), None);
    }

    #[test]
    fn every_kernel_stands_in_the_list_of_each_family_that_runs_it() {
        let text = kernels();
        let all: Vec<_> = FAMILIES.iter().flat_map(|family| family.kernels()).collect();
        for kernel in &all {
            let families = all.iter().filter(|other| other.name == kernel.name).count();
            let listed = text.matches(&format!("`{}`", kernel.name)).count();
            assert_eq!(listed, families, "{}", kernel.name);
        }
    }
}
