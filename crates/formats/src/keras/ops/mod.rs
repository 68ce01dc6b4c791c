//! What every layer of Keras means. One table; each row connects a class with a function that
//! builds its nodes.

mod activation;
mod arithmetic;
mod context;
mod convolution;
mod lambda;
mod norm;
mod picture;
mod shape;

pub(super) use context::{Context, Fail, Operand};

use super::model::Layer;
use depthwise_layers::ir::ValueId;

type Convert = fn(&mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail>;

/// A class, and what builds its nodes.
struct Row {
    class: &'static str,
    convert: Convert,
}

const fn row(class: &'static str, convert: Convert) -> Row {
    Row { class, convert }
}

/// Classes of layers, one list per file.
const LAYERS: &[&[Row]] = &[
    activation::ROWS,
    arithmetic::ROWS,
    convolution::ROWS,
    norm::ROWS,
    picture::ROWS,
    shape::ROWS,
];

/// The class of a layer, or the function that it calls.
pub(super) fn kind<'m>(layer: &Layer<'m>) -> &'m str {
    lambda::function(layer).unwrap_or(layer.class)
}

/// Builds the nodes of a layer.
pub(super) fn convert(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let layer = c.layer;
    let rows = if lambda::function(layer).is_some() {
        &[lambda::FUNCTIONS][..]
    } else if layer.module.contains(".ops.") {
        &[lambda::OPERATIONS][..]
    } else {
        LAYERS
    };
    let class = kind(layer);
    let Some(row) = rows.iter().copied().flatten().find(|row| row.class == class) else {
        let reason = match layer.class {
            "Lambda" => "it is Python code; put layers in its place",
            _ if lambda::function(layer).is_some() => "this function is not supported",
            _ => "this class is not supported",
        };
        return context::unsupported(reason);
    };
    c.check_policy()?;
    let results = (row.convert)(c)?;
    c.check_all_read()?;
    Ok(results)
}

/// All classes of layers that are converted.
pub(crate) fn classes() -> impl Iterator<Item = &'static str> {
    LAYERS.iter().copied().flatten().map(|row| row.class)
}
