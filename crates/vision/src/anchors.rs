//! Places that detectors speak of: their answers are offsets from these.

/// A box by its centre and extents, in shares of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// Centre along x.
    pub x: f32,
    /// Centre along y.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

/// The anchors of a single-shot detector over maps of several strides.
///
/// The rule is that of SSD (Liu et al. 2016, section 2.2) as MediaPipe's `SsdAnchorsCalculator`
/// and the TensorFlow Object Detection API compute it: layer `k` of `m` has the scale
/// `min + (max - min) * k / (m - 1)`; each cell has a box of each aspect ratio, and one of the
/// geometric mean of this scale and the next. Neighbouring layers of one stride are one map, whose
/// cells list the boxes of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SsdAnchors {
    /// Rows of the network's input, in pixels.
    pub input_height: usize,
    /// Columns of the network's input, in pixels.
    pub input_width: usize,
    /// Pixels from cell to cell, per layer.
    pub strides: Vec<usize>,
    /// Scale of the first layer.
    pub min_scale: f32,
    /// Scale of the last layer.
    pub max_scale: f32,
    /// Width over height of the boxes of each cell.
    pub aspect_ratios: Vec<f32>,
    /// Aspect ratio of one more box, between this scale and the next; none where 0.
    pub interpolated_aspect_ratio: f32,
    /// Whether the first layer has three boxes only: 0.1 of aspect ratio 1, and its scale at 2
    /// and 1/2.
    pub reduce_lowest: bool,
    /// Whether all boxes are as large as the picture, which leaves extents to the network.
    pub fixed_size: bool,
}

impl SsdAnchors {
    /// MediaPipe's short-range face detector (BlazeFace, Bazarevsky et al. 2019): 896 of 128 x 128.
    pub fn mediapipe_face_short_range() -> SsdAnchors {
        SsdAnchors::mediapipe(128, &[8, 16, 16, 16])
    }

    /// MediaPipe's pose detector: 2254 of 224 x 224.
    pub fn mediapipe_pose() -> SsdAnchors {
        SsdAnchors::mediapipe(224, &[8, 16, 32, 32, 32])
    }

    /// MediaPipe's palm detector: 2016 of 192 x 192.
    pub fn mediapipe_palm() -> SsdAnchors {
        SsdAnchors::mediapipe(192, &[8, 16, 16, 16])
    }

    fn mediapipe(side: usize, strides: &[usize]) -> SsdAnchors {
        SsdAnchors {
            input_height: side,
            input_width: side,
            strides: strides.to_vec(),
            min_scale: 0.148_437_5,
            max_scale: 0.75,
            aspect_ratios: vec![1.0],
            interpolated_aspect_ratio: 1.0,
            reduce_lowest: false,
            fixed_size: true,
        }
    }

    /// Scale of layer `k`; of the layer after the last, 1.
    fn scale(&self, k: usize) -> f32 {
        match self.strides.len() {
            1 => (self.min_scale + self.max_scale) / 2.0,
            layers if k == layers => 1.0,
            layers => {
                self.min_scale + (self.max_scale - self.min_scale) * k as f32 / (layers - 1) as f32
            }
        }
    }

    /// Scale and aspect ratio of the boxes that layer `k` puts into a cell.
    fn boxes(&self, k: usize) -> Vec<(f32, f32)> {
        let scale = self.scale(k);
        if k == 0 && self.reduce_lowest {
            return vec![(0.1, 1.0), (scale, 2.0), (scale, 0.5)];
        }
        let mut boxes: Vec<_> = self.aspect_ratios.iter().map(|&ratio| (scale, ratio)).collect();
        if self.interpolated_aspect_ratio > 0.0 {
            let next = if k + 1 == self.strides.len() { 1.0 } else { self.scale(k + 1) };
            boxes.push(((scale * next).sqrt(), self.interpolated_aspect_ratio));
        }
        boxes
    }

    /// The anchors, map by map, row by row, cell by cell. A stride of 0 has no cells.
    pub fn generate(&self) -> Vec<Anchor> {
        let mut anchors = Vec::new();
        let mut layer = 0;
        while layer < self.strides.len() {
            let stride = self.strides[layer];
            let same = self.strides[layer..].iter().take_while(|&&s| s == stride).count();
            let boxes: Vec<_> = (layer..layer + same).flat_map(|k| self.boxes(k)).collect();
            layer += same;
            if stride == 0 {
                continue;
            }
            let rows = self.input_height.div_ceil(stride);
            let columns = self.input_width.div_ceil(stride);
            for (row, column) in cells(rows, columns) {
                let (y, x) = (centre(row, rows), centre(column, columns));
                anchors.extend(boxes.iter().map(|&(scale, ratio)| {
                    let (w, h) = (scale * ratio.sqrt(), scale / ratio.sqrt());
                    let (w, h) = if self.fixed_size { (1.0, 1.0) } else { (w, h) };
                    Anchor { x, y, w, h }
                }));
            }
        }
        anchors
    }
}

