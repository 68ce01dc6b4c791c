//! Windows over three axes, against loops over all taps.

use super::*;

/// Numbers of three axes: depth, height, width.
type Triple = [usize; 3];

struct Case {
    extents: Triple,
    kernel: Triple,
    stride: Triple,
    dilation: Triple,
    before: Triple,
    after: Triple,
    groups: usize,
    /// Channels in and out of a group.
    channels: (usize, usize),
}

impl Case {
    fn attributes(&self) -> Attributes {
        let pads: Vec<usize> = self.before.into_iter().chain(self.after).collect();
        vec![
            ("kernel_shape", list(&extents(&self.kernel))),
            ("strides", list(&extents(&self.stride))),
            ("dilations", list(&extents(&self.dilation))),
            ("pads", list(&extents(&pads))),
            ("group", int(self.groups as i64)),
        ]
    }

    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }
}

/// All positions below three extents, in order.
fn places([d, h, w]: Triple) -> impl Iterator<Item = Triple> {
    (0..d * h * w).map(move |i| [i / (h * w), i / w % h, i % w])
}

fn index([_, h, w]: Triple, [z, y, x]: Triple) -> usize {
    (z * h + y) * w + x
}

/// Small whole numbers, so that every order of summation gives the same.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7 + i / 5 + seed) % 11) as f32 - 5.0).collect()
}

/// `transposed` tells which of two positions of a tap is that of the input.
fn check_volume(case: &Case, transposed: bool) {
    let Case { extents: input, kernel, groups, channels: (ic, oc), .. } = *case;
    let output: Triple = std::array::from_fn(|axis| {
        let (pads, reach) = (case.before[axis] + case.after[axis], case.reach(axis));
        match transposed {
            true => (input[axis] - 1) * case.stride[axis] + reach - pads,
            false => (input[axis] + pads - reach) / case.stride[axis] + 1,
        }
    });
    let volume = |extents: Triple| extents.iter().product::<usize>();
    let (n, taps) = (2, volume(kernel));
    let x = numbers(n * groups * ic * volume(input), 1);
    let w = numbers(groups * ic * oc * taps, 2);
    let b = numbers(groups * oc, 3);
    let mut want = vec![0.0; n * groups * oc * volume(output)];
    for (i, y) in want.iter_mut().enumerate() {
        *y = b[i / volume(output) % (groups * oc)];
    }
    // The windows start at places of the one, and their taps lie at places of the other.
    let (starts, others) = if transposed { (input, output) } else { (output, input) };
    for picture in 0..n {
        for (group, pair) in (0..groups * ic * oc).map(|i| (i / (ic * oc), i % (ic * oc))) {
            let (i, o) = (group * ic + pair / oc, group * oc + pair % oc);
            let filter = if transposed { i * oc + pair % oc } else { o * ic + pair / oc };
            for start in places(starts) {
                for tap in places(kernel) {
                    let at: Triple = std::array::from_fn(|axis| {
                        let to = start[axis] * case.stride[axis] + tap[axis] * case.dilation[axis];
                        to.wrapping_sub(case.before[axis])
                    });
                    if (0..3).any(|axis| at[axis] >= others[axis]) {
                        continue;
                    }
                    let (from, to) = if transposed { (start, at) } else { (at, start) };
                    let from = (picture * groups * ic + i) * volume(input) + index(input, from);
                    let to = (picture * groups * oc + o) * volume(output) + index(output, to);
                    want[to] += x[from] * w[filter * taps + index(kernel, tap)];
                }
            }
        }
    }
    let first = if transposed { [groups * ic, oc] } else { [groups * oc, ic] };
    let filters: Vec<usize> = first.into_iter().chain(kernel).collect();
    let dims: Vec<usize> = [n, groups * ic].into_iter().chain(input).collect();
    let kind = if transposed { "ConvTranspose" } else { "Conv" };
    let conv = node(kind, &["x", "w", "b"], "y", case.attributes());
    let constants = vec![floats("w", &filters, &w), floats("b", &[groups * oc], &b)];
    check(&model(13, &dims, vec![conv], constants), &tensor(&dims, &x), &want);
}

#[test]
fn convolutions_over_three_axes_match_loops() {
    let plain = Case {
        extents: [4, 5, 6],
        kernel: [3, 3, 3],
        stride: [1; 3],
        dilation: [1; 3],
        before: [1; 3],
        after: [1; 3],
        groups: 1,
        channels: (3, 9),
    };
    let cases = [
        Case { kernel: [1, 2, 3], before: [0; 3], after: [0; 3], channels: (1, 2), ..plain },
        Case { stride: [2, 1, 3], before: [0, 1, 2], after: [1, 0, 1], groups: 2, ..plain },
        Case { dilation: [1, 2, 2], kernel: [2, 2, 3], groups: 4, channels: (1, 1), ..plain },
        plain,
    ];
    for case in cases {
        check_volume(&case, false);
        check_volume(&case, true);
    }
}
