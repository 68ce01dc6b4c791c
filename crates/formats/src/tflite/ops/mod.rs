//! One converter per operator, in tables by kind.

mod activation;
mod arithmetic;
mod block;
mod context;
mod convolution;
mod custom;
mod fold;
mod linear;
mod parts;
mod picture;
mod reduce;
mod shape;
mod variable;

pub(super) use context::{Context, Fail};
pub(super) use custom::BUILT_IN as CUSTOM_BUILT_IN;
pub(super) use fold::Folds;

use super::custom::{CustomConvert, CustomNode, CustomOps};
use super::wire::{Model, Operator};
use depthwise_layers::ir::ValueId;
use std::sync::Arc;

/// Adds what an operator means to the graph, and gives its results.
pub(super) type Convert = fn(&mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail>;

/// A built-in operator.
pub(super) struct Row {
    /// Number in the list of built-in operators.
    code: i32,
    name: &'static str,
    convert: Convert,
}

const fn row(code: i32, name: &'static str, convert: Convert) -> Row {
    Row { code, name, convert }
}

const TABLES: &[&[Row]] = &[
    activation::ROWS,
    arithmetic::ROWS,
    block::ROWS,
    convolution::ROWS,
    linear::ROWS,
    parts::ROWS,
    picture::ROWS,
    reduce::ROWS,
    shape::ROWS,
];

/// Operators that change how a constant is stored, not what it is.
const DEQUANTIZE: i32 = 6;
const DENSIFY: i32 = 124;

const CUSTOM: i32 = 32;

/// Operators that are not converted, for messages.
const OTHERS: &[(i32, &str)] = &[
    (DEQUANTIZE, "DEQUANTIZE"),
    (7, "EMBEDDING_LOOKUP"),
    (12, "L2_POOL_2D"),
    (13, "LOCAL_RESPONSE_NORMALIZATION"),
    (16, "LSTM"),
    (24, "RNN"),
    (27, "SVDF"),
    (31, "CALL"),
    (44, "UNIDIRECTIONAL_SEQUENCE_LSTM"),
    (68, "SPARSE_TO_DENSE"),
    (80, "FAKE_QUANT"),
    (85, "ONE_HOT"),
    (91, "REDUCE_ANY"),
    (105, "REVERSE_V2"),
    (109, "WHERE"),
    (118, "IF"),
    (119, "WHILE"),
    (120, "NON_MAX_SUPPRESSION_V4"),
    (121, "NON_MAX_SUPPRESSION_V5"),
    (DENSIFY, "DENSIFY"),
    (128, "CUMSUM"),
    (132, "CONV_3D"),
    (206, "STABLEHLO_COMPOSITE"),
];

/// Longest name of a custom operator in a message.
const MAX_NAME: usize = 100;

fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten()
}

/// The kind of an operator, for messages; of a custom one the name that the file gives it.
pub(super) fn kind(model: &Model<'_>, operator: &Operator<'_>) -> String {
    match model.operator_codes.get(operator.code as usize) {
        None => format!("code {} of none", operator.code),
        Some(code) if code.builtin == CUSTOM => code.custom.chars().take(MAX_NAME).collect(),
        Some(code) => {
            let others = OTHERS.iter().map(|&(code, name)| (code, name));
            let others = others.chain(variable::ROWS.iter().map(|&(code, name, _)| (code, name)));
            let mut all = rows().map(|row| (row.code, row.name)).chain(others);
            let known = all.find(|&(number, _)| number == code.builtin);
            known.map_or_else(|| format!("operator {}", code.builtin), |(_, name)| name.into())
        }
    }
}

/// The names of all built-in operators that are converted.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let variables = variable::ROWS.iter().map(|&(_, name, _)| name);
    rows().map(|row| row.name).chain(["DEQUANTIZE", "DENSIFY"]).chain(variables)
}

/// The names of the custom operators that are known from the start.
pub(crate) fn custom_names() -> impl Iterator<Item = &'static str> {
    CUSTOM_BUILT_IN.iter().map(|&(name, _)| name)
}

/// The names of those that are not.
pub(crate) fn others() -> impl Iterator<Item = &'static str> {
    let restored = |code: i32| matches!(code, DEQUANTIZE | DENSIFY);
    OTHERS.iter().filter(move |(code, _)| !restored(*code)).map(|&(_, name)| name)
}

/// Numbers and names of all built-in operators that are converted.
#[cfg(test)]
pub(super) fn codes() -> impl Iterator<Item = (i32, &'static str)> {
    rows().map(|row| (row.code, row.name)).chain([(DEQUANTIZE, "DEQUANTIZE")])
}

/// How an operator is converted.
pub(super) enum Converter {
    BuiltIn(Convert),
    Custom(Arc<CustomConvert>),
    /// Of variables.
    Variable(variable::Convert),
    /// Its operand is a constant in another form.
    Restored,
}

impl Converter {
    /// The results; `None` for one that the importer knows already.
    pub(super) fn run(&self, c: &mut Context<'_, '_>) -> Result<Vec<Option<ValueId>>, Fail> {
        let results = match self {
            Converter::BuiltIn(convert) => convert(c)?,
            Converter::Custom(convert) => CustomNode::convert(c, &**convert)?,
            Converter::Variable(convert) => return convert(c),
            Converter::Restored => return Ok(vec![c.restored()?]),
        };
        let outputs = c.outputs();
        if results.len() < outputs {
            let reason = format!("{outputs} outputs, of which {} are known", results.len());
            return Err(Fail::Unsupported(reason));
        }
        Ok(results.into_iter().map(Some).collect())
    }
}

/// The converter for an operator.
pub(super) fn find(
    model: &Model<'_>,
    operator: &Operator<'_>,
    custom: &CustomOps,
) -> Result<Converter, Fail> {
    let unsupported = |reason: String| Err(Fail::Unsupported(reason));
    let Some(code) = model.operator_codes.get(operator.code as usize) else {
        return unsupported(format!("the file has no operator code {}", operator.code));
    };
    match code.builtin {
        CUSTOM => match custom.get(&code.custom) {
            Some(convert) => Ok(Converter::Custom(convert)),
            None => unsupported("no custom operator of this name is known".into()),
        },
        DEQUANTIZE | DENSIFY => Ok(Converter::Restored),
        118 | 119 | 31 => unsupported("operators that run other networks are not supported".into()),
        builtin => {
            let variable = variable::ROWS.iter().find(|(code, ..)| *code == builtin);
            match (rows().find(|row| row.code == builtin), variable) {
                (Some(row), _) => Ok(Converter::BuiltIn(row.convert)),
                (None, Some(&(_, _, convert))) => Ok(Converter::Variable(convert)),
                (None, None) => unsupported("it is not supported".into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn operators_stand_once_in_the_tables() {
        let mut codes = HashSet::new();
        assert!(rows().all(|row| codes.insert(row.code)));
        assert!(OTHERS.iter().all(|(code, _)| codes.insert(*code)));
    }
}
