use super::*;
use depthwise_layers::{Activation, ConvTranspose2d, DepthToSpace, SpaceToDepth};
use depthwise_tensor::{Hw, Pad2d};

#[test]
fn blocks_of_channels_become_pixels_and_back() {
    // One pixel of 8 channels: blocks of 2x2 pixels of 2 channels.
    let x = ramp(&[1, 1, 2, 8], 0.0);
    let block = Hw::square(2);
    let y = values(DepthToSpace { block }, &[&x], &[1, 2, 4, 2]);
    #[rustfmt::skip]
    assert_eq!(y, [0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0,
                   4.0, 5.0, 6.0, 7.0, 12.0, 13.0, 14.0, 15.0]);
    let y = t(&[1, 2, 4, 2], &y);
    assert_eq!(values(SpaceToDepth { block }, &[&y], &[1, 1, 2, 8]), x.to_f32().as_ref());
    assert!(refusal(DepthToSpace { block }, &[&ramp(&[1, 1, 1, 6], 0.0)]).contains("6 channels"));
    assert!(refusal(SpaceToDepth { block }, &[&ramp(&[1, 3, 2, 1], 0.0)]).contains("3 rows"));
    let none = Hw { h: 0, w: 1 };
    assert!(refusal(DepthToSpace { block: none }, &[&x]).contains("0x1"));
    assert!(refusal(SpaceToDepth { block: none }, &[&x]).contains("0x1"));
}

#[test]
fn blocks_may_be_longer_than_wide() {
    let x = ramp(&[1, 1, 2, 2], 0.0);
    let block = Hw { h: 2, w: 1 };
    let y = values(DepthToSpace { block }, &[&x], &[1, 2, 2, 1]);
    assert_eq!(y, [0.0, 2.0, 1.0, 3.0]);
    let y = t(&[1, 2, 2, 1], &y);
    assert_eq!(values(SpaceToDepth { block }, &[&y], &[1, 1, 2, 2]), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn every_pixel_adds_its_filter_to_a_window() {
    let x = t(&[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    let w = ramp(&[1, 3, 3, 1], 1.0);
    let conv = ConvTranspose2d { stride: Hw::square(2), ..ConvTranspose2d::default() };
    #[rustfmt::skip]
    let whole = [ 1.0,  2.0,  5.0,  4.0,  6.0,
                  4.0,  5.0, 14.0, 10.0, 12.0,
                 10.0, 14.0, 36.0, 24.0, 30.0,
                 12.0, 15.0, 34.0, 20.0, 24.0,
                 21.0, 24.0, 55.0, 32.0, 36.0];
    assert_eq!(values(conv.clone(), &[&x, &w], &[1, 5, 5, 1]), whole);
    assert_eq!(macs(conv.clone(), &[&x, &w]), 36);

    // A row off the top, a column off the right, a row of nothing but bias at the bottom.
    let cut = ConvTranspose2d {
        padding: Pad2d { top: 1, left: 0, bottom: 0, right: 1 },
        output_padding: Hw { h: 1, w: 0 },
        activation: Activation::Clip { min: 0.0, max: 30.5 },
        ..conv.clone()
    };
    let bias = t(&[1], &[0.5]);
    #[rustfmt::skip]
    assert_eq!(values(cut, &[&x, &w, &bias], &[1, 5, 4, 1]),
        [ 4.5,  5.5, 14.5, 10.5,
         10.5, 14.5, 30.5, 24.5,
         12.5, 15.5, 30.5, 20.5,
         21.5, 24.5, 30.5, 30.5,
          0.5,  0.5,  0.5,  0.5]);
}

#[test]
fn taps_of_a_transposed_convolution_spread_out() {
    let x = t(&[1, 1, 2, 1], &[1.0, 10.0]);
    let w = t(&[1, 1, 2, 1], &[1.0, 2.0]);
    let conv = ConvTranspose2d { dilation: Hw { h: 1, w: 2 }, ..ConvTranspose2d::default() };
    assert_eq!(values(conv, &[&x, &w], &[1, 1, 4, 1]), [1.0, 10.0, 2.0, 20.0]);
}

#[test]
fn groups_of_a_transposed_convolution_read_their_own_channels() {
    let x = t(&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
    let w = t(&[2, 1, 1, 2], &[1.0, 10.0, 100.0, 1000.0]);
    let conv = ConvTranspose2d { groups: 2, ..ConvTranspose2d::default() };
    assert_eq!(values(conv.clone(), &[&x, &w], &[1, 1, 1, 2]), [21.0, 4300.0]);
    assert!(refusal(ConvTranspose2d { groups: 3, ..conv.clone() }, &[&x, &w]).contains("3 groups"));
    assert!(refusal(ConvTranspose2d { groups: 1, ..conv.clone() }, &[&x, &w]).contains("1 groups"));
    let cut = ConvTranspose2d { padding: Pad2d::all(1), ..conv.clone() };
    assert!(refusal(cut, &[&x, &w]).contains("cut off"));
    let still = ConvTranspose2d { stride: Hw { h: 0, w: 1 }, ..conv };
    assert!(refusal(still, &[&x, &w]).contains("stride 0"));
}
