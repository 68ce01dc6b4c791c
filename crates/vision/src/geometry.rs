//! Points, boxes, and what a detector finds.

/// A point; the unit is that of the boxes around it: pixels, or shares of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Downwards.
    pub y: f32,
}

/// A box with sides along the axes. Empty where `right <= left` or `bottom <= top`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Smallest x.
    pub left: f32,
    /// Smallest y.
    pub top: f32,
    /// Largest x.
    pub right: f32,
    /// Largest y.
    pub bottom: f32,
}

impl Rect {
    /// The box around a centre.
    pub fn around(centre: Point, width: f32, height: f32) -> Rect {
        Rect {
            left: centre.x - width / 2.0,
            top: centre.y - height / 2.0,
            right: centre.x + width / 2.0,
            bottom: centre.y + height / 2.0,
        }
    }

    /// Extent along x, not below 0.
    pub fn width(&self) -> f32 {
        (self.right - self.left).max(0.0)
    }

    /// Extent along y, not below 0.
    pub fn height(&self) -> f32 {
        (self.bottom - self.top).max(0.0)
    }

    /// Width times height.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// The middle.
    pub fn centre(&self) -> Point {
        Point { x: (self.left + self.right) / 2.0, y: (self.top + self.bottom) / 2.0 }
    }

    /// What lies in both; empty where they are apart.
    pub fn intersection(&self, other: &Rect) -> Rect {
        Rect {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }

    /// Intersection over union (the Jaccard index): 1 for equal boxes, 0 for boxes apart and where
    /// both are empty.
    pub fn iou(&self, other: &Rect) -> f32 {
        let common = self.intersection(other).area();
        let union = self.area() + other.area() - common;
        if union > 0.0 { common / union } else { 0.0 }
    }

    /// The box whose opposite corners go where `f` sends these.
    pub fn map(&self, f: impl Fn(Point) -> Point) -> Rect {
        let a = f(Point { x: self.left, y: self.top });
        let b = f(Point { x: self.right, y: self.bottom });
        Rect { left: a.x, top: a.y, right: b.x, bottom: b.y }
    }

    fn is_finite(&self) -> bool {
        [self.left, self.top, self.right, self.bottom].iter().all(|x| x.is_finite())
    }
}

/// Something found on a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detection {
    /// Where.
    pub rect: Rect,
    /// How sure the network is, between 0 and 1.
    pub score: f32,
    /// What; 0 where the network knows one kind.
    pub class: usize,
    /// Points on it, in the network's order.
    pub keypoints: Vec<Point>,
}

impl Detection {
    /// The same with box and points sent elsewhere: from shares to pixels, out of a letterbox.
    pub fn map(&self, f: impl Fn(Point) -> Point) -> Detection {
        Detection {
            rect: self.rect.map(&f),
            keypoints: self.keypoints.iter().map(|&p| f(p)).collect(),
            ..*self
        }
    }

    /// Whether the score and all places are finite numbers.
    pub fn is_finite(&self) -> bool {
        let points = self.keypoints.iter().all(|p| p.x.is_finite() && p.y.is_finite());
        self.score.is_finite() && self.rect.is_finite() && points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(left: f32, top: f32, right: f32, bottom: f32) -> Rect {
        Rect { left, top, right, bottom }
    }

    #[test]
    fn iou_meets_hand_values() {
        let a = rect(0.0, 0.0, 4.0, 2.0);
        assert_eq!(a.iou(&a), 1.0);
        // 2 x 2 in common, 8 + 8 - 4 together.
        assert_eq!(a.iou(&rect(2.0, 0.0, 6.0, 2.0)), 4.0 / 12.0);
        assert_eq!(a.iou(&rect(4.0, 0.0, 6.0, 2.0)), 0.0);
        assert_eq!(rect(1.0, 1.0, 1.0, 1.0).iou(&rect(1.0, 1.0, 1.0, 1.0)), 0.0);
        // An inside-out box has no area.
        assert_eq!(rect(3.0, 0.0, 1.0, 2.0).iou(&a), 0.0);
    }

    #[test]
    fn boxes_know_their_centre_and_move() {
        let r = Rect::around(Point { x: 5.0, y: 3.0 }, 4.0, 2.0);
        assert_eq!(r, rect(3.0, 2.0, 7.0, 4.0));
        assert_eq!(r.centre(), Point { x: 5.0, y: 3.0 });
        let doubled = r.map(|p| Point { x: p.x * 2.0, y: p.y + 1.0 });
        assert_eq!(doubled, rect(6.0, 3.0, 14.0, 5.0));
    }
}
