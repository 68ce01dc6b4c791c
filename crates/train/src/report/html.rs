//! The page.

use super::plot::{Curve, curves};
use super::{Mistake, Report};
use crate::FitError;
use crate::data::Example;
use crate::metrics::Metrics;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use depthwise_tensor::Hw;
use depthwise_vision::{Interpolation, Picture};
use std::fmt::Write as _;
use std::path::Path;

/// Longest side of a thumbnail, in pixels.
const THUMBNAIL: usize = 128;
/// Files and lines that the page names of those left out.
const SKIPPED_SHOWN: usize = 100;
/// Most classes whose confusion is shown as a table.
const CONFUSION_SHOWN: usize = 60;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8886;--faint:#8889}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em}\
h1{font-size:1.6em;overflow-wrap:anywhere}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid var(--line)}\
.wide{overflow-x:auto}table{border-collapse:collapse}td,th{padding:.15em .7em;text-align:right}\
th:first-child,td:first-child{text-align:left;max-width:22em;overflow-wrap:anywhere}\
thead th{border-bottom:1px solid var(--line)}td.text{text-align:left;overflow-wrap:anywhere}\
.cards{display:flex;flex-wrap:wrap;gap:1em}.card{border:1px solid var(--line);border-radius:6px;padding:.6em 1.2em}\
.card b{display:block;font-size:1.5em}.plots{display:flex;flex-wrap:wrap;gap:1em}\
.plots svg{max-width:100%;height:auto}\
.confusion td,.confusion th{padding:.2em .5em;text-align:center;font-size:.85em;white-space:nowrap}\
.confusion th span{display:block;overflow:hidden;text-overflow:ellipsis}\
.confusion th.row{text-align:right}.confusion th.row span{max-width:14em}\
.confusion th.column{vertical-align:bottom}\
.confusion th.column span{writing-mode:vertical-rl;transform:rotate(180deg);max-height:14em}\
.confusion td{border:1px solid var(--line);min-width:1.6em}\
.mistakes{display:flex;flex-wrap:wrap;gap:1em}.mistakes figure{margin:0;width:150px;font-size:.85em;overflow-wrap:anywhere}\
.mistakes figure.text{width:270px;border-left:3px solid var(--line);padding-left:.8em}\
.mistakes blockquote{margin:0 0 .4em;max-height:9em;overflow-y:auto}\
.mistakes img{max-width:128px;max-height:128px}.path{color:GrayText}";

pub(super) fn page(report: &Report) -> Result<String, FitError> {
    let mut page = String::new();
    let title = escape(&report.title);
    page += &format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    if let Some(metrics) = &report.metrics {
        page += &cards(metrics);
    }
    if !report.history.is_empty() {
        page += &training(report)?;
    }
    if let Some(metrics) = &report.metrics {
        page += &classes(report, metrics);
        page += &confusion(&report.classes, metrics);
    }
    page += &mistakes(report);
    page += &skipped(report);
    page += &settings(report);
    page += "</body></html>\n";
    Ok(page)
}

fn cards(metrics: &Metrics) -> String {
    let mut cards = vec![("accuracy", percent(metrics.accuracy))];
    cards.extend(metrics.top5.map(|x| ("among the first five", percent(x))));
    cards.push(("macro F1", format!("{:.3}", metrics.macro_f1)));
    cards.extend(metrics.roc_auc.map(|x| ("area under ROC", format!("{x:.3}"))));
    cards.push(("loss", format!("{:.3}", metrics.loss)));
    cards.push(("samples", metrics.samples.to_string()));
    let card =
        |(name, value): (&str, String)| format!("<div class=\"card\"><b>{value}</b>{name}</div>");
    let cards: String = cards.into_iter().map(card).collect();
    format!(
        "<p>On samples that the network did not learn from:</p><div class=\"cards\">{cards}</div>\n"
    )
}

fn training(report: &Report) -> Result<String, FitError> {
    let history = &report.history;
    let loss = curves(
        "Loss",
        &[
            Curve::of("training", history, |e| Some(e.loss)),
            Curve::of("validation", history, |e| e.validation_loss),
        ],
    )?;
    let quality = curves(
        "Quality on validation",
        &[
            Curve::of("accuracy", history, |e| e.accuracy),
            Curve::of("macro F1", history, |e| e.macro_f1),
        ],
    )?;
    let rate = curves("Learning rate", &[Curve::of("rate", history, |e| Some(f64::from(e.rate)))])?;
    let seconds: f64 = history.iter().map(|e| e.seconds).sum();
    Ok(format!(
        "<h2>Training</h2><p>{} epochs in {seconds:.1} s; epoch {} was kept.</p>\
         <div class=\"plots\">{loss}{quality}{rate}</div>\n",
        history.len(),
        report.best
    ))
}

