//! Outputs of detectors to boxes.

use crate::anchors::Anchor;
use crate::geometry::{Detection, Point, Rect};
use crate::{SsdAnchors, VisionError};

/// How a detector of MediaPipe writes its boxes: offsets from anchors, divided by the input's
/// extents, x before y.
///
/// A row is `x, y, w, h` and then `x, y` of each keypoint. With an anchor of centre `a` and
/// extents `s`, the centre and the keypoints are `value / scale * s + a`, the extents
/// `value / scale * s` (`TensorsToDetectionsCalculator` with `reverse_output_order`).
#[derive(Clone, Debug, PartialEq)]
pub struct AnchorDecoder {
    /// One for each row of the outputs.
    pub anchors: Vec<Anchor>,
    /// Keypoints of a row.
    pub keypoints: usize,
    /// Divides the values along x; the width of the input in pixels.
    pub scale_x: f32,
    /// Divides the values along y.
    pub scale_y: f32,
    /// Detections of a lower score are left out.
    pub min_score: f32,
}

impl AnchorDecoder {
    /// MediaPipe's short-range face detector: six keypoints (the right eye as seen by the person,
    /// the left one, nose tip, mouth, right ear, left ear), scores from 0.5.
    pub fn mediapipe_face_short_range() -> AnchorDecoder {
        AnchorDecoder::square(&SsdAnchors::mediapipe_face_short_range(), 6)
    }

    /// MediaPipe's pose detector: four keypoints, scores from 0.5.
    pub fn mediapipe_pose() -> AnchorDecoder {
        AnchorDecoder::square(&SsdAnchors::mediapipe_pose(), 4)
    }

    fn square(anchors: &SsdAnchors, keypoints: usize) -> AnchorDecoder {
        AnchorDecoder {
            anchors: anchors.generate(),
            keypoints,
            scale_x: anchors.input_width as f32,
            scale_y: anchors.input_height as f32,
            min_score: 0.5,
        }
    }

    /// Numbers of a row.
    pub fn coordinates(&self) -> usize {
        4 + 2 * self.keypoints
    }

    /// The detections of outputs `boxes`, `anchors x coordinates`, and `logits`, one per anchor,
    /// in shares of the network's input. Scores are the logistic function of the logits. Rows that
    /// are not finite, or without area, are left out.
    ///
    /// # Errors
    /// [`VisionError::Length`] where an output does not fit the anchors.
    pub fn decode(&self, boxes: &[f32], logits: &[f32]) -> Result<Vec<Detection>, VisionError> {
        check("box regressors", self.anchors.len() * self.coordinates(), boxes.len())?;
        check("box scores", self.anchors.len(), logits.len())?;
        let rows = boxes.chunks_exact(self.coordinates()).zip(logits).zip(&self.anchors);
        let found = rows.filter_map(|((row, &logit), anchor)| {
            let score = sigmoid(logit);
            (score >= self.min_score).then(|| self.row(row, score, anchor))
        });
        Ok(found.filter(|d| d.is_finite() && d.rect.area() > 0.0).collect())
    }

    fn row(&self, row: &[f32], score: f32, anchor: &Anchor) -> Detection {
        let point = |xy: &[f32]| Point {
            x: xy[0] / self.scale_x * anchor.w + anchor.x,
            y: xy[1] / self.scale_y * anchor.h + anchor.y,
        };
        let (w, h) = (row[2] / self.scale_x * anchor.w, row[3] / self.scale_y * anchor.h);
        Detection {
            rect: Rect::around(point(row), w, h),
            score,
            class: 0,
            keypoints: row[4..].chunks_exact(2).map(point).collect(),
        }
    }
}

/// Boxes of SSD's own encoding: the centre moves by `value * center_variance` of the prior's
/// extents, which grow by `exp(value * size_variance)` (Liu et al. 2016; variances 0.1 and 0.2 in
/// the usual detectors). `offsets` holds `x, y, w, h` per prior.
///
/// # Errors
/// [`VisionError::Length`] where `offsets` has not four numbers per prior.
pub fn decode_ssd_boxes(
    offsets: &[f32],
    priors: &[Anchor],
    center_variance: f32,
    size_variance: f32,
) -> Result<Vec<Rect>, VisionError> {
    check("box offsets", priors.len() * 4, offsets.len())?;
    let rows = offsets.chunks_exact(4).zip(priors);
    Ok(rows
        .map(|(v, prior)| {
            let centre = Point {
                x: v[0] * center_variance * prior.w + prior.x,
                y: v[1] * center_variance * prior.h + prior.y,
            };
            let extent = |value: f32, prior: f32| (value * size_variance).exp() * prior;
            Rect::around(centre, extent(v[2], prior.w), extent(v[3], prior.h))
        })
        .collect())
}

