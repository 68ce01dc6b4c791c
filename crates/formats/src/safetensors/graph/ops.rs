//! Layers by name, and their attributes by name.

use super::attributes::Attribute;
use depthwise_layers::*;
use serde_json::{Map, Value};

/// One line per layer: its attributes. A layer without a line cannot be written.
macro_rules! layers {
    ($($name:ident { $($field:ident),* })*) => {
        /// Name and attributes of a layer; `None` for one that has no form yet.
        pub(super) fn write(op: &Op) -> Option<(&'static str, Map<String, Value>)> {
            match op {
                $(Op::$name(layer) => {
                    let _ = layer;
                    #[allow(unused_mut, reason = "some layers have no attributes")]
                    let mut attributes = Map::new();
                    $(attributes.insert(stringify!($field).into(), layer.$field.write()?);)*
                    Some((stringify!($name), attributes))
                })*
                #[allow(unreachable_patterns, reason = "the list of layers grows")]
                _ => None,
            }
        }

        /// The layer of a name, with exactly the attributes that it has.
        pub(super) fn read(name: &str, attributes: &Map<String, Value>) -> Result<Op, String> {
            match name {
                $(stringify!($name) => {
                    check_names(attributes, &[$(stringify!($field)),*])?;
                    Ok($name { $($field: field(attributes, stringify!($field))?),* }.into())
                })*
                _ => Err("no layer of this name is known".into()),
            }
        }

        /// The names of all layers that have a form.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

layers! {
    Activate { activation }
    ArgExtreme { largest, axis, keep_dims, select_last }
    BatchNorm { epsilon, axis }
    Binary { function, activation }
    Cast { to }
    Concat { axis }
    ConstantOfShape { value }
    Conv2d { stride, dilation, padding, groups, activation }
    ConvTranspose2d { stride, dilation, padding, output_padding, groups, activation }
    Dense { activation }
    DepthToSpace { block }
    Dequantize { axis }
    DepthwiseConv2d { stride, dilation, padding, activation }
    Detections {
        y_scale, x_scale, h_scale, w_scale, classes, max_detections, max_classes_per_detection,
        detections_per_class, by_class, score_threshold, iou_threshold
    }
    Dropout { rate }
    Expand {}
    Flatten { axis }
    Gather { axis }
    GatherElements { axis }
    GatherNd { batch_dims }
    GridSample { mode, outside, align_corners }
    MatMul {}
    MaxPositions { kernel, stride, dilation, padding, ceil_mode, column_major }
    PRelu {}
    Pad { mode }
    Pool2d { kind, kernel, stride, dilation, padding, ceil_mode }
    Quantize { dtype, axis }
    Range {}
    Reduce { function, axes, keep_dims }
    Reshape { allow_zero }
    Resize { mode, coordinates }
    ScatterElements { axis, function }
    ScatterNd { function }
    Select {}
    ShapeOf { start, end }
    Slice {}
    Softmax { axis, log }
    SpaceToDepth { block }
    Split { axis, parts }
    Squeeze { axes }
    Tile {}
    TopK { axis, largest }
    Transpose { perm }
    Unary { function }
    Unsqueeze { axes }
}

fn field<T: Attribute>(attributes: &Map<String, Value>, name: &str) -> Result<T, String> {
    let value =
        attributes.get(name).ok_or_else(|| format!("its attribute \"{name}\" is missing"))?;
    T::read(value).ok_or_else(|| {
        let text: String = value.to_string().chars().take(80).collect();
        format!("its attribute \"{name}\" cannot be {text}")
    })
}

fn check_names(attributes: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match attributes.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!("its attribute \"{key}\" is not known")),
    }
}
