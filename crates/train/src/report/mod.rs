//! What a run leaves behind: a record, an event log for TensorBoard, and a page to look at.

mod events;
mod html;
mod plot;

pub use events::EventLog;

use crate::FitError;
use crate::data::{Dataset, Example, Skipped};
use crate::fit::{EpochRecord, Predictions};
use crate::metrics::Metrics;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Everything about a run that the page shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Head of the page.
    pub title: String,
    /// What was run and with which settings: name and value.
    pub settings: Vec<(String, String)>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training and validation samples of each class.
    pub counts: Vec<(usize, usize)>,
    /// The epochs; none for an evaluation.
    pub history: Vec<EpochRecord>,
    /// The epoch that was kept, from 1; 0 for an evaluation.
    pub best: usize,
    /// How good the network is on the samples that it did not learn from.
    pub metrics: Option<Metrics>,
    /// The worst mistakes.
    pub mistakes: Vec<Mistake>,
    /// Files and lines left out.
    pub skipped: Vec<Skipped>,
}

/// A sample that was taken for something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// The sample.
    pub example: Example,
    /// Number of its class.
    pub right: usize,
    /// Number of the class it was taken for.
    pub predicted: usize,
    /// Probability that its own class was given.
    pub probability: f32,
}

impl Mistake {
    /// The worst of the mistakes in predictions for a dataset, `most` of them.
    pub fn worst(data: &Dataset<Example>, predictions: &Predictions, most: usize) -> Vec<Mistake> {
        let worst = predictions.worst(data.classes.len(), most).into_iter();
        let mistake = |(sample, predicted, probability): (usize, usize, f32)| {
            let sample = &data.samples[sample];
            Mistake { example: sample.item.clone(), right: sample.label, predicted, probability }
        };
        worst.map(mistake).collect()
    }
}

/// Name of the record in the folder of a run.
const RECORD: &str = "run.json";
/// Name of the page in the folder of a run.
const PAGE: &str = "report.html";

impl Report {
    /// Writes record and page into the folder of a run; gives the page's path.
    ///
    /// # Errors
    /// Where they cannot be written or a curve cannot be drawn.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, FitError> {
        let record = folder.join(RECORD);
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| FitError::data(&record, e.to_string()))?;
        write_whole(&record, text.as_bytes())?;
        let page = folder.join(PAGE);
        self.save_page(&page)?;
        Ok(page)
    }

    /// Writes the page alone.
    ///
    /// # Errors
    /// As [`Report::save`].
    pub fn save_page(&self, path: &Path) -> Result<(), FitError> {
        write_whole(path, self.page()?.as_bytes())
    }

    /// Reads the record in the folder of a run.
    ///
    /// # Errors
    /// [`FitError::Io`] where there is none, [`FitError::Data`] where it is broken.
    pub fn open(folder: &Path) -> Result<Report, FitError> {
        let record = folder.join(RECORD);
        let text = std::fs::read_to_string(&record).map_err(FitError::io(&record))?;
        let report: Report = serde_json::from_str(&text)
            .map_err(|e| FitError::data(&record, format!("no record of a run: {e}")))?;
        report.check().map_err(|what| FitError::data(&record, what))?;
        Ok(report)
    }

    /// The page: one HTML file with all pictures in it.
    ///
    /// # Errors
    /// [`FitError::Draw`] where a curve cannot be drawn.
    pub fn page(&self) -> Result<String, FitError> {
        html::page(self)
    }

    /// Whether numbers of classes are those of classes that there are.
    fn check(&self) -> Result<(), &'static str> {
        let n = self.classes.len();
        let known = self.mistakes.iter().all(|m| m.right < n && m.predicted < n);
        let square = self.metrics.as_ref().is_none_or(|m| {
            m.classes.len() == n
                && m.confusion.len() == n
                && m.confusion.iter().all(|r| r.len() == n)
        });
        match (known, square) {
            (true, true) => Ok(()),
            (false, _) => Err("a mistake names a class that is not there"),
            (_, false) => Err("the metrics are not of these classes"),
        }
    }
}

/// Writes a file that appears whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FitError> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(FitError::io(path))
}
