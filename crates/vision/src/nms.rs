//! One box for each thing, where a detector gives many.

use crate::geometry::{Detection, Point, Rect};

/// Non-maximum suppression: of detections of one class that overlap by more than `max_iou`, the
/// one of the highest score. Best first; ties in the order given.
pub fn nms(mut detections: Vec<Detection>, max_iou: f32) -> Vec<Detection> {
    sort(&mut detections);
    let mut kept: Vec<Detection> = Vec::new();
    for detection in detections {
        if !kept.iter().any(|k| together(k, &detection, max_iou)) {
            kept.push(detection);
        }
    }
    kept
}

/// MediaPipe's weighted non-maximum suppression (`NonMaxSuppressionCalculator`, `WEIGHTED`; the
/// "blending" of Bazarevsky et al. 2019): box and keypoints are the mean of all that overlap the
/// best one by more than `max_iou`, weighted by their scores; the score is the best one's. Steadier
/// from frame to frame than [`nms`].
pub fn weighted_nms(mut detections: Vec<Detection>, max_iou: f32) -> Vec<Detection> {
    sort(&mut detections);
    let mut merged = Vec::new();
    while let Some(best) = detections.first().cloned() {
        // The best one joins its own group even where it is empty and overlaps nothing.
        let (mut group, mut rest) = (vec![best.clone()], Vec::new());
        for other in detections.drain(..).skip(1) {
            let overlaps = together(&best, &other, max_iou);
            if overlaps { group.push(other) } else { rest.push(other) }
        }
        merged.push(mean(best, &group));
        detections = rest;
    }
    merged
}

fn together(a: &Detection, b: &Detection, max_iou: f32) -> bool {
    a.class == b.class && a.rect.iou(&b.rect) > max_iou
}

fn sort(detections: &mut [Detection]) {
    detections.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// The mean of the group, weighted by scores, as a copy of its best.
fn mean(mut best: Detection, group: &[Detection]) -> Detection {
    let total: f32 = group.iter().map(|d| d.score).sum();
    if group.len() < 2 || total <= 0.0 {
        return best;
    }
    let weigh =
        |of: &dyn Fn(&Detection) -> f32| group.iter().map(|d| d.score * of(d)).sum::<f32>() / total;
    best.rect = Rect {
        left: weigh(&|d| d.rect.left),
        top: weigh(&|d| d.rect.top),
        right: weigh(&|d| d.rect.right),
        bottom: weigh(&|d| d.rect.bottom),
    };
    // Of a group whose members have different numbers of points, the points that all have.
    let points = group.iter().map(|d| d.keypoints.len()).min().unwrap_or(0);
    best.keypoints = (0..points)
        .map(|i| Point { x: weigh(&|d| d.keypoints[i].x), y: weigh(&|d| d.keypoints[i].y) })
        .collect();
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(left: f32, score: f32, class: usize) -> Detection {
        let rect = Rect { left, top: 0.0, right: left + 4.0, bottom: 2.0 };
        Detection { rect, score, class, keypoints: vec![Point { x: left, y: 1.0 }] }
    }

    #[test]
    fn the_best_of_each_heap_stays() {
        // 0 and 1 overlap by 3/5, 0 and 2 by 2/6, 1 and 2 by 3/5.
        let all = vec![found(2.0, 0.6, 0), found(0.0, 0.9, 0), found(1.0, 0.8, 0)];
        let lefts = |found: Vec<Detection>| found.iter().map(|d| d.rect.left).collect::<Vec<_>>();
        assert_eq!(lefts(nms(all.clone(), 0.5)), [0.0, 2.0]);
        assert_eq!(lefts(nms(all.clone(), 0.3)), [0.0]);
        assert_eq!(lefts(nms(all, 0.7)), [0.0, 1.0, 2.0]);
        let classes = vec![found(0.0, 0.5, 0), found(0.0, 0.7, 1)];
        assert_eq!(nms(classes, 0.5).len(), 2, "other classes do not compete");
    }

    #[test]
    fn weights_are_the_scores() {
        let merged = weighted_nms(vec![found(1.0, 0.25, 0), found(0.0, 0.75, 0)], 0.5);
        assert_eq!(merged.len(), 1);
        assert_eq!(
            (merged[0].rect.left, merged[0].rect.right, merged[0].score),
            (0.25, 4.25, 0.75)
        );
        assert_eq!(merged[0].keypoints, [Point { x: 0.25, y: 1.0 }]);
    }

    #[test]
    fn weighted_groups_form_around_the_best_alone() {
        // 2 overlaps 1 but not 0: it is a group of its own.
        let all = vec![found(0.0, 0.9, 0), found(1.0, 0.8, 0), found(2.0, 0.6, 0)];
        let merged = weighted_nms(all, 0.5);
        assert_eq!(merged.len(), 2);
        assert!((merged[0].rect.left - 0.8 / 1.7).abs() < 1e-6);
        assert_eq!(merged[1].rect.left, 2.0);
    }

    #[test]
    fn empty_boxes_and_nothing_end_too() {
        assert_eq!(weighted_nms(vec![Detection::default(); 3], 0.3).len(), 3);
        assert_eq!(weighted_nms(Vec::new(), 0.3), []);
    }

    proptest! {
        #[test]
        fn no_two_that_stay_overlap(
            boxes in proptest::collection::vec((0.0f32..20.0, 0.0f32..1.0, 0..2usize), 0..30),
            max_iou in 0.05f32..0.95,
        ) {
            let all: Vec<_> = boxes.into_iter().map(|(l, s, c)| found(l, s, c)).collect();
            let kept = nms(all.clone(), max_iou);
            for (i, a) in kept.iter().enumerate() {
                prop_assert!(kept[..i].iter().all(|b| !together(a, b, max_iou)));
            }
            for d in &all {
                let by_better = |k: &Detection| k == d || (together(k, d, max_iou) && k.score >= d.score);
                prop_assert!(kept.iter().any(by_better));
            }
        }
    }
}