fn classes(report: &Report, metrics: &Metrics) -> String {
    let mut rows = String::new();
    for (i, (name, class)) in report.classes.iter().zip(&metrics.classes).enumerate() {
        let trained = report.counts.get(i).map_or(String::new(), |c| c.0.to_string());
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{trained}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td></tr>",
            escape(name),
            class.support,
            class.precision,
            class.recall,
            class.f1
        );
    }
    format!(
        "<h2>Classes</h2><div class=\"wide\"><table><thead><tr><th>class</th><th>trained on</th><th>tested on</th>\
         <th>precision</th><th>recall</th><th>F1</th></tr></thead>{rows}<tr><td><i>mean</i></td>\
         <td></td><td></td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td></tr></table></div>\n",
        metrics.macro_precision, metrics.macro_recall, metrics.macro_f1
    )
}

fn confusion(classes: &[String], metrics: &Metrics) -> String {
    let head = "<h2>Confusion</h2>";
    if classes.len() > CONFUSION_SHOWN {
        return format!("{head}<p>{} classes are too many for a table.</p>\n", classes.len());
    }
    // Long names are cut short; pointing at them shows the whole.
    let header = |kind: &str, name: &String| {
        let name = escape(name);
        format!("<th class=\"{kind}\" title=\"{name}\"><span>{name}</span></th>")
    };
    let columns: String = classes.iter().map(|name| header("column", name)).collect();
    let mut rows = String::new();
    for (right, (name, row)) in classes.iter().zip(&metrics.confusion).enumerate() {
        let total = row.iter().sum::<u64>().max(1) as f64;
        let cells: String = row
            .iter()
            .enumerate()
            .map(|(predicted, &n)| {
                let share = n as f64 / total;
                let color = if right == predicted { "34,120,180" } else { "214,80,20" };
                let ink = if share > 0.5 { ";color:#fff" } else { "" };
                if n == 0 {
                    "<td></td>".to_owned()
                } else {
                    format!("<td style=\"background:rgba({color},{share:.3}){ink}\">{n}</td>")
                }
            })
            .collect();
        let _ = write!(rows, "<tr>{}{cells}</tr>", header("row", name));
    }
    format!(
        "{head}<p>Rows: the right class. Columns: what it was taken for.</p>\
         <div class=\"confusion wide\"><table><tr><th></th>{columns}</tr>{rows}</table></div>\n"
    )
}

fn mistakes(report: &Report) -> String {
    if report.mistakes.is_empty() {
        return String::new();
    }
    let figure = |mistake: &Mistake| {
        let name = |class: usize| report.classes.get(class).map_or("?".into(), |n| escape(n));
        let (kind, shown, path) = match &mistake.example {
            Example::Picture(path) => {
                let image = match thumbnail(path) {
                    Some(png) => format!("<img alt=\"\" src=\"data:image/png;base64,{png}\">"),
                    None => "<i>cannot be read any more</i>".into(),
                };
                let path = escape(&path.display().to_string());
                ("picture", image, format!("<div class=\"path\">{path}</div>"))
            }
            Example::Text(text) => {
                let text = escape(text);
                ("text", format!("<blockquote>{text}</blockquote>"), String::new())
            }
        };
        format!(
            "<figure class=\"{kind}\">{shown}<figcaption><b>{}</b> taken for <b>{}</b><br>{} for the \
             right class{path}</figcaption></figure>",
            name(mistake.right),
            name(mistake.predicted),
            percent(f64::from(mistake.probability)),
        )
    };
    let figures: String = report.mistakes.iter().map(figure).collect();
    format!("<h2>Worst mistakes</h2><div class=\"mistakes\">{figures}</div>\n")
}

/// A small PNG in base 64.
fn thumbnail(path: &Path) -> Option<String> {
    let picture = Picture::open(path).ok()?;
    let longest = picture.width().max(picture.height());
    let side = |extent: usize| (extent * THUMBNAIL / longest).max(1);
    let small = if longest > THUMBNAIL {
        let hw = Hw { h: side(picture.height()), w: side(picture.width()) };
        picture.resize(hw, Interpolation::Bilinear).ok()?
    } else {
        picture
    };
    Some(STANDARD.encode(small.to_png().ok()?))
}

