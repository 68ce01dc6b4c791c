//! Parameters and multiply-accumulate steps of the networks against published figures.

use depthwise_layers::Cost;
use depthwise_layers::ir::infer_types;
use depthwise_tensor::Shape;
use depthwise_zoo::{
    BatchNormForm, EfficientNetLite, MobileNetV1, MobileNetV2, MobileNetV3, Network, PaddingStyle,
    Random,
};

fn cost(net: &impl Network) -> Cost {
    let graph = net.build(&Random { seed: 1 }).unwrap();
    graph.verify().unwrap();
    let side = net.settings().resolution;
    let types = infer_types(&graph, &[Shape::new(&[1, side, side, 3]).unwrap()]).unwrap();
    graph.cost(&types)
}

/// Exact trainable parameters: torchvision's `meta["num_params"]` of the ImageNet weights, and
/// Keras' "Trainable params" of `MobileNet(alpha=1)`.
#[test]
fn parameters_equal_torchvision_and_keras() {
    assert_eq!(cost(&MobileNetV1::new(1.0)).params, 4_231_976);
    assert_eq!(cost(&MobileNetV2::new(1.0)).params, 3_504_872);
    assert_eq!(cost(&MobileNetV3::large(1.0)).params, 5_483_032);
    assert_eq!(cost(&MobileNetV3::small(1.0)).params, 2_542_856);
}

/// Multiply-accumulate steps, in millions, of `design/PERFORMANCE.md` of the shared material:
/// another generator of the same networks, TensorFlow's padding, 224 x 224.
#[test]
fn steps_equal_another_generator() {
    fn check(net: impl Network, millions: f64) {
        let got = cost(&net.padding(PaddingStyle::Same)).macs as f64 / 1e6;
        assert!((got - millions).abs() < 0.05, "{got} for {millions}");
    }
    check(MobileNetV1::new(1.0), 568.7);
    check(MobileNetV2::new(1.0), 300.8);
    check(MobileNetV3::large(1.0), 216.6);
    check(MobileNetV3::small(1.0), 56.5);
    check(EfficientNetLite::lite0(), 385.2);
}

/// Millions of steps and parameters as published: V1 in tables 6 and 7 of the paper (Howard et
/// al. 2017), V2 in the table of TensorFlow's `mobilenet/README.md`, whose parameters leave out
/// some of batch norm's. Within rounding of the published figures.
#[test]
fn steps_and_parameters_meet_the_published_tables() {
    for (width, side, steps, params) in [
        (1.0, 224, 569.0, 4.2),
        (0.75, 224, 325.0, 2.6),
        (0.5, 224, 149.0, 1.3),
        (0.25, 224, 41.0, 0.5),
        (1.0, 192, 418.0, 4.2),
        (1.0, 160, 290.0, 4.2),
        (1.0, 128, 186.0, 4.2),
    ] {
        let got = cost(&MobileNetV1::new(width).resolution(side));
        let (millions, parameters) = (got.macs as f64 / 1e6, got.params as f64 / 1e6);
        println!("V1 {width} {side}: {millions:.1} M steps, {parameters:.2} M parameters");
        assert!((millions - steps).abs() < 1.0, "V1 {width} {side}: {millions}");
        assert!((parameters - params).abs() < 0.05, "V1 {width}: {parameters}");
    }
    for (width, steps, params) in [
        (1.4, 582.0, 6.06),
        (1.0, 300.0, 3.47),
        (0.75, 209.0, 2.61),
        (0.5, 97.0, 1.95),
        (0.35, 59.0, 1.66),
    ] {
        let net = MobileNetV2::new(width).padding(PaddingStyle::Same);
        let got = cost(&net);
        let (millions, parameters) = (got.macs as f64 / 1e6, got.params as f64 / 1e6);
        println!("V2 {width}: {millions:.1} M steps, {parameters:.2} M parameters");
        assert!((millions - steps).abs() < 1.0, "V2 {width}: {millions}");
        assert!((parameters - params).abs() < 0.05, "V2 {width}: {parameters}");
    }
}

/// Millions of parameters in the table of TensorFlow's `efficientnet/lite/README.md`. Its steps do
/// not say what they count; those of convolutions and dense layers alone are 3 to 6% below for
/// each of the five, and for Lite0 equal another generator's (above).
#[test]
fn efficientnet_lite_meets_its_table() {
    for (net, steps, params) in [
        (EfficientNetLite::lite0(), 407.0, 4.7),
        (EfficientNetLite::lite1(), 631.0, 5.4),
        (EfficientNetLite::lite2(), 899.0, 6.1),
        (EfficientNetLite::lite3(), 1440.0, 8.2),
        (EfficientNetLite::lite4(), 2640.0, 13.0),
    ] {
        let got = cost(&net);
        let (share, parameters) = (got.macs as f64 / 1e6 / steps, got.params as f64 / 1e6);
        println!(
            "{}: {:.1} M, {parameters:.2} M",
            net.build(&Random { seed: 1 }).unwrap().name,
            got.macs as f64 / 1e6
        );
        assert!((parameters - params).abs() < 0.05, "{parameters} for {params}");
        assert!((0.94..=0.97).contains(&share), "{share} of {steps}");
    }
}

/// Folded: a bias per channel instead of factor and offset.
#[test]
fn folding_leaves_steps_and_drops_one_parameter_per_channel() {
    let separate = cost(&MobileNetV2::new(1.0));
    let folded = cost(&MobileNetV2::new(1.0).batch_norm(BatchNormForm::Folded));
    assert_eq!(folded.macs, separate.macs);
    assert_eq!(separate.params - folded.params, 17_056);
}
