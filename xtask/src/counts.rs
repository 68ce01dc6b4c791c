//! `cargo xtask counts`: instructions that kernels take, which repeat where times do not.
//!
//! valgrind counts the instructions of a process that runs one kernel on one layer once, and of
//! one that runs it three times; half the difference is a run. The profile `counts` builds kernels
//! as a release does, and the rest quickly.

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Default, clap::Args)]
#[command(after_help = "\
The record is benches/record/counts.csv. It fails where a kernel takes more than 1% above it.

Examples:
  cargo xtask counts
  cargo xtask counts --update     after a change that is meant to change them")]
pub(crate) struct Args {
    /// Write what was counted to the record
    #[arg(long)]
    update: bool,
}

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    kernel: String,
    net: String,
    layer: String,
    instructions: u64,
}

/// What the compiler may change without anybody's doing.
const TOLERANCE: f64 = 0.01;

pub(crate) fn run(args: &Args) -> Result<()> {
    let path = workspace::root().join("benches/record/counts.csv");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let record = parse(&text)?;
    let valgrind = valgrind()?;
    let build = "build --profile counts --package depthwise-benches --no-default-features";
    let build = build.split(' ').chain(["--bin", "run_case"]);
    let status = workspace::cargo().args(build).status()?;
    ensure!(status.success(), "cannot build the kernels: {status}");
    let program = workspace::target().join("counts/run_case");
    let counted = count_all(&record, |row, runs| count(&valgrind, &program, row, runs))?;

    let header = ["kernel", "layer", "record", "now", "change", ""];
    let mut table = workspace::table(&header, &[2, 3, 4]);
    let mut worse = 0;
    for (row, &now) in record.iter().zip(&counted) {
        let change = now as f64 / row.instructions.max(1) as f64 - 1.0;
        let verdict = verdict(change);
        worse += usize::from(verdict == "MORE");
        table.add_row([
            row.kernel.clone(),
            format!("{}.{}", row.net, row.layer),
            row.instructions.to_string(),
            now.to_string(),
            format!("{:+.1}%", 100.0 * change),
            verdict.to_owned(),
        ]);
    }
    println!("\nInstructions of a run:\n{}", table.trim_fmt());
    if args.update {
        let rows = record.into_iter().zip(counted);
        let rows: Vec<Row> = rows.map(|(row, instructions)| Row { instructions, ..row }).collect();
        std::fs::write(&path, format(&rows)?).with_context(|| path.display().to_string())?;
        println!("wrote {}", path.display());
        return Ok(());
    }
    ensure!(
        worse == 0,
        "{worse} kernels take more instructions than on record; if that buys time, say so and run \
         cargo xtask counts --update"
    );
    Ok(())
}

fn verdict(change: f64) -> &'static str {
    if change > TOLERANCE {
        "MORE"
    } else if change < -TOLERANCE {
        "fewer: update the record"
    } else {
        ""
    }
}

fn parse(text: &str) -> Result<Vec<Row>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Result<Vec<Row>, _> = reader.deserialize().collect();
    rows.context("benches/record/counts.csv")
}

fn format(rows: &[Row]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Instructions per run of every row, counted on all cores.
fn count_all(rows: &[Row], count: impl Fn(&Row, u32) -> Result<u64> + Sync) -> Result<Vec<u64>> {
    let per_run = |row: &Row| {
        let (once, thrice) = (count(row, 1)?, count(row, 3)?);
        Ok(thrice.saturating_sub(once) / 2)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = rows.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = rows
            .chunks(share)
            .map(|part| scope.spawn(|| part.iter().map(per_run).collect::<Result<Vec<u64>>>()))
            .collect();
        let mut all = Vec::new();
        for part in parts {
            all.extend(part.join().unwrap_or_else(|_| bail!("a count panicked"))?);
        }
        Ok(all)
    })
}

/// Instructions of a process that runs the kernel `runs` times.
fn count(valgrind: &Valgrind, program: &Path, row: &Row, runs: u32) -> Result<u64> {
    let mut command = Command::new(&valgrind.program);
    if let Some(library) = &valgrind.library {
        command.env("VALGRIND_LIB", library);
    }
    command
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args([&row.kernel, &row.net, &row.layer, &runs.to_string()])
        .env("DEPTHWISE_ISA", "avx2");
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    total(&text).with_context(|| format!("{command:?}: no total in\n{text}"))
}

/// The total that cachegrind prints: `==42== I   refs:      1,234,567`.
fn total(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.contains("refs:"))?;
    let digits: String = line.split("refs:").nth(1)?.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The tool, and where its parts lie if it is not installed.
struct Valgrind {
    program: PathBuf,
    library: Option<PathBuf>,
}

/// The one on the path, else Debian's package unpacked below the target folder.
fn valgrind() -> Result<Valgrind> {
    if Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success()) {
        return Ok(Valgrind { program: "valgrind".into(), library: None });
    }
    let folder = workspace::target().join("valgrind");
    let program = folder.join("usr/bin/valgrind.bin");
    if !program.exists() {
        let mut command = Command::new("bash");
        command.arg(workspace::root().join("tools/setup-valgrind.sh")).arg(&folder);
        let status = command.status().context("cannot run bash")?;
        ensure!(
            status.success(),
            "no valgrind on this machine, and it cannot be fetched: {status}"
        );
    }
    Ok(Valgrind { program, library: Some(folder.join("usr/libexec/valgrind")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, instructions: u64) -> Row {
        Row { kernel: kernel.into(), net: "n".into(), layer: "l".into(), instructions }
    }

    #[test]
    fn totals_are_read_with_their_commas() {
        let report = "==7== Cachegrind\n==7== \n==7== I   refs:      12,345,678\n";
        assert_eq!(total(report), Some(12_345_678));
        assert_eq!(total("==7== nothing"), None);
    }

    #[test]
    fn a_run_is_half_of_what_two_more_take() {
        let rows = [row("a", 0), row("b", 0), row("c", 0)];
        let count = |row: &Row, runs| {
            let per_run = if row.kernel == "b" { 70 } else { 5 };
            Ok(1000 + per_run * u64::from(runs))
        };
        assert_eq!(count_all(&rows, count).unwrap(), [5, 70, 5]);
        assert!(count_all(&rows, |_, _| bail!("no")).is_err());
    }

    #[test]
    fn only_more_than_the_tolerance_is_worse() {
        assert_eq!([0.02, 0.005, -0.005].map(verdict), ["MORE", "", ""]);
        assert_eq!(verdict(-0.02), "fewer: update the record");
    }

    #[test]
    fn record_reads_as_it_was_written() {
        let rows = [row("a", 1), row("b", 2)];
        assert_eq!(parse(&format(&rows).unwrap()).unwrap(), rows);
    }
}
