//! A grid of settings, each tried.

use super::Args;
use super::train::{Run, Trained};
use crate::text::{self, outln};
use anyhow::{Context, Result};
use depthwise_train::report::EventLog;
use std::path::Path;
use std::str::FromStr;

/// Most combinations of a grid.
const MAX_POINTS: usize = 1000;

/// The settings that a search can change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Learning rate of the new layer alone.
    pub(super) lr: f32,
    /// Learning rate of the second phase.
    pub(super) tune_lr: f32,
    pub(super) batch: u16,
    /// Weight decay.
    pub(super) decay: f32,
    /// Label smoothing.
    pub(super) smoothing: f32,
    pub(super) l1: f32,
}

impl Point {
    /// What the command line says.
    pub(super) fn of(args: &Args) -> Point {
        let &Args { lr, batch, decay, smoothing, l1, .. } = args;
        Point { lr, tune_lr: args.tune.tune_lr, batch, decay, smoothing, l1 }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number =
            |fits: fn(f32) -> bool| value.parse().ok().filter(|&x: &f32| x.is_finite() && fits(x));
        let found = match name {
            "batch" => {
                value.parse().ok().filter(|n| (1..=4096).contains(n)).map(|n| self.batch = n)
            }
            "lr" => number(|x| x > 0.0).map(|x| self.lr = x),
            "tune-lr" => number(|x| x > 0.0).map(|x| self.tune_lr = x),
            "decay" => number(|x| x >= 0.0).map(|x| self.decay = x),
            "smoothing" => number(|x| (0.0..1.0).contains(&x)).map(|x| self.smoothing = x),
            "l1" => number(|x| x >= 0.0).map(|x| self.l1 = x),
            _ => {
                let known = "lr, tune-lr, batch, decay, smoothing, l1";
                return Err(format!("\"{name}\" cannot be searched; {known} can"));
            }
        };
        found.ok_or_else(|| format!("{name}={value} is out of range"))
    }
}

/// Values of settings: `lr=1e-3,1e-2:batch=16,32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grid(Vec<(String, Vec<String>)>);

impl FromStr for Grid {
    type Err = String;
    fn from_str(text: &str) -> Result<Grid, String> {
        let mut axes: Vec<(String, Vec<String>)> = Vec::new();
        for axis in text.split(':') {
            let (name, values) = axis
                .split_once('=')
                .ok_or_else(|| format!("\"{axis}\": write NAME=VALUE,..:NAME=VALUE,.."))?;
            if axes.iter().any(|(other, _)| other == name) {
                return Err(format!("{name} stands twice"));
            }
            let mut blank =
                Point { lr: 1.0, tune_lr: 1.0, batch: 1, decay: 0.0, smoothing: 0.0, l1: 0.0 };
            let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
            values.iter().try_for_each(|value| blank.set(name, value))?;
            axes.push((name.to_owned(), values));
        }
        let points = axes.iter().fold(1usize, |n, (_, values)| n.saturating_mul(values.len()));
        match points > MAX_POINTS {
            true => Err(format!("{points} combinations are more than {MAX_POINTS}")),
            false => Ok(Grid(axes)),
        }
    }
}

impl Grid {
    /// All combinations, the last setting changing fastest; each with its values as words.
    fn points(&self, base: Point) -> Vec<(Point, Vec<&str>)> {
        let mut points: Vec<(Point, Vec<&str>)> = vec![(base, Vec::new())];
        for (name, values) in &self.0 {
            let mut all = Vec::with_capacity(points.len() * values.len());
            for (point, words) in &points {
                for value in values {
                    let (mut point, words) = (*point, [&words[..], &[value.as_str()]].concat());
                    // A grid holds nothing that cannot be set.
                    let _ = point.set(name, value);
                    all.push((point, words));
                }
            }
            points = all;
        }
        points
    }
}

/// What a search has found.
pub(super) struct Found {
    /// The combination that validates best.
    pub(super) point: Point,
    /// Its network.
    pub(super) trained: Trained,
    /// For the report: each combination, and what it came to.
    pub(super) tried: Vec<(String, String)>,
}

/// Trains with every combination.
pub(super) fn run(run: &Run<'_>, grid: &Grid, base: Point, folder: &Path) -> Result<Found> {
    let names: Vec<&str> = grid.0.iter().map(|(name, _)| name.as_str()).collect();
    let head = [&names[..], &["accuracy", "macro F1", "loss", "epoch", ""]].concat();
    let mut table = text::table(&head, 0);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut best: Option<(usize, Point, Trained)> = None;
    for (at, (point, values)) in grid.points(base).into_iter().enumerate() {
        let own = folder.join(format!("search-{}", at + 1));
        std::fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
        let trained = run.train(&point, &own, &mut EventLog::create(&own)?);
        let trained = trained.with_context(|| own.display().to_string())?;
        let record = *trained.best();
        let mut row: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        row.extend([
            record.accuracy.map_or("-".into(), |x| format!("{:.1}%", 100.0 * x)),
            record.macro_f1.map_or("-".into(), |x| format!("{x:.3}")),
            format!("{:.3}", record.validation_loss.unwrap_or(record.loss)),
            trained.outcome.best.to_string(),
        ]);
        rows.push(row);
        if best.as_ref().is_none_or(|(_, _, before)| record.beats(before.best())) {
            best = Some((at, point, trained));
        }
    }
    let (chosen, point, trained) = best.context("the grid is empty")?;
    let mut tried = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let (values, found) = row.split_at(names.len());
        let settings: Vec<String> =
            names.iter().zip(values).map(|(name, value)| format!("{name} {value}")).collect();
        let mark = if at == chosen { "kept" } else { "" };
        let found = format!(
            "accuracy {}, macro F1 {}, loss {} in epoch {} {mark}",
            found[0], found[1], found[2], found[3]
        );
        tried.push((settings.join(", "), found.trim_end().to_owned()));
        table.add_row([&row[..], &[mark.to_owned()]].concat());
    }
    outln!("{table}");
    outln!("kept: {}", tried[chosen].0);
    Ok(Found { point, trained, tried })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Point =
        Point { lr: 0.1, tune_lr: 0.2, batch: 3, decay: 0.4, smoothing: 0.5, l1: 0.0 };

    #[test]
    fn grids_are_all_combinations() {
        let grid: Grid = "lr=1e-3,0.5:batch=8,16,32".parse().unwrap();
        let points = grid.points(BASE);
        assert_eq!(points.len(), 6);
        assert_eq!(points[0].0, Point { lr: 1e-3, batch: 8, ..BASE });
        assert_eq!(points[4], (Point { lr: 0.5, batch: 16, ..BASE }, vec!["0.5", "16"]));
        let one: Grid = "l1=1:decay=0:smoothing=0:tune-lr=9".parse().unwrap();
        let want = Point { l1: 1.0, decay: 0.0, smoothing: 0.0, tune_lr: 9.0, ..BASE };
        assert_eq!(one.points(BASE), [(want, vec!["1", "0", "0", "9"])]);
        for bad in
            ["", "lr", "lr=", "lr=0", "lr=1,x", "batch=0", "smoothing=1", "seed=1", "lr=1:lr=2"]
        {
            assert!(bad.parse::<Grid>().is_err(), "{bad}");
        }
        let many = vec!["1"; 40].join(",");
        let error = format!("lr={many}:decay={many}").parse::<Grid>().unwrap_err();
        assert!(error.contains("1600"), "{error}");
    }
}
