use super::*;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_layers::{Detections, Layer};
use depthwise_tensor::Tensor;
use depthwise_testkit::random_tensor;

fn rule(layer: &Detections) -> DetectionRule {
    DetectionRule {
        scales: [layer.y_scale, layer.x_scale, layer.h_scale, layer.w_scale],
        classes: layer.classes,
        max_detections: layer.max_detections,
        max_classes_per_detection: layer.max_classes_per_detection,
        detections_per_class: layer.detections_per_class,
        by_class: layer.by_class,
        score_threshold: layer.score_threshold,
        iou_threshold: layer.iou_threshold,
    }
}

/// The rows of a tensor `ld` apart, with NaN between.
fn spread(tensor: &Tensor, ld: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in tensor.to_f32().chunks(*tensor.shape().last().unwrap()) {
        out.extend_from_slice(row);
        out.resize(out.len() + ld - row.len(), f32::NAN);
    }
    out
}

#[test]
fn detections_match_the_reference() {
    // Scores in steps of a tenth, so that there are ties; one is no number.
    let coarse = |t: Tensor| {
        let mut x: Vec<f32> = t.to_f32().iter().map(|x| (x * 10.0).round() / 10.0).collect();
        x[5] = f32::NAN;
        Tensor::from_vec(t.shape(), x).unwrap()
    };
    let n = 60;
    let boxes = random_tensor(&[1, n, 5], 1);
    let scores = coarse(random_tensor(&[1, n, 4], 2));
    let sizes = random_tensor(&[n, 4], 3).to_f32().iter().map(|x| 0.6 + 0.4 * x).collect();
    let anchors = Tensor::from_vec(&[n, 4], sizes).unwrap();
    for (by_class, classes, per_box, max_detections, threshold) in [
        (false, 3, 2, 20, 0.2),
        (false, 4, 7, 8, f32::NEG_INFINITY),
        (true, 3, 1, 9, 0.0),
        (true, 4, 2, 200, f32::NEG_INFINITY),
        (true, 4, 1, 5, 2.0),
    ] {
        let layer = Detections {
            y_scale: 2.0,
            x_scale: 3.0,
            h_scale: 5.0,
            w_scale: 4.0,
            classes,
            max_detections,
            max_classes_per_detection: per_box,
            detections_per_class: 11,
            by_class,
            score_threshold: threshold,
            iou_threshold: 0.3,
        };
        let operands = [Some(&boxes), Some(&scores), Some(&anchors)];
        let want = layer.reference(&operands).unwrap();
        let slots = max_detections * per_box;
        let view = |tensor: &Tensor, ld| View { shape: *tensor.shape(), ld };
        let corners = View { shape: Shape::new(&[1, slots, 4]).unwrap(), ld: 16 };
        let views = [view(&boxes, 7), view(&scores, 16), view(&anchors, 4)];
        let op = DetectionsF32::new(rule(&layer), views, corners).unwrap();
        let inputs = [spread(&boxes, 7), spread(&scores, 16), spread(&anchors, 4)];
        let mut got = [16 * slots, slots, slots, 1].map(|len| vec![f32::NAN; len]);
        let [a, b, c, d] = &mut got;
        let inputs = [&inputs[0][..], &inputs[1], &inputs[2]];
        run_f32(&op, &inputs, &mut [a, b, c, d], &Par::single()).unwrap();
        let dense: Vec<f32> = got[0].chunks(16).flat_map(|row| &row[..4]).copied().collect();
        assert_eq!(dense, want[0].to_f32()[..], "corners of {layer:?}");
        for i in 1..4 {
            assert_eq!(got[i], want[i].to_f32()[..], "result {i} of {layer:?}");
        }
        assert_eq!(got[3][0] > 0.0, threshold < 1.0);
    }
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let layer = |classes| DetectionRule {
        scales: [1.0; 4],
        classes,
        max_detections: 2,
        max_classes_per_detection: 1,
        detections_per_class: 1,
        by_class: false,
        score_threshold: 0.0,
        iou_threshold: 0.5,
    };
    let dense = |dims: &[usize]| View::dense(Shape::new(dims).unwrap());
    let views = [dense(&[1, 3, 4]), dense(&[1, 3, 2]), dense(&[3, 4])];
    let corners = dense(&[1, 2, 4]);
    assert!(DetectionsF32::new(layer(2), views, corners).is_ok());
    assert!(DetectionsF32::new(layer(1), views, corners).is_ok());
    assert!(DetectionsF32::new(layer(3), views, corners).is_err());
    assert!(DetectionsF32::new(layer(2), views, dense(&[1, 3, 4])).is_err());
    let fewer = [views[0], views[1], dense(&[2, 4])];
    assert!(DetectionsF32::new(layer(2), fewer, corners).is_err());
}
