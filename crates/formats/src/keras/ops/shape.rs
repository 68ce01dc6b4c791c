//! Layers that change no element: extents, the order of axes, and what only training sees; and
//! tables that are looked up.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Cast, Flatten, Gather, Tile, Transpose, Unsqueeze};
use depthwise_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    row("ActivityRegularization", identity),
    row("AlphaDropout", identity),
    row("Dropout", identity),
    row("Embedding", embedding),
    row("Flatten", |c| {
        c.channels_last()?;
        let x = c.input()?;
        Ok(vec![c.add("", Flatten { axis: 1 }, &[x])?])
    }),
    row("GaussianDropout", identity),
    row("GaussianNoise", identity),
    row("Permute", permute),
    row("RandomBrightness", identity),
    row("RandomContrast", identity),
    row("RandomFlip", identity),
    row("RandomRotation", identity),
    row("RandomTranslation", identity),
    row("RandomZoom", identity),
    row("RepeatVector", repeat_vector),
    row("Reshape", reshape),
    row("SpatialDropout1D", identity),
    row("SpatialDropout2D", identity),
];

/// What does something in training only.
fn identity(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input()?;
    c.ignore_settings();
    Ok(vec![x])
}

/// `dims` counts the axes from 1, without that of the samples.
fn permute(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let dims = c.ints("dims")?.unwrap_or_default();
    let x = c.input()?;
    let mut sorted = dims.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(1..=dims.len() as i64) {
        return unsupported(format!("dims = {dims:?} is no order of axes"));
    }
    let perm = std::iter::once(0).chain(dims.iter().map(|&axis| axis as usize)).collect();
    Ok(vec![c.add("", Transpose { perm }, &[x])?])
}

fn repeat_vector(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let count = match c.int("n")? {
        Some(n) if n > 0 => n,
        n => return unsupported(format!("n = {n:?}")),
    };
    let x = c.input()?;
    let x = c.add("row", Unsqueeze { axes: vec![1] }, &[x])?;
    let repeats = c.list("repeats", &[1, count, 1]);
    Ok(vec![c.add("", Tile, &[x, repeats])?])
}

/// The samples stay apart: the first extent is copied.
fn reshape(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let target = c.ints("target_shape")?.unwrap_or_default();
    if target.iter().any(|&extent| extent == 0 || extent < -1) {
        return unsupported(format!("target_shape = {target:?} is not supported"));
    }
    let x = c.input()?;
    let dims: Vec<i64> = std::iter::once(0).chain(target).collect();
    Ok(vec![c.reshape("", x, &dims)?])
}

fn embedding(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    if c.flag("mask_zero", false)? {
        return unsupported("mask_zero = true is not supported");
    }
    // The shape of the table says it as well; the length is that of the input.
    c.ignore(&["input_dim", "output_dim", "input_length", "lora_rank", "lora_alpha"]);
    let mut x = c.input()?;
    if !c.is_integer(x) {
        x = c.add("numbers", Cast { to: DType::I32 }, &[x])?;
    }
    let table = c.plain_weight(&["embeddings"], 0)?;
    Ok(vec![c.add("", Gather { axis: 0 }, &[table, x])?])
}
