//! `depthwise report`: the page of a run, once more.

use crate::text::outln;
use anyhow::Result;
use depthwise_train::report::Report;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads run.json of a folder that `finetune` made and writes its page: curves, figures of every class,
confusion, the worst mistakes as thumbnails, files left out. The page is one file without links to
others. The pictures of the mistakes are read again from where they were.

Examples:
  depthwise report flowers.run
  depthwise report flowers.run -o flowers.html")]
pub(crate) struct Args {
    /// The folder of a run.
    run: PathBuf,
    /// Where to write the page; `report.html` in the folder unless given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let report = Report::open(&args.run)?;
    let page = match &args.output {
        Some(page) => {
            report.save_page(page)?;
            page.clone()
        }
        None => report.save(&args.run)?,
    };
    if let Some(metrics) = &report.metrics {
        crate::training::print(&report.classes, metrics)?;
    }
    outln!("{} written", page.display());
    Ok(())
}
