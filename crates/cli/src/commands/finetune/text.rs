//! Texts: the vocabulary, and the network that reads it.

use super::Args;
use super::network::{Form, Network};
use crate::source::{self, Start};
use crate::training::{self, Prepared};
use anyhow::{Context, Result, ensure};
use depthwise_train::data::{Dataset, Splits};
use depthwise_train::text::{Synonyms, TextEncoder, VocabularyOptions, read_words};
use depthwise_zoo::{Random, TextCnn};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct TextArgs {
    /// DATA is a table of texts and labels without a head.
    #[arg(long)]
    pub(super) text: bool,
    /// Tokens of a text: more are cut off.
    #[arg(long, default_value_t = 64, value_name = "TOKENS", value_parser = clap::value_parser!(u16).range(1..))]
    length: u16,
    /// A tokenizer in the form of the `tokenizers` library (tokenizer.json), instead of a vocabulary of
    /// the words of the texts.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Most words of the vocabulary.
    #[arg(long, default_value_t = 20_000, value_name = "WORDS", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    vocabulary: u32,
    /// Words that occur less often in the texts to learn from stand for unknown ones.
    #[arg(long, default_value_t = 2, value_name = "TIMES")]
    min_count: usize,
    /// Words to be taken out of all texts, one per line.
    #[arg(long, value_name = "FILE")]
    stop_words: Option<PathBuf>,
    /// Rows `word,synonym,..`: words to be replaced at random in texts to learn from.
    #[arg(long, value_name = "FILE")]
    synonyms: Option<PathBuf>,
    /// Share of these words that is replaced.
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    synonym_share: f32,
    /// Extent of the embedding and channels of the convolutions.
    #[arg(long, default_value_t = 64, value_name = "CHANNELS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    width: u16,
}

/// The network and the texts to learn from and to validate with.
pub(super) fn load(args: &Args, threads: usize) -> Result<(Network, Prepared, Prepared)> {
    let words = &args.words;
    let (train, validation) = Splits::open_text(&args.data)?.parts(args.validation, args.seed)?;
    let synonyms = match &words.synonyms {
        Some(path) => Synonyms::open(path, words.synonym_share)?,
        None => Synonyms::default(),
    };
    let classes = train.classes.len();
    let (start, encoder) = match &args.from {
        None => from_scratch(words, &train, &synonyms)?,
        Some(from) => trained(words, from)?,
    };
    let augmentation = match &words.synonyms {
        Some(path) if !synonyms.is_empty() => {
            format!("{} of {} words", words.synonym_share, path.display())
        }
        _ => "none".into(),
    };
    let form = Form::Text { encoder: encoder.clone(), synonyms: augmentation };
    let network = Network::with_head(args, start, form, classes)?;
    let prepare = |data, synonyms| {
        training::prepare_texts(data, encoder.clone(), synonyms, args.seed, threads)
    };
    Ok((network, prepare(train, synonyms), prepare(validation, Synonyms::default())))
}

fn from_scratch(
    words: &TextArgs,
    train: &Dataset<Arc<str>>,
    synonyms: &Synonyms,
) -> Result<(Start, TextEncoder)> {
    let stop_words = match &words.stop_words {
        Some(path) => read_words(path)?,
        None => Default::default(),
    };
    let length = words.length.into();
    let encoder = match &words.tokenizer {
        Some(path) => TextEncoder::of_tokenizer(path, length, stop_words)?,
        None => {
            let options = VocabularyOptions {
                length,
                most: words.vocabulary as usize,
                least_count: words.min_count,
                stop_words,
            };
            TextEncoder::of_words(train.samples.iter().map(|s| &*s.item), synonyms, options)?
        }
    };
    let net = TextCnn { width: words.width.into(), ..TextCnn::new(encoder.size(), length) };
    // The last layer is replaced.
    let graph = net.build(&Random { seed: 1 })?;
    let name = graph.name.clone();
    Ok((Start { graph, preset: None, name, fresh: true }, encoder))
}

/// A model that was trained on texts before.
fn trained(words: &TextArgs, from: &str) -> Result<(Start, TextEncoder)> {
    ensure!(
        words.tokenizer.is_none() && words.stop_words.is_none(),
        "--from {from}: it has its own words; leave out --tokenizer and --stop-words"
    );
    let start = source::start(Some(from))?;
    let encoder = TextEncoder::from_metadata(&start.graph.metadata)?;
    let encoder = encoder.with_context(|| format!("{from} does not read text"))?;
    Ok((start, encoder))
}
