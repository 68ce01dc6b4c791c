//! Pools, interpolation, blocks of pixels.

use super::convolution::Window;
use super::moving::ordered;
use super::values::{Form, TO_NCHW, Writer, operand, optional};
use super::{Attr, Refused, refuse};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{
    Coordinates, DepthToSpace, MaxPositions, NearestRounding, Pool2d, PoolKind, Resize, ResizeMode,
    SpaceToDepth,
};
use depthwise_tensor::{Hw, Tensor};

pub(super) fn pool2d(w: &mut Writer<'_>, node: &Node, op: &Pool2d) -> Result<(), Refused> {
    let x = operand(node, 0)?;
    let (kernel, stride, dilation, padding) = (op.kernel, op.stride, op.dilation, op.padding);
    let window = Window { kernel, stride, dilation, padding };
    let mut attributes = window.attributes(w, x)?;
    if op.ceil_mode {
        attributes.push(("ceil_mode", Attr::Int(1)));
    }
    let op_type = match op.kind {
        PoolKind::Max => "MaxPool",
        PoolKind::Average { include_pad } => {
            if include_pad {
                attributes.push(("count_include_pad", Attr::Int(1)));
            }
            "AveragePool"
        }
    };
    let inputs = vec![w.get(x, Form::Nchw)?];
    w.result(node.outputs[0], Form::Nchw, op_type, inputs, attributes);
    Ok(())
}

/// A MaxPool of which only the second result is used.
pub(super) fn max_positions(
    w: &mut Writer<'_>,
    node: &Node,
    op: &MaxPositions,
) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let (kernel, stride, dilation, padding) = (op.kernel, op.stride, op.dilation, op.padding);
    let window = Window { kernel, stride, dilation, padding };
    let mut attributes = window.attributes(w, x)?;
    attributes.push(("ceil_mode", Attr::Int(op.ceil_mode.into())));
    attributes.push(("storage_order", Attr::Int(op.column_major.into())));
    let inputs = vec![w.get(x, Form::Nchw)?];
    let (unused, name) = (w.fresh("unused"), w.name_of_result(y, Form::Nchw));
    w.push("MaxPool", inputs, vec![unused, name.clone()], attributes);
    w.alias(y, Form::Nchw, name);
    Ok(())
}

fn block(block: Hw) -> Result<(&'static str, Attr), Refused> {
    match block.h == block.w {
        true => Ok(("blocksize", Attr::Int(block.h as i64))),
        false => refuse(format!("blocks of {block} pixels, which are not square")),
    }
}

pub(super) fn depth_to_space(
    w: &mut Writer<'_>,
    node: &Node,
    op: &DepthToSpace,
) -> Result<(), Refused> {
    let attributes = vec![block(op.block)?, ("mode", Attr::Text("DCR"))];
    let inputs = vec![w.get(operand(node, 0)?, Form::Nchw)?];
    w.result(node.outputs[0], Form::Nchw, "DepthToSpace", inputs, attributes);
    Ok(())
}

pub(super) fn space_to_depth(
    w: &mut Writer<'_>,
    node: &Node,
    op: &SpaceToDepth,
) -> Result<(), Refused> {
    let attributes = vec![block(op.block)?];
    let inputs = vec![w.get(operand(node, 0)?, Form::Nchw)?];
    w.result(node.outputs[0], Form::Nchw, "SpaceToDepth", inputs, attributes);
    Ok(())
}

