//! The end of a single-shot detector.

use super::operand;
use crate::error::LowerError;
use crate::plan::Builder;
use depthwise_kernels::detections::{DetectionRule, DetectionsF32};
use depthwise_kernels::layout::View;
use depthwise_layers::Detections;
use depthwise_layers::ir::Node;

pub(super) fn detections(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Detections,
) -> Result<(), LowerError> {
    let mut inputs = Vec::with_capacity(3);
    for i in 0..3 {
        inputs.push(b.padded_arg(operand(node, i)?)?);
    }
    let rule = DetectionRule {
        scales: [layer.y_scale, layer.x_scale, layer.h_scale, layer.w_scale],
        classes: layer.classes,
        max_detections: layer.max_detections,
        max_classes_per_detection: layer.max_classes_per_detection,
        detections_per_class: layer.detections_per_class,
        by_class: layer.by_class,
        score_threshold: layer.score_threshold,
        iou_threshold: layer.iou_threshold,
    };
    let views: [View; 3] = [inputs[0].view, inputs[1].view, inputs[2].view];
    let outputs: Vec<_> = node.outputs.iter().map(|&id| b.output(id)).collect();
    let op = DetectionsF32::new(rule, views, outputs[0].1)?;
    b.push(op, &inputs.iter().collect::<Vec<_>>(), &outputs);
    Ok(())
}