/// The detections of outputs that hold corners (`left, top, right, bottom` per row) and the scores
/// of `classes` classes per row, of which class 0 is the background. A row is a detection of each
/// class whose score is at least `min_score`; classes count from 0 after the background.
///
/// # Errors
/// [`VisionError::Length`] where the outputs do not have as many rows.
pub fn decode_corners(
    corners: &[f32],
    scores: &[f32],
    classes: usize,
    min_score: f32,
) -> Result<Vec<Detection>, VisionError> {
    let rows = corners.len() / 4;
    check("box corners", rows * 4, corners.len())?;
    check("class scores", rows * classes, scores.len())?;
    if classes == 0 {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (corner, scores) in corners.chunks_exact(4).zip(scores.chunks_exact(classes)) {
        let rect = Rect { left: corner[0], top: corner[1], right: corner[2], bottom: corner[3] };
        for (class, &score) in scores[1..].iter().enumerate() {
            let detection = Detection { rect, score, class, keypoints: Vec::new() };
            if score >= min_score && detection.is_finite() && rect.area() > 0.0 {
                found.push(detection);
            }
        }
    }
    Ok(found)
}

/// The logistic function.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn check(what: &'static str, want: usize, got: usize) -> Result<(), VisionError> {
    if want == got { Ok(()) } else { Err(VisionError::Length { what, want, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> AnchorDecoder {
        AnchorDecoder {
            anchors: vec![Anchor { x: 0.25, y: 0.5, w: 1.0, h: 1.0 }; 3],
            keypoints: 1,
            scale_x: 128.0,
            scale_y: 64.0,
            min_score: 0.5,
        }
    }

    #[test]
    fn anchors_decode_by_hand() {
        let row = [16.0, 8.0, 32.0, 32.0, -16.0, 16.0];
        let empty = [0.0, 0.0, 0.0, 8.0, 0.0, 0.0];
        let boxes: Vec<f32> = row.into_iter().chain(row).chain(empty).collect();
        let found = decoder().decode(&boxes, &[0.0, -0.1, 100.0]).unwrap();
        // The second is below the score, the third has no width.
        assert_eq!(found.len(), 1);
        // Centre 0.25 + 16/128, 0.5 + 8/64; extents 0.25 and 0.5.
        assert_eq!(found[0].rect, Rect { left: 0.25, top: 0.375, right: 0.5, bottom: 0.875 });
        assert_eq!(found[0].keypoints, [Point { x: 0.125, y: 0.75 }]);
        assert_eq!(found[0].score, 0.5);
    }

    #[test]
    fn outputs_that_do_not_fit_and_numbers_that_are_none() {
        let error = decoder().decode(&[0.0; 17], &[0.0; 3]).unwrap_err();
        assert!(matches!(error, VisionError::Length { want: 18, got: 17, .. }));
        assert!(decoder().decode(&[0.0; 18], &[0.0; 4]).is_err());
        assert_eq!(decoder().decode(&[f32::NAN; 18], &[9.0; 3]).unwrap(), []);
        assert_eq!(decoder().decode(&[1.0; 18], &[f32::NAN; 3]).unwrap(), []);
    }

    #[test]
    fn ssd_boxes_decode_by_hand() {
        let prior = [Anchor { x: 0.5, y: 0.5, w: 0.2, h: 0.4 }];
        let still = decode_ssd_boxes(&[0.0; 4], &prior, 0.1, 0.2).unwrap();
        assert_eq!(still, [Rect::around(Point { x: 0.5, y: 0.5 }, 0.2, 0.4)]);
        let ln2 = std::f32::consts::LN_2;
        let moved = decode_ssd_boxes(&[5.0, -5.0, 5.0 * ln2, 0.0], &prior, 0.1, 0.2).unwrap()[0];
        let want = Rect::around(Point { x: 0.6, y: 0.3 }, 0.4, 0.4);
        assert!((moved.left - want.left).abs() < 1e-6 && (moved.top - want.top).abs() < 1e-6);
        assert!((moved.right - want.right).abs() < 1e-6);
        assert!(decode_ssd_boxes(&[0.0; 5], &prior, 0.1, 0.2).is_err());
    }

    #[test]
    fn corners_come_with_their_classes() {
        let corners = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.4, 0.6];
        let scores = [0.1, 0.2, 0.7, 0.0, 0.9, 0.9];
        let found = decode_corners(&corners, &scores, 3, 0.5).unwrap();
        assert_eq!(found.len(), 1, "the second box is inside out");
        assert_eq!((found[0].class, found[0].score, found[0].rect.right), (1, 0.7, 0.3));
        assert!(decode_corners(&corners, &scores, 2, 0.5).is_err());
        assert_eq!(decode_corners(&[], &[], 0, 0.5).unwrap(), []);
    }
}