/// Interpolation over rows and columns is written as NCHW, which other engines know best; over
/// other axes in the order that the operand has.
pub(super) fn resize(w: &mut Writer<'_>, node: &Node, op: &Resize) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let (sizes, scales) = (optional(node, 1), optional(node, 2));
    let form = match w.rank(x) {
        4 if w.known.extent(x, 3).is_some() && w.known.extent(x, 3) == w.known.extent(y, 3) => {
            match w.native(x) {
                // Rows and columns of an NCHW picture that is plain in the graph.
                Some(Form::Plain) if w.known.extent(x, 1) == w.known.extent(y, 1) => Form::Plain,
                _ => Form::Nchw,
            }
        }
        _ => w.common(&[x]),
    };
    let name = w.get(x, form)?;
    let mut inputs = vec![name, String::new()];
    match (sizes, scales) {
        (_, Some(scales)) => {
            let Some(tensor) = w.tensor(scales) else { return refuse("scales that are not known") };
            let list = tensor.to_f32().into_owned();
            if let Some(sizes) = sizes {
                let sizes = w.ints(sizes);
                let extents = w.known.ty(x).shape;
                let implied = op
                    .resolve(&extents, None, Some(&list))
                    .map(|axes| axes.iter().map(|axis| axis.output as i64).collect::<Vec<_>>());
                if sizes.is_none() || implied.ok() != sizes {
                    return refuse("sizes that do not follow from the scales");
                }
            }
            let list = ordered(form, &list);
            let tensor = Tensor::from_vec(&[list.len()], list);
            let tensor = tensor.map_err(|error| Refused(error.to_string()))?;
            inputs.push(w.constant("scales", tensor));
        }
        (Some(sizes), None) => {
            let sizes = self::sizes(w, form, sizes)?;
            inputs.extend([String::new(), sizes]);
        }
        (None, None) => return refuse("neither sizes nor scales"),
    }
    let attributes = attributes(op)?;
    w.result(y, form, "Resize", inputs, attributes);
    Ok(())
}

fn sizes(w: &mut Writer<'_>, form: Form, sizes: ValueId) -> Result<String, Refused> {
    if let Some(list) = w.ints(sizes) {
        return Ok(w.list("sizes", &ordered(form, &list)));
    }
    let name = w.plain(sizes)?;
    match form {
        Form::Plain => Ok(name),
        Form::Nchw => {
            let order = w.list("order", &TO_NCHW.map(|axis| axis as i64));
            Ok(w.part("sizes", "Gather", vec![name, order], vec![]))
        }
    }
}

fn attributes(op: &Resize) -> Result<Vec<(&'static str, Attr)>, Refused> {
    let coordinates = match op.coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
        Coordinates::AlignCorners => "align_corners",
        Coordinates::Asymmetric => "asymmetric",
    };
    let mut attributes = vec![("coordinate_transformation_mode", Attr::Text(coordinates))];
    match op.mode {
        ResizeMode::Nearest(rounding) => {
            let rounding = match rounding {
                NearestRounding::RoundPreferFloor => "round_prefer_floor",
                NearestRounding::RoundPreferCeil => "round_prefer_ceil",
                NearestRounding::Floor => "floor",
                NearestRounding::Ceil => "ceil",
            };
            attributes.push(("mode", Attr::Text("nearest")));
            attributes.push(("nearest_mode", Attr::Text(rounding)));
        }
        ResizeMode::Linear => attributes.push(("mode", Attr::Text("linear"))),
        ResizeMode::Cubic { a, exclude_outside }
        | ResizeMode::CubicAntialias { a, exclude_outside } => {
            attributes.push(("mode", Attr::Text("cubic")));
            attributes.push(("cubic_coeff_a", Attr::Float(a)));
            attributes.push(("exclude_outside", Attr::Int(exclude_outside.into())));
        }
        ResizeMode::LinearAntialias { exclude_outside } => {
            attributes.push(("mode", Attr::Text("linear")));
            attributes.push(("exclude_outside", Attr::Int(exclude_outside.into())));
        }
        other => return refuse(format!("the interpolation {other:?} has no form in ONNX")),
    }
    let stretched =
        matches!(op.mode, ResizeMode::LinearAntialias { .. } | ResizeMode::CubicAntialias { .. });
    if stretched {
        attributes.push(("antialias", Attr::Int(1)));
    }
    Ok(attributes)
}
