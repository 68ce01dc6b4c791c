//! The end of a single-shot detector: boxes decoded against anchors, doubles suppressed, `f32`.
//!
//! Boxes are some thousand, of which a threshold leaves a few dozen; what takes time is the look at
//! every score. So this is plain code, the same on every instruction set, in one chunk: a detection
//! depends on all better ones.

#[cfg(test)]
mod tests;

use crate::layout::View;
use crate::operator::{Io, KernelError, Operator};
use depthwise_tensor::{Rows, Shape};
use std::cmp::Ordering;

const FAMILY: &str = "detections_f32";

/// What a [`DetectionsF32`] computes.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionRule {
    /// Divisors of the vertical and horizontal shift, and of the logarithms of height and width.
    pub scales: [f32; 4],
    /// Classes, the background not counted.
    pub classes: usize,
    /// Most boxes that are found.
    pub max_detections: usize,
    /// Slots of a box, each with one of its best classes; suppression by class fills one slot for
    /// each box.
    pub max_classes_per_detection: usize,
    /// Most boxes of one class; for suppression by class alone.
    pub detections_per_class: usize,
    /// Whether doubles are sought class by class; else among the boxes, by their best class.
    pub by_class: bool,
    /// Least score.
    pub score_threshold: f32,
    /// Most overlap (intersection over union) of two boxes that are found.
    pub iou_threshold: f32,
}

/// Boxes, scores and anchors to corners, classes, scores and their number.
///
/// | operand | shape |
/// |---|---|
/// | boxes: y, x, h, w relative to the anchor | 1, boxes, 4 or more |
/// | scores, those of the background first where there is one column more than classes | 1, boxes, columns |
/// | anchors: y, x, h, w | boxes, 4 |
/// | result: top, left, bottom, right | 1, slots, 4 |
/// | results: classes; scores | 1, slots |
/// | result: number of boxes found | 1 |
///
/// Slots that are not used hold 0. A score that is NaN counts as negative infinity.
#[derive(Debug)]
pub struct DetectionsF32 {
    rule: DetectionRule,
    boxes: Rows,
    scores: Rows,
    anchors: Rows,
    corners: Rows,
    slots: usize,
    input_bytes: [usize; 3],
    output_bytes: [usize; 4],
    scratch_bytes: usize,
}

/// Top, left, bottom, right.
type Corners = [f32; 4];

/// A detection of one class.
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Found {
    /// Position of the box.
    at: u32,
    class: u32,
    score: f32,
}

impl DetectionsF32 {
    /// The operator for these views; classes, scores and number are dense.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where shapes and rule do not go together, or memory cannot hold
    /// them.
    pub fn new(
        rule: DetectionRule,
        inputs: [View; 3],
        corners: View,
    ) -> Result<DetectionsF32, KernelError> {
        let invalid = |reason| KernelError::Invalid { kernel: FAMILY, reason };
        for view in inputs.iter().chain([&corners]) {
            view.check(FAMILY)?;
        }
        let [boxes, scores, anchors] = inputs.map(|view| view.rows());
        let n = boxes.rows;
        let slots = rule.max_detections.saturating_mul(rule.max_classes_per_detection);
        let columns = [Some(rule.classes), rule.classes.checked_add(1)];
        let fits = (boxes.c >= 4 && anchors.c == 4)
            && (scores.rows == n && anchors.rows == n)
            && (columns.contains(&Some(scores.c)) && rule.classes > 0)
            && (corners.shape == Shape::new(&[1, slots, 4]).map_err(|e| invalid(e.to_string()))?)
            && u32::try_from(n).is_ok()
            && u32::try_from(rule.classes).is_ok();
        if !fits || slots == 0 {
            let [boxes, scores, anchors] = inputs.map(|view| view.shape);
            return Err(invalid(format!(
                "boxes {boxes}, scores {scores}, anchors {anchors} and {} do not go together for \
                 {} classes in {slots} slots",
                corners.shape, rule.classes
            )));
        }
        let room = rule.room();
        let words = n.checked_mul(7).zip(room.checked_mul(3)).and_then(|(a, b)| a.checked_add(b));
        let scratch_bytes = words
            .and_then(|words| words.checked_mul(4))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .ok_or_else(|| invalid(format!("{n} boxes and {room} detections exceed memory")))?;
        Ok(DetectionsF32 {
            rule,
            boxes,
            scores,
            anchors,
            corners: corners.rows(),
            slots,
            input_bytes: [boxes, scores, anchors].map(|rows| rows.len() * 4),
            output_bytes: [corners.len() * 4, slots * 4, slots * 4, 4],
            scratch_bytes,
        })
    }

