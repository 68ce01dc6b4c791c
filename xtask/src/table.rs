//! `cargo xtask table`: files that follow from the code.
//!
//! `--shapes` writes `benches/shapes/*.csv`, `--kernels` the list of kernels in `docs/kernels.md`,
//! `--speed` the comparison in `README.md`. Tests keep them up to date.

mod speed;

use crate::workspace;
use anyhow::{Context, Result, ensure};
use depthwise_benches::families::{FAMILIES, Family};
use depthwise_benches::shapes::NETS;
use depthwise_kernels::Isa;
use std::fmt::Write as _;

/// Where the list of kernels stands.
const KERNELS_FILE: &str = "docs/kernels.md";
/// Where the comparison stands.
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
        let path = workspace::root().join(KERNELS_FILE);
        let text = std::fs::read_to_string(&path).context(KERNELS_FILE)?;
        let new =
            replace(&text, "kernels", &kernels()).context("docs/kernels.md has no markers")?;
        write(KERNELS_FILE, &new)?;
    }
    if args.speed {
        let text = std::fs::read_to_string(workspace::root().join(SPEED_FILE))?;
        let new = replace(&text, "speed", &speed::tables()?).context("README.md has no markers")?;
        write(SPEED_FILE, &new)?;
    }
    if !args.shapes && !args.kernels && !args.speed {
        print!("{}", kernels());
    }
    Ok(())
}

fn write(path: &str, text: &str) -> Result<()> {
    std::fs::write(workspace::root().join(path), text).with_context(|| format!("write {path}"))?;
    println!("wrote {path}");
    Ok(())
}

/// The text between the markers of `what` exchanged; `None` where a marker is missing.
fn replace(text: &str, what: &str, new: &str) -> Option<String> {
    let begin = format!("<!-- {what}: begin (written by `cargo xtask table --{what}`) -->\n");
    let end = format!("<!-- {what}: end -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{new}{end}{after}"))
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

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn list_of_kernels_in_the_documentation_is_up_to_date() {
        let text = std::fs::read_to_string(workspace::root().join(KERNELS_FILE)).unwrap();
        let want = replace(&text, "kernels", &kernels()).unwrap();
        assert!(text == want, "run `cargo xtask table --kernels`");
    }

    #[test]
    fn comparison_in_the_readme_is_that_of_the_newest_record() {
        let text = std::fs::read_to_string(workspace::root().join(SPEED_FILE)).unwrap();
        let want = replace(&text, "speed", &speed::tables().unwrap()).unwrap();
        assert!(text == want, "run `cargo xtask table --speed`");
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
