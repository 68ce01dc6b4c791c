//! `cargo xtask accuracy --bf16`: what products of bfloat16 do to the classifiers, on any CPU.

use super::{Subject, files, find, verdict};
use crate::workspace;
use anyhow::{Result, bail, ensure};
use depthwise_engine::{Model, Options, Precision};
use depthwise_vision::{Picture, Preprocess};
use std::path::Path;

/// Photos on which the class of single precision has to come out, of 13.
const AGREE: usize = 12;

pub(super) fn run(models: &Path, only: Option<&str>) -> Result<()> {
    let header = ["network", "top-1 as f32", "largest logit", "max abs", "mean abs", ""];
    let mut table = workspace::table(&header, &[1, 2, 3, 4]);
    let mut failures = 0;
    for subject in find(models, false)?.0 {
        if subject.photos.is_none() || only.is_some_and(|text| !subject.name.contains(text)) {
            continue;
        }
        eprintln!("{} ...", subject.name);
        let found = compare(&subject, &models.join("photos"))?;
        let passed = found.agreed >= AGREE;
        failures += usize::from(!passed);
        table.add_row([
            subject.name.clone(),
            format!("{} of {}", found.agreed, found.photos),
            format!("{:.2}", found.largest),
            format!("{:.3}", found.max_abs),
            format!("{:.4}", found.sum_abs / found.logits.max(1) as f64),
            verdict(passed).into(),
        ]);
    }
    println!("{}\n", table.trim_fmt());
    ensure!(failures == 0, "accuracy: {failures} networks differ in bfloat16");
    Ok(())
}

#[derive(Default)]
struct Found {
    photos: usize,
    agreed: usize,
    /// Magnitude of the largest logit of single precision.
    largest: f32,
    max_abs: f32,
    sum_abs: f64,
    logits: usize,
}

/// A classifier on all photos in both precisions.
fn compare(subject: &Subject, photos: &Path) -> Result<Found> {
    let Some((normalize, _)) = subject.photos else {
        bail!("{} is no classifier", subject.name);
    };
    let prepare = Preprocess::classifier(224, normalize);
    let session = |precision| {
        let options = Options { precision, ..Options::default() };
        Model::from_graph(subject.graph.clone(), options)?.session()
    };
    let (mut single, mut rounded) = (session(Precision::F32)?, session(Precision::Bf16Emulated)?);
    let mut found = Found::default();
    for path in files(photos)?.iter().filter(|path| path.extension().is_some()) {
        let picture = Picture::open(path)?;
        for session in [&mut single, &mut rounded] {
            prepare.write(&picture, session.input_mut(0)?)?;
            session.run();
        }
        let (want, got) = (single.output::<f32>(0)?, rounded.output::<f32>(0)?);
        let best =
            |logits: &[f32]| (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        found.photos += 1;
        found.agreed += usize::from(best(got) == best(want));
        found.logits += want.len();
        for (got, want) in got.iter().zip(want) {
            found.largest = found.largest.max(want.abs());
            found.max_abs = found.max_abs.max((got - want).abs());
            found.sum_abs += f64::from((got - want).abs());
        }
    }
    Ok(found)
}