    /// The corners of all boxes.
    fn decode(&self, boxes: &[f32], anchors: &[f32], corners: &mut [Corners]) {
        for (i, corners) in corners.iter_mut().enumerate() {
            let code = &boxes[i * self.boxes.ld..][..4];
            let anchor = &anchors[i * self.anchors.ld..][..4];
            // In double precision, as the original does.
            let relative = |k: usize| f64::from(code[k]) / f64::from(self.rule.scales[k]);
            let [y, x, h, w] = [0, 1, 2, 3].map(|k| f64::from(anchor[k]));
            let centre = [relative(0) * h + y, relative(1) * w + x].map(|x| x as f32);
            let half = [0.5 * relative(2).exp() * h, 0.5 * relative(3).exp() * w].map(|x| x as f32);
            *corners = [
                centre[0] - half[0],
                centre[1] - half[1],
                centre[0] + half[0],
                centre[1] + half[1],
            ];
        }
    }

    /// The score of a box for a class.
    fn score(&self, scores: &[f32], at: usize, class: usize) -> f32 {
        let background = self.scores.c - self.rule.classes;
        known(scores[at * self.scores.ld + background + class])
    }

    /// The best class of a box after `last`, in the order of falling scores.
    fn next_class(&self, scores: &[f32], at: usize, last: Option<Found>) -> Option<Found> {
        let mut best: Option<Found> = None;
        for class in 0..self.rule.classes {
            let score = self.score(scores, at, class);
            let after = last.is_none_or(|last| {
                score < last.score || score == last.score && class as u32 > last.class
            });
            if after && best.is_none_or(|best| score > best.score) {
                best = Some(Found { at: at as u32, class: class as u32, score });
            }
        }
        best
    }

    /// The best `most` of `candidates` no two of which are doubles, moved to the front; their
    /// number.
    fn suppress(&self, corners: &[Corners], candidates: &mut [Found], most: usize) -> usize {
        candidates.sort_unstable_by(|a, b| falling(a, b).then(a.at.cmp(&b.at)));
        let mut kept = 0;
        for i in 0..candidates.len() {
            if kept == most {
                break;
            }
            let corner = &corners[candidates[i].at as usize];
            let doubles = |found: &Found| {
                overlap(&corners[found.at as usize], corner) > self.rule.iou_threshold
            };
            if !candidates[..kept].iter().any(doubles) {
                candidates[kept] = candidates[i];
                kept += 1;
            }
        }
        kept
    }

    /// The boxes found, in `found`; `candidates` has room for every box.
    fn find(
        &self,
        scores: &[f32],
        corners: &[Corners],
        candidates: &mut [Found],
        found: &mut [Found],
    ) -> usize {
        let rule = &self.rule;
        if !rule.by_class {
            let best = |at: usize| self.next_class(scores, at, None);
            let count = self.gather(candidates, best);
            let kept = self.suppress(corners, &mut candidates[..count], rule.max_detections);
            found[..kept].copy_from_slice(&candidates[..kept]);
            return kept;
        }
        let mut total = 0;
        for class in 0..rule.classes {
            let of_class = |at: usize| {
                let score = self.score(scores, at, class);
                Some(Found { at: at as u32, class: class as u32, score })
            };
            let count = self.gather(candidates, of_class);
            let kept = self.suppress(corners, &mut candidates[..count], rule.detections_per_class);
            found[total..total + kept].copy_from_slice(&candidates[..kept]);
            // Of equals the earlier class first; of one class the order is that of the boxes.
            let all = &mut found[..total + kept];
            all.sort_unstable_by(|a, b| {
                falling(a, b).then(a.class.cmp(&b.class)).then(a.at.cmp(&b.at))
            });
            total = all.len().min(rule.max_detections);
        }
        total
    }

