//! Boxes and scores of a single-shot detector turned into a list of detections.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, from_f64, zeros};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Tensor};
use std::cmp::Ordering;

/// Decoding of boxes against anchors, and suppression of doubles: TensorFlow Lite's
/// `TFLite_Detection_PostProcess`.
///
/// | operand | shape |
/// |---|---|
/// | boxes: y, x, h, w of each, relative to its anchor | 1, boxes, 4 or more |
/// | scores; one column more than classes has the background first | 1, boxes, classes |
/// | anchors: y and x of the centre, h, w | boxes, 4 |
/// | result: top, left, bottom, right | 1, slots, 4 |
/// | result: classes, from 0 without the background | 1, slots |
/// | result: scores | 1, slots |
/// | result: how many boxes were found | 1 |
///
/// All are floats. There are `max_detections * max_classes_per_detection` slots; those that are
/// not used hold 0.
///
/// A box is `y / y_scale * anchor.h + anchor.y` and so on about its centre, and
/// `exp(h / h_scale) * anchor.h` high. One whose intersection with a better box is more than
/// `iou_threshold` of their union is dropped; a box without area overlaps nothing. A score that is
/// NaN counts as negative infinity. Ties go to the first box or class.
#[derive(Clone, Debug, PartialEq)]
pub struct Detections {
    /// Divisor of the vertical shift of the centre.
    pub y_scale: f32,
    /// Divisor of the horizontal shift of the centre.
    pub x_scale: f32,
    /// Divisor of the logarithm of the height.
    pub h_scale: f32,
    /// Divisor of the logarithm of the width.
    pub w_scale: f32,
    /// Classes, the background not counted.
    pub classes: usize,
    /// Most boxes that are found.
    pub max_detections: usize,
    /// Classes that are told of one box, the best first. Suppression by class tells one.
    pub max_classes_per_detection: usize,
    /// Most boxes of one class; for suppression by class alone.
    pub detections_per_class: usize,
    /// Whether doubles are sought class by class; else among the boxes, by their best class.
    pub by_class: bool,
    /// Least score of a detection.
    pub score_threshold: f32,
    /// Most that two detections may overlap, above 0 and up to 1.
    pub iou_threshold: f32,
}

/// Largest number of slots: a file's number alone must not ask for gigabytes.
const MAX_SLOTS: usize = 1 << 20;

/// Top, left, bottom, right.
type Corners = [f32; 4];

/// A detection of one class: box, class, score.
type Found = (usize, usize, f64);

impl Detections {
    /// Slots of the results.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where that is none, or more than a million, or another attribute is
    /// out of range.
    pub fn slots(&self) -> Result<usize, LayerError> {
        let kind = self.kind();
        let slots = self.max_detections.saturating_mul(self.max_classes_per_detection);
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(invalid!(
                kind,
                "{} detections of {} classes each are not 1 to {MAX_SLOTS} slots",
                self.max_detections,
                self.max_classes_per_detection
            ));
        }
        if !(1..=MAX_SLOTS).contains(&self.detections_per_class) || self.classes == 0 {
            return Err(invalid!(
                kind,
                "{} classes with up to {} detections each",
                self.classes,
                self.detections_per_class
            ));
        }
        if !(self.iou_threshold > 0.0 && self.iou_threshold <= 1.0) {
            return Err(invalid!(kind, "an overlap of {} is not in (0, 1]", self.iou_threshold));
        }
        Ok(slots)
    }

    /// The box as its file means it.
    fn decode(&self, code: &[f64], anchor: &[f64]) -> Corners {
        let scale = |scale: f32| f64::from(scale);
        let y = (code[0] / scale(self.y_scale) * anchor[2] + anchor[0]) as f32;
        let x = (code[1] / scale(self.x_scale) * anchor[3] + anchor[1]) as f32;
        let h = (0.5 * (code[2] / scale(self.h_scale)).exp() * anchor[2]) as f32;
        let w = (0.5 * (code[3] / scale(self.w_scale)).exp() * anchor[3]) as f32;
        [y - h, x - w, y + h, x + w]
    }

    /// The best boxes by these scores, no two of which are doubles; at most `most`.
    fn suppress(&self, corners: &[Corners], scores: &[f64], most: usize) -> Vec<usize> {
        let threshold = f64::from(self.score_threshold);
        let mut order: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] >= threshold).collect();
        order.sort_by(|&a, &b| falling(scores[a], scores[b]));
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            if kept.len() == most {
                break;
            }
            if kept.iter().all(|&k| overlap(&corners[k], &corners[i]) <= self.iou_threshold) {
                kept.push(i);
            }
        }
        kept
    }

    /// Class by class, and of all these the best.
    fn found_by_class(&self, corners: &[Corners], scores: &[Vec<f64>]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for class in 0..self.classes {
            let column: Vec<f64> = scores.iter().map(|row| row[class]).collect();
            let kept = self.suppress(corners, &column, self.detections_per_class);
            found.extend(kept.iter().map(|&i| (i, class, column[i])));
        }
        found.sort_by(|a, b| falling(a.2, b.2));
        found.truncate(self.max_detections);
        found
    }

    /// Box by box, and the best classes of each, in as many slots as any box has.
    fn found_by_box(&self, corners: &[Corners], scores: &[Vec<f64>]) -> Vec<Vec<Found>> {
        let best: Vec<f64> =
            scores.iter().map(|row| row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b))).collect();
        let kept = self.suppress(corners, &best, self.max_detections);
        let classes_of = |i: usize| {
            let mut order: Vec<usize> = (0..self.classes).collect();
            order.sort_by(|&a, &b| falling(scores[i][a], scores[i][b]));
            order.truncate(self.max_classes_per_detection);
            order.into_iter().map(|class| (i, class, scores[i][class])).collect()
        };
        kept.into_iter().map(classes_of).collect()
    }
}

