use super::*;
use depthwise_layers::Detections;

fn layer() -> Detections {
    Detections {
        y_scale: 10.0,
        x_scale: 10.0,
        h_scale: 5.0,
        w_scale: 5.0,
        classes: 2,
        max_detections: 3,
        max_classes_per_detection: 1,
        detections_per_class: 100,
        by_class: false,
        score_threshold: 0.0,
        iou_threshold: 0.5,
    }
}

/// The six boxes of the test that TensorFlow Lite has for this operator: the first three about
/// (0.5, 0.5), the next two about (10.5, 0.5), the last about (100.5, 0.5).
fn operands() -> [Tensor; 3] {
    let mut boxes = vec![0.0; 24];
    // Up or down by a tenth of the anchor's height.
    (boxes[4], boxes[8], boxes[16]) = (1.0, -1.0, 0.0);
    let scores = [
        [0.0, 0.9, 0.8],
        [0.0, 0.75, 0.72],
        [0.0, 0.6, 0.5],
        [0.0, 0.93, 0.95],
        [0.0, 0.5, 0.4],
        [0.0, 0.3, 0.2],
    ];
    let anchor = |y: f32| [y, 0.5, 1.0, 1.0];
    let anchors = [0.5, 0.5, 0.5, 10.5, 10.5, 100.5].map(anchor);
    [
        t(&[1, 6, 4], &boxes),
        t(&[1, 6, 3], scores.as_flattened()),
        t(&[6, 4], anchors.as_flattened()),
    ]
}

fn of(layer: Detections) -> [Vec<f32>; 4] {
    let operands = operands();
    let results = run_all(layer, &operands.each_ref().map(Some));
    [0, 1, 2, 3].map(|i| results[i].to_f32().into_owned())
}

#[test]
fn doubles_go_by_the_best_class_of_each_box() {
    let [corners, classes, scores, count] = of(layer());
    // The shifted boxes overlap the first by 0.9 / 1.1.
    let want = [[10.0, 0.0, 11.0, 1.0], [0.0, 0.0, 1.0, 1.0], [100.0, 0.0, 101.0, 1.0]];
    assert_eq!(corners, want.as_flattened());
    assert_eq!((classes, scores), (vec![1.0, 0.0, 0.0], vec![0.95, 0.9, 0.3]));
    assert_eq!(count, [3.0]);
}

#[test]
fn doubles_go_class_by_class() {
    let by_class = Detections { by_class: true, ..layer() };
    let [corners, classes, scores, count] = of(by_class.clone());
    let want = [[10.0, 0.0, 11.0, 1.0], [10.0, 0.0, 11.0, 1.0], [0.0, 0.0, 1.0, 1.0]];
    assert_eq!(corners, want.as_flattened());
    assert_eq!((classes, scores), (vec![1.0, 0.0, 0.0], vec![0.95, 0.93, 0.9]));
    assert_eq!(count, [3.0]);
    // One of each class, then nothing.
    let [_, classes, scores, count] = of(Detections { detections_per_class: 1, ..by_class });
    assert_eq!((classes, scores), (vec![1.0, 0.0, 0.0], vec![0.95, 0.93, 0.0]));
    assert_eq!(count, [2.0]);
}

#[test]
fn a_box_is_told_with_its_best_classes() {
    let two = Detections { max_detections: 2, max_classes_per_detection: 2, ..layer() };
    let [corners, classes, scores, count] = of(two);
    assert_eq!(corners[..8], [10.0, 0.0, 11.0, 1.0, 10.0, 0.0, 11.0, 1.0]);
    assert_eq!(classes, [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(scores, [0.95, 0.93, 0.9, 0.8]);
    assert_eq!(count, [2.0]);
}

#[test]
fn slots_that_are_not_used_are_zero() {
    let strict = Detections { score_threshold: 0.94, ..layer() };
    let [corners, classes, scores, count] = of(strict);
    assert_eq!(corners[4..], [0.0; 8]);
    assert_eq!((classes, scores), (vec![1.0, 0.0, 0.0], vec![0.95, 0.0, 0.0]));
    assert_eq!(count, [1.0]);
}

#[test]
fn shifts_and_sizes_are_relative_to_the_anchor() {
    let boxes = t(&[1, 1, 4], &[5.0, -2.0, 5.0 * 2f32.ln(), 0.0]);
    let (scores, anchors) = (t(&[1, 1, 2], &[0.7, 0.1]), t(&[1, 4], &[1.0, 2.0, 0.5, 4.0]));
    let results = run_all(layer(), &[Some(&boxes), Some(&scores), Some(&anchors)]);
    // The centre at (1 + 0.5 * 0.5, 2 - 0.2 * 4), 1 high and 4 wide.
    let want = [0.75, -0.8, 1.75, 3.2];
    for (got, want) in results[0].to_f32().iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got} {want}");
    }
}

#[test]
fn attributes_out_of_range_are_refused() {
    let [boxes, scores, anchors] = operands();
    let refuse = |layer: Detections, what: &str| {
        let error = infer(&layer.into(), &[Some(&boxes), Some(&scores), Some(&anchors)]);
        assert!(error.unwrap_err().to_string().contains(what), "{what}");
    };
    refuse(Detections { classes: 4, ..layer() }, "4 classes");
    refuse(Detections { max_detections: 0, ..layer() }, "slots");
    refuse(Detections { max_detections: usize::MAX, ..layer() }, "slots");
    refuse(Detections { detections_per_class: 0, ..layer() }, "up to 0 detections");
    refuse(Detections { iou_threshold: f32::NAN, ..layer() }, "overlap of NaN");
}