    /// The candidates whose score is no less than the threshold, at the front; their number.
    fn gather(
        &self,
        candidates: &mut [Found],
        candidate: impl Fn(usize) -> Option<Found>,
    ) -> usize {
        let found = (0..self.boxes.rows).filter_map(candidate);
        let good = found.filter(|found| found.score >= self.rule.score_threshold);
        good.zip(candidates).map(|(found, place)| *place = found).count()
    }
}

impl DetectionRule {
    /// Detections that are held at a time.
    fn room(&self) -> usize {
        match self.by_class {
            true => self.max_detections.saturating_add(self.detections_per_class),
            false => self.max_detections,
        }
    }
}

/// The score, or what counts for NaN.
fn known(score: f32) -> f32 {
    if score.is_nan() { f32::NEG_INFINITY } else { score }
}

/// The better first; neither score is NaN.
fn falling(a: &Found, b: &Found) -> Ordering {
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal)
}

/// Intersection over union; 0 where one has no area.
fn overlap(a: &Corners, b: &Corners) -> f32 {
    let area = |x: &Corners| (x[2] - x[0]) * (x[3] - x[1]);
    let (area_a, area_b) = (area(a), area(b));
    if area_a <= 0.0 || area_b <= 0.0 {
        return 0.0;
    }
    let height = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let width = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let both = height * width;
    both / (area_a + area_b - both)
}

// SAFETY: all slices are of the lengths that are declared; the one chunk writes every slot.
unsafe impl Operator for DetectionsF32 {
    fn kernel(&self) -> &'static str {
        FAMILY
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch_bytes
    }

    fn chunks(&self) -> usize {
        1
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, _chunk: usize) {
        let (n, slots) = (self.boxes.rows, self.slots);
        // SAFETY: operands are as long as declared and nothing writes the inputs meanwhile; there
        // is one chunk.
        let (boxes, scores, anchors, places, classes, best, number) = unsafe {
            (
                io.input_slice::<f32>(0, self.boxes.len()),
                io.input_slice::<f32>(1, self.scores.len()),
                io.input_slice::<f32>(2, self.anchors.len()),
                io.output_slice::<f32>(0, 0, self.corners.len()),
                io.output_slice::<f32>(1, 0, slots),
                io.output_slice::<f32>(2, 0, slots),
                io.output_slice::<f32>(3, 0, 1),
            )
        };
        let scratch = io.scratch::<u8>();
        // SAFETY: the scratch memory is as long as declared and this chunk's alone; zeros are
        // numbers.
        let words = unsafe {
            scratch.write_bytes(0, self.scratch_bytes);
            std::slice::from_raw_parts_mut(scratch.cast::<u32>(), self.scratch_bytes / 4)
        };
        let (corners, rest) = words.split_at_mut(4 * n);
        let (candidates, found) = rest.split_at_mut(rest.len() - 3 * self.rule.room());
        let corners: &mut [Corners] = bytemuck::cast_slice_mut(corners);
        let candidates: &mut [Found] = bytemuck::cast_slice_mut(candidates);
        let found: &mut [Found] = bytemuck::cast_slice_mut(found);
        self.decode(boxes, anchors, corners);
        let count = self.find(scores, corners, candidates, found);
        let per_box = if self.rule.by_class { 1 } else { self.rule.max_classes_per_detection };
        for output in [&mut *places, &mut *classes, &mut *best] {
            output.fill(0.0);
        }
        for (i, &first) in found[..count].iter().enumerate() {
            let mut next = Some(first);
            for slot in (i * per_box..).take(per_box.min(self.rule.classes)) {
                let Some(one) = next else { break };
                places[slot * self.corners.ld..][..4].copy_from_slice(&corners[one.at as usize]);
                (classes[slot], best[slot]) = (one.class as f32, one.score);
                if per_box > 1 {
                    next = self.next_class(scores, one.at as usize, Some(one));
                }
            }
        }
        number[0] = count as f32;
    }
}