/// The larger of two numbers, neither of which is NaN, first.
fn falling(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// Intersection over union.
fn overlap(a: &Corners, b: &Corners) -> f32 {
    let area = |x: &Corners| (x[2] - x[0]) * (x[3] - x[1]);
    if area(a) <= 0.0 || area(b) <= 0.0 {
        return 0.0;
    }
    let along = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let both = along(0, 2) * along(1, 3);
    both / (area(a) + area(b) - both)
}

impl Layer for Detections {
    fn kind(&self) -> &'static str {
        "Detections"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "3", &[0, 1, 2], 3)?;
        let dims = |i: usize| Ok::<_, LayerError>(inputs.float(i)?.ty.shape.to_vec());
        let (boxes, scores, anchors) = (dims(0)?, dims(1)?, dims(2)?);
        let fits = match (&boxes[..], &scores[..], &anchors[..]) {
            (&[1, n, codes], &[1, rows, columns], &[anchors, 4]) => {
                let classes = [Some(self.classes), self.classes.checked_add(1)];
                codes >= 4 && rows == n && anchors == n && classes.contains(&Some(columns))
            }
            _ => false,
        };
        if !fits {
            return Err(invalid!(
                self.kind(),
                "boxes {boxes:?}, scores {scores:?} and anchors {anchors:?} do not go together \
                 for {} classes",
                self.classes
            ));
        }
        let slots = self.slots()?;
        let dims: [&[usize]; 4] = [&[1, slots, 4], &[1, slots], &[1, slots], &[1]];
        dims.into_iter().map(|dims| Ok(TensorType::new(DType::F32, dims)?)).collect()
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (boxes, scores, anchors) = (operands.get(0), operands.get(1), operands.get(2));
        let rows = |tensor: &Tensor| -> Vec<Vec<f64>> {
            let width = tensor.shape().last().copied().unwrap_or(1).max(1);
            tensor.to_f64().chunks(width).map(<[f64]>::to_vec).collect()
        };
        let corners: Vec<Corners> =
            rows(boxes).iter().zip(rows(anchors)).map(|(code, a)| self.decode(code, &a)).collect();
        let background = scores.shape()[2] - self.classes;
        let known = |&score: &f64| if score.is_nan() { f64::NEG_INFINITY } else { score };
        let scores: Vec<Vec<f64>> =
            rows(scores).iter().map(|row| row[background..].iter().map(known).collect()).collect();
        let found = if self.by_class {
            // One class for each box, so one slot.
            self.found_by_class(&corners, &scores).into_iter().map(|one| vec![one]).collect()
        } else {
            self.found_by_box(&corners, &scores)
        };
        let per_box = if self.by_class { 1 } else { self.max_classes_per_detection };
        let slots = self.slots()?;
        let (mut places, mut classes, mut best) = (zeros(4 * slots)?, zeros(slots)?, zeros(slots)?);
        for (at, of_box) in found.iter().enumerate() {
            for (k, &(i, class, score)) in of_box.iter().enumerate() {
                let slot = at * per_box + k;
                for (place, &corner) in places[4 * slot..][..4].iter_mut().zip(&corners[i]) {
                    *place = f64::from(corner);
                }
                (classes[slot], best[slot]) = (class as f64, score);
            }
        }
        let results = [places, classes, best, vec![found.len() as f64]];
        operands.outputs.iter().zip(results).map(|(&ty, values)| from_f64(ty, values)).collect()
    }
}