/// The priors of Ultra-Light-Fast-Generic-Face-Detector for an input of this size: square boxes of
/// 10, 16, 24 pixels at stride 8; 32, 48 at 16; 64, 96 at 32; 128, 192, 256 at 64; clipped to the
/// picture. 4420 for 320 x 240.
pub fn ultra_light_priors(width: usize, height: usize) -> Vec<Anchor> {
    const BOXES: [(usize, &[f32]); 4] = [
        (8, &[10.0, 16.0, 24.0]),
        (16, &[32.0, 48.0]),
        (32, &[64.0, 96.0]),
        (64, &[128.0, 192.0, 256.0]),
    ];
    let mut priors = Vec::new();
    for (stride, sides) in BOXES {
        let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
        // The grid is that of the stride, also where the last cell reaches past the picture.
        let share = |cell: usize, extent: usize| {
            ((cell as f32 + 0.5) * stride as f32 / extent as f32).clamp(0.0, 1.0)
        };
        for (row, column) in cells(rows, columns) {
            priors.extend(sides.iter().map(|&side| Anchor {
                x: share(column, width),
                y: share(row, height),
                w: (side / width as f32).min(1.0),
                h: (side / height as f32).min(1.0),
            }));
        }
    }
    priors
}

fn cells(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

fn centre(cell: usize, cells: usize) -> f32 {
    (cell as f32 + 0.5) / cells as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mediapipe_detectors_have_as_many_anchors_as_their_outputs_have_rows() {
        assert_eq!(SsdAnchors::mediapipe_face_short_range().generate().len(), 896);
        assert_eq!(SsdAnchors::mediapipe_pose().generate().len(), 2254);
        assert_eq!(SsdAnchors::mediapipe_palm().generate().len(), 2016);
    }

    #[test]
    fn short_range_anchors_lie_two_to_a_cell_then_six() {
        let anchors = SsdAnchors::mediapipe_face_short_range().generate();
        let unit = |x, y| Anchor { x, y, w: 1.0, h: 1.0 };
        assert_eq!(
            anchors[..3],
            [unit(1.0 / 32.0, 1.0 / 32.0); 2]
                .into_iter()
                .chain([unit(3.0 / 32.0, 1.0 / 32.0)])
                .collect::<Vec<_>>()[..]
        );
        assert_eq!(anchors[511], unit(31.0 / 32.0, 31.0 / 32.0));
        assert_eq!(anchors[512..518], [unit(1.0 / 16.0, 1.0 / 16.0); 6]);
        assert_eq!(anchors[518], unit(3.0 / 16.0, 1.0 / 16.0));
    }

    #[test]
    fn ssd_boxes_follow_scales_and_ratios() {
        let ssd = SsdAnchors {
            input_height: 300,
            input_width: 300,
            strides: vec![150, 300],
            min_scale: 0.2,
            max_scale: 0.8,
            aspect_ratios: vec![1.0, 4.0],
            interpolated_aspect_ratio: 1.0,
            reduce_lowest: true,
            fixed_size: false,
        };
        let anchors = ssd.generate();
        assert_eq!(anchors.len(), 4 * 3 + 3);
        let near = |a: Anchor, want: [f32; 4]| {
            let got = [a.x, a.y, a.w, a.h];
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?} {want:?}");
        };
        near(anchors[0], [0.25, 0.25, 0.1, 0.1]);
        // Aspect ratio 2 at scale 0.2: 0.2 * sqrt 2 by 0.2 / sqrt 2.
        near(anchors[1], [0.25, 0.25, 0.282_842_7, 0.141_421_35]);
        near(anchors[12], [0.5, 0.5, 0.8, 0.8]);
        near(anchors[13], [0.5, 0.5, 1.6, 0.4]);
        // sqrt(0.8 * 1).
        near(anchors[14], [0.5, 0.5, 0.894_427_2, 0.894_427_2]);
    }

    #[test]
    fn ultra_light_priors_reach_the_golden_count() {
        let priors = ultra_light_priors(320, 240);
        assert_eq!(priors.len(), 4420);
        assert_eq!(
            priors[0],
            Anchor { x: 0.0125, y: 4.0 / 240.0, w: 10.0 / 320.0, h: 10.0 / 240.0 }
        );
        // 256 pixels are more than the height.
        assert_eq!(priors[4419].h, 1.0);
        // The last row of stride 64 begins at 192 of 240, its centre is at 224.
        assert_eq!(priors[4419].y, 224.0 / 240.0);
    }

    #[test]
    fn no_layers_and_no_stride_give_no_anchors() {
        let mut ssd = SsdAnchors::mediapipe_pose();
        ssd.strides = vec![0];
        assert!(ssd.generate().is_empty());
        ssd.strides.clear();
        assert!(ssd.generate().is_empty());
    }
}