fn skipped(report: &Report) -> String {
    if report.skipped.is_empty() {
        return String::new();
    }
    let row = |s: &crate::data::Skipped| {
        let place = escape(&s.place());
        format!(
            "<tr><td class=\"path\">{place}</td><td class=\"text\">{}</td></tr>",
            escape(&s.reason)
        )
    };
    let rows: String = report.skipped.iter().take(SKIPPED_SHOWN).map(row).collect();
    let more = match report.skipped.len().saturating_sub(SKIPPED_SHOWN) {
        0 => String::new(),
        n => format!("<p>and {n} more</p>"),
    };
    format!(
        "<h2>Left out ({})</h2><div class=\"wide\"><table>{rows}</table></div>{more}\n",
        report.skipped.len()
    )
}

fn settings(report: &Report) -> String {
    let row = |(name, value): &(String, String)| {
        format!("<tr><td>{}</td><td class=\"text\">{}</td></tr>", escape(name), escape(value))
    };
    let rows: String = report.settings.iter().map(row).collect();
    format!("<h2>Settings</h2><table>{rows}</table>\n")
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Skipped;
    use crate::fit::EpochRecord;

    fn report(picture: &Path) -> Report {
        let epoch = |epoch: usize| EpochRecord {
            epoch,
            loss: 0.25 * (4 - epoch) as f64,
            validation_loss: Some(1.0),
            accuracy: Some(0.5),
            macro_f1: Some(0.375),
            rate: 0.01,
            seconds: 0.5,
        };
        Report {
            title: "cats & <dogs>".into(),
            settings: vec![("learning rate".into(), "0.01".into())],
            classes: vec!["cat".into(), "<script>".into()],
            counts: vec![(10, 2), (12, 3)],
            history: (1..=3).map(epoch).collect(),
            best: 3,
            metrics: Some(Metrics::of(&[0.9, 0.1, 0.7, 0.3], &[0, 1], 2)),
            mistakes: vec![Mistake {
                example: Example::Picture(picture.to_owned()),
                right: 1,
                predicted: 0,
                probability: 0.3,
            }],
            skipped: vec![Skipped::file("bad.jpg", "no picture")],
        }
    }

    #[test]
    fn a_page_holds_all_it_shows_and_escapes_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let picture = Picture::from_raw(300, 150, vec![77; 300 * 150 * 3]).unwrap();
        std::fs::write(&path, picture.to_png().unwrap()).unwrap();
        let mut report = report(&path);
        let text = Example::Text("a <b> of text".into());
        report.mistakes.push(Mistake { example: text, ..report.mistakes[0].clone() });
        let page = report.page().unwrap();
        for want in [
            "cats &amp; &lt;dogs&gt;",
            "50.0%",
            "&lt;script&gt;",
            "bad.jpg",
            "epoch 3 was kept",
            "a &lt;b&gt; of text",
        ] {
            assert!(page.contains(want), "{want}");
        }
        assert!(!page.contains("<script"), "class names are text");
        assert!(
            !page.contains("http:")
                || page.matches("http://www.w3.org").count() == page.matches("http:").count()
        );
        assert_eq!(page.matches("<svg").count(), 3);
        let at = page.find("base64,").unwrap() + 7;
        let end = at + page[at..].find('"').unwrap();
        let png = STANDARD.decode(&page[at..end]).unwrap();
        assert_eq!(Picture::decode(&png).unwrap().hw(), Hw { h: 64, w: 128 });
    }

    #[test]
    fn records_survive_and_broken_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let report = report(Path::new("gone.png"));
        let page = report.save(folder.path()).unwrap();
        assert!(std::fs::read_to_string(page).unwrap().contains("cannot be read any more"));
        assert_eq!(Report::open(folder.path()).unwrap(), report);
        let record = folder.path().join("run.json");
        let text = std::fs::read_to_string(&record).unwrap();
        std::fs::write(&record, text.replace("\"predicted\": 0", "\"predicted\": 9")).unwrap();
        assert!(Report::open(folder.path()).is_err());
        std::fs::write(&record, &text[..text.len() / 2]).unwrap();
        assert!(Report::open(folder.path()).is_err());
    }

    #[test]
    fn curves_draw_with_one_epoch_and_without_values() {
        let none = Curve { name: "none", points: vec![] };
        let one = Curve { name: "one", points: vec![(1.0, 0.0)] };
        assert!(curves("empty", &[none, one]).unwrap().contains("</svg>"));
    }
}
