//! One converter per operator, in tables by kind.

mod activation;
mod constant;
mod context;
mod crop;
mod einsum;
mod elementary;
mod indexing;
mod linear;
mod masks;
mod math;
mod norm;
mod picture;
mod places;
mod quantize;
mod reduce;
mod resize;
mod shape;
mod transposed;
mod volume;

pub(super) use context::{Context, Fail};

use depthwise_layers::ir::ValueId;

/// Newest operator set that the converters were written for.
const NEWEST: i64 = 28;

/// Oldest operator set that is read.
const OLDEST: i64 = 7;

/// Adds what a node means to the graph, and gives its results.
pub(super) type Convert = fn(&mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail>;

/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

/// An operator of the standard set.
pub(super) struct Row {
    op_type: &'static str,
    /// First and last version of the operator set for which `convert` is right.
    since: i64,
    until: i64,
    convert: Convert,
}

/// An operator that has been there since version `since`.
const fn row(op_type: &'static str, since: i64, convert: Convert) -> Row {
    Row { op_type, since, until: NEWEST, convert }
}

const TABLES: &[&[Row]] = &[
    activation::ROWS,
    constant::ROWS,
    einsum::ROWS,
    elementary::ROWS,
    indexing::ROWS,
    linear::ROWS,
    masks::ROWS,
    math::ROWS,
    norm::ROWS,
    picture::ROWS,
    places::ROWS,
    quantize::ROWS,
    reduce::ROWS,
    resize::ROWS,
    shape::ROWS,
    transposed::ROWS,
];

/// Operators that are not converted for a reason of their own, and the reason.
const REFUSED: &[(&[&str], &str)] = &[
    (&["If", "Loop", "Scan"], "operators that hold graphs are not supported"),
    (
        &["Compress", "NonMaxSuppression", "NonZero", "Unique"],
        "the size of its result depends on values, but all sizes are fixed before a run",
    ),
    (&["DeformConv"], "windows whose taps move with the data are not supported"),
    (&["RoiAlign"], "windows that come with the data are not supported"),
    (&["GRU", "LSTM", "RNN"], "recurrent layers are not supported"),
    (
        &[
            "Attention",
            "CausalConvWithState",
            "LinearAttention",
            "RotaryEmbedding",
            "TensorScatter",
        ],
        "attention and the caches of language models are not supported",
    ),
    (
        &["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"],
        "losses are for training, which takes networks without them",
    ),
    (
        &[
            "Bernoulli",
            "Multinomial",
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
        ],
        "random results are not supported",
    ),
    (
        &["BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"],
        "operations on bits are not supported",
    ),
    (
        &["BlackmanWindow", "DFT", "HammingWindow", "HannWindow", "MelWeightMatrix", "STFT"],
        "spectra are not supported; a network takes its features as inputs",
    ),
    (
        &[
            "ConcatFromSequence",
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SequenceMap",
            "SplitToSequence",
        ],
        "sequences and optional values are not supported",
    ),
    (
        &[
            "ImageDecoder",
            "RegexFullMatch",
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "TfIdfVectorizer",
        ],
        "texts and encoded pictures are not supported",
    ),
];

/// Names of all operators that are converted, those of ONNX Runtime's own domain last.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let microsoft = quantize::MICROSOFT.iter();
    TABLES.iter().copied().flatten().chain(microsoft).map(|row| row.op_type)
}

/// The converter for an operator of a domain (empty: the standard one) at the version that the
/// model asks for.
pub(super) fn find(domain: &str, op_type: &str, version: Option<i64>) -> Result<Convert, Fail> {
    let unsupported = |reason: &str| Err(Fail::Unsupported(reason.to_owned()));
    if domain == MICROSOFT
        && let Some(row) = quantize::MICROSOFT.iter().find(|row| row.op_type == op_type)
    {
        return Ok(row.convert);
    }
    if !domain.is_empty() {
        let reason = format!("no operators of the domain \"{domain}\" are supported");
        return unsupported(&reason);
    }
    let rows = TABLES.iter().copied().flatten();
    let Some(row) = rows.into_iter().find(|row| row.op_type == op_type) else {
        let refused = REFUSED.iter().find(|(names, _)| names.contains(&op_type));
        return unsupported(match refused {
            Some((_, reason)) => reason,
            None => "there is no such operator, or it is not supported",
        });
    };
    match version {
        None => unsupported("the model does not say which operator set it uses"),
        Some(version) if version < OLDEST => {
            unsupported(&format!("operator set {version} is too old; {OLDEST} is the oldest read"))
        }
        Some(version) if version < row.since => unsupported(&format!(
            "it came with operator set {}, but the model uses {version}",
            row.since
        )),
        Some(version) if version > row.until => unsupported(&format!(
            "the model uses operator set {version}; {} is the newest in which it is known",
            row.until
        )),
        Some(_) => Ok(row.convert),
    }
}
