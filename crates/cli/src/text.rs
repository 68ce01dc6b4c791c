//! Words and tables for the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// As `println!`, but a reader that went away (`depthwise ... | head`) is an error like any other,
/// which [`is_broken_pipe`] tells from a failure.
macro_rules! outln {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($argument)*)?
    }};
}
pub(crate) use outln;

/// A table without borders but a line under its head; numbers (columns from `first_number` on) to
/// the right.
pub(crate) fn table(head: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.to_vec());
    for column in first_number..head.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// An error with its causes, and what to do about it where that is known.
pub(crate) fn report(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(&format!("\n  because {cause}"));
        }
    }
    text
}

/// Whether the reader of our output went away (`depthwise ... | head`), which is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A number of things, with a unit prefix: `3.5 M`.
pub(crate) fn count(n: u64) -> String {
    match n {
        0..=9_999 => n.to_string(),
        10_000..=999_999 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..=9_999_999_999 => format!("{:.2} M", n as f64 / 1e6),
        _ => format!("{:.2} G", n as f64 / 1e9),
    }
}

/// A number of bytes: `9.4 MB`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

/// A bar of up to `width` characters for a share between 0 and 1.
pub(crate) fn bar(share: f32, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f32).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar(0.0, 10), "");
        assert_eq!(bar(1.0, 3), "███");
        assert_eq!(bar(0.5, 1), "▌");
        assert_eq!(bar(f32::NAN, 4), "");
    }

    #[test]
    fn counts_get_prefixes() {
        assert_eq!(count(42), "42");
        assert_eq!(count(3_504_872), "3.50 M");
        assert_eq!(bytes(18_826_032), "18.8 MB");
    }

    #[test]
    fn causes_are_printed_once() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(report(&error), "error: outer\n  because inner");
    }
}
