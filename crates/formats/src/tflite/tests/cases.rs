//! Cases that other runtimes got wrong: C04, C05, C06 and C19 of CASES.md.

use super::build::*;
use crate::tflite::wire::{Field, Record};
use depthwise_layers::Op;
use depthwise_tensor::Tensor;

const RESIZE_BILINEAR: i32 = 23;

fn c04(multiplier: i32) -> Net {
    let mut net = Net::new(&[1, 2, 2, 2]);
    let w = net.f32s("filter", &[1, 1, 1, 4], &[1.0, 10.0, 100.0, 1000.0]);
    let y = net.op(4, &[0, w], window(false, 1).with(3, Field::I32(multiplier)));
    net.output(y);
    net
}

const C04: [f32; 16] = [
    1.0, 10.0, 200.0, 2000.0, 3.0, 30.0, 400.0, 4000.0, //
    5.0, 50.0, 600.0, 6000.0, 7.0, 70.0, 800.0, 8000.0,
];

#[test]
fn c04_depth_multiplier_of_two_repeats_each_channel() {
    assert_eq!(c04(2).values(&ramp(&[1, 2, 2, 2], 1.0), &[1, 2, 2, 4]), C04);
}

#[test]
fn c05_depth_multiplier_is_derived_or_refused() {
    assert_eq!(c04(0).values(&ramp(&[1, 2, 2, 2], 1.0), &[1, 2, 2, 4]), C04);
    for wrong in [3, -2, 1, i32::MAX] {
        let found = c04(wrong).unsupported();
        assert_eq!(found[0].index, 0);
        let reason = &found[0].reason;
        assert!(reason.contains(&wrong.to_string()), "{reason}");
        assert!(reason.contains("\"filter\" has 4"), "{reason}");
    }
}

const C06: [f32; 25] = [
    -12.0, -12.0, -1.0, 16.0, 18.0, -12.0, -12.0, 4.0, 26.0, 28.0, -7.0, -4.0, 21.0, 46.0, 51.0,
    36.0, 40.0, 50.0, 44.0, 48.0, 56.0, 60.0, 75.0, 64.0, 68.0,
];

const C06_FILTER: [f32; 9] = [1.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0];

/// The plane of C06 on `channels` channels, each channel's result to be scaled by its number.
fn c06(depthwise: bool, channels: usize, in_blocks: bool) -> (Net, Tensor, Vec<f32>) {
    let ch = channels as i32;
    let mut net = Net::new(&[1, 5, 5, ch]);
    let (code, w) = if depthwise {
        let taps: Vec<f32> =
            C06_FILTER.iter().flat_map(|&w| (0..channels).map(move |c| w * c as f32)).collect();
        (4, net.f32s("w", &[1, 3, 3, ch], &taps))
    } else {
        // Each output channel reads the input channel of its number.
        let tap = |oc: usize, k: usize, ic: usize| {
            if oc == ic { C06_FILTER[k] * oc as f32 } else { 0.0 }
        };
        let taps: Vec<f32> = (0..channels)
            .flat_map(|oc| (0..9).flat_map(move |k| (0..channels).map(move |ic| tap(oc, k, ic))))
            .collect();
        (3, net.f32s("w", &[ch, 3, 3, ch], &taps))
    };
    let dilation = if depthwise { 5 } else { 4 };
    let y = if in_blocks {
        // 5 rows and 2 of padding on either side do not divide by 2: a row more, cropped again.
        let (block, pads) = (net.ints(&[2, 2]), net.i32s(&[2, 2], &[2, 3, 2, 3]));
        let crops = net.i32s(&[2, 2], &[0, 1, 0, 1]);
        let blocks = net.op(38, &[0, block, pads], Record::new());
        let conv = net.op(code, &[blocks, w], window(true, 1));
        net.op(37, &[conv, block, crops], Record::new())
    } else {
        let two = || Field::I32(2);
        net.op(code, &[0, w], window(false, 1).with(dilation, two()).with(dilation + 1, two()))
    };
    net.output(y);
    let plane = |value: &dyn Fn(usize) -> f32| {
        (0..25).flat_map(|i| (0..channels).map(move |_| i)).map(value).collect::<Vec<f32>>()
    };
    let x = t(&[1, 5, 5, channels], &plane(&|i| i as f32 + 1.0));
    let want = (0..25).flat_map(|i| (0..channels).map(move |c| C06[i] * c as f32)).collect();
    (net, x, want)
}

#[test]
fn c06_dilation_natively_and_in_blocks_gives_one_convolution() {
    for depthwise in [false, true] {
        for channels in [1, 3, 8, 17, 33] {
            for in_blocks in [false, true] {
                let (net, x, want) = c06(depthwise, channels, in_blocks);
                assert_eq!(net.values(&x, &[1, 5, 5, channels]), want, "{channels} channels");
                let graph = crate::tflite::read(net.encode().into()).unwrap();
                let [node] = graph.nodes() else { panic!("{graph}") };
                assert!(matches!(node.op, Op::Conv2d(_) | Op::DepthwiseConv2d(_)), "{graph}");
            }
        }
    }
}

#[test]
fn c06_blocks_whose_batches_are_an_output_too_are_kept() {
    let (mut net, x, want) = c06(true, 3, true);
    let conv = net.outputs[0] - 1;
    net.output(conv);
    let got = net.run(&[x]);
    assert_eq!(got[0].to_f32()[..], want);
    assert_eq!(got[1].shape().dims(), [4, 3, 3, 3]);
}

#[test]
fn c19_resize_flags_map_to_coordinates() {
    let row = t(&[1, 1, 4, 1], &[0.0, 10.0, 20.0, 30.0]);
    let of = |align: u8, half: u8, width: i32| {
        let mut net = Net::new(&[1, 1, 4, 1]);
        let size = net.ints(&[1, width]);
        let options = Record::new().with(2, Field::U8(align)).with(3, Field::U8(half));
        let y = net.op(RESIZE_BILINEAR, &[0, size], options);
        net.output(y).values(&row, &[1, 1, width as usize, 1])
    };
    let close = |got: Vec<f32>, want: &[f32]| {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4), "{got:?}");
    };
    close(of(0, 1, 7), &[0.0, 3.571429, 9.285714, 15.0, 20.714286, 26.428571, 30.0]);
    close(of(1, 0, 7), &[0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
    close(of(0, 0, 7), &[0.0, 5.714286, 11.428571, 17.142857, 22.857143, 28.571429, 30.0]);
    close(of(0, 1, 1), &[15.0]);
    close(of(1, 0, 1), &[0.0]);
    close(of(0, 0, 1), &[0.0]);
}
