//! The README's comparison with other engines, from the newest records of `bench --peers`.

use crate::workspace;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Folder of the records, named DATE-CPU-DTYPE.json.
const RECORDS: &str = "benches/record";

/// The networks as people write them, in the order of the table.
const NETS: [(&str, &str); 5] = [
    ("mobilenet_v1", "MobileNet V1"),
    ("mobilenet_v2", "MobileNet V2"),
    ("mobilenet_v3_large", "MobileNet V3 Large"),
    ("mobilenet_v3_small", "MobileNet V3 Small"),
    ("efficientnet_lite0", "EfficientNet-Lite0"),
];

#[derive(Deserialize)]
struct Record {
    cpu: String,
    level: String,
    cores: usize,
    peers: Vec<Row>,
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    net: String,
    threads: usize,
    engine: String,
    min_ms: f64,
    peak_mb: f64,
    samples: usize,
}

impl Row {
    fn is_ours(&self) -> bool {
        self.engine.starts_with("depthwise")
    }
}

/// The tables, one for each element type that has a record.
pub(super) fn tables() -> Result<String> {
    let mut text = String::new();
    for dtype in ["f32", "int8"] {
        let Some(path) = newest(dtype)? else { continue };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let json = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let record = serde_json::from_str(&json).with_context(|| path.display().to_string())?;
        text += &table(dtype, &name, &record);
    }
    Ok(text)
}

/// The last record of this element type: names begin with the date.
fn newest(dtype: &str) -> Result<Option<PathBuf>> {
    let folder = workspace::root().join(RECORDS);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| RECORDS.to_owned())? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(&format!("-{dtype}.json")) {
            paths.push(path);
        }
    }
    Ok(paths.into_iter().max())
}

fn table(dtype: &str, name: &str, record: &Record) -> String {
    let mut threads: Vec<usize> = record.peers.iter().map(|row| row.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let flag = if dtype == "f32" { "" } else { " --int8" };
    let date: String = name.chars().take(10).collect();
    let samples = record.peers.iter().map(|row| row.samples).min().unwrap_or(0);
    let mut text = format!(
        "`{dtype}`, {}, level {}, {} cores, {date}, one interleaved run of `cargo xtask bench --peers{flag}`, \
         at least {samples} runs each; {}:\n\n| network |",
        record.cpu,
        record.level,
        record.cores,
        record.versions.join(", ")
    );
    for n in &threads {
        let s = if *n == 1 { "" } else { "s" };
        let _ = write!(text, " {n} thread{s} | fastest other | ratio |");
    }
    text += " peak MB | least other |\n|---|";
    text += &"---:|".repeat(3 * threads.len() + 2);
    text.push('\n');
    for (net, title) in NETS {
        let rows: Vec<&Row> = record.peers.iter().filter(|row| row.net == net).collect();
        let Some(line) = line(&rows, &threads) else { continue };
        let _ = writeln!(text, "| {title} |{line}");
    }
    text.push('\n');
    text
}

/// The cells of a network.
fn line(rows: &[&Row], threads: &[usize]) -> Option<String> {
    let mut line = String::new();
    for &n in threads {
        let fastest = |ours: bool| {
            let rows = rows.iter().filter(|row| row.threads == n && row.is_ours() == ours);
            rows.min_by(|a, b| a.min_ms.total_cmp(&b.min_ms))
        };
        let (ours, other) = (fastest(true)?, fastest(false)?);
        let ratio = ours.min_ms / other.min_ms;
        let name = other.engine.replace("litert", "LiteRT").replace("openvino", "OpenVINO");
        let name = name.replace("onnxruntime", "ONNX Runtime");
        let _ = write!(line, " {:.2} | {:.2} {name} | {ratio:.2} |", ours.min_ms, other.min_ms);
    }
    let least = |ours: bool| {
        let rows = rows.iter().filter(|row| row.is_ours() == ours);
        rows.map(|row| row.peak_mb).min_by(f64::total_cmp)
    };
    let _ = write!(line, " {:.0} | {:.0} |", least(true)?, least(false)?);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_of_each_side_are_compared() {
        let row = |engine: &str, min_ms, peak_mb| Row {
            net: "mobilenet_v1".into(),
            threads: 1,
            engine: engine.into(),
            min_ms,
            peak_mb,
            samples: 5,
        };
        let rows =
            [row("depthwise", 3.0, 30.0), row("litert", 4.0, 80.0), row("openvino", 6.0, 70.0)];
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(line(&rows, &[1]).unwrap(), " 3.00 | 4.00 LiteRT | 0.75 | 30 | 70 |");
        assert_eq!(line(&rows, &[1, 2]), None);
    }
}
