//! Real checkpoints, run by the interpreter, against the logits that ONNX Runtime gave.

use depthwise_formats::{safetensors, torch};
use depthwise_layers::ir::interpret;
use depthwise_zoo::{Checkpoint, EfficientNetLite, MobileNetV2, Network};
use std::path::Path;

fn check(checkpoint: &str, golden: &str, net: &impl Network) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    if !models.is_dir() {
        println!("skipped: no ../shared");
        return;
    }
    let weights = torch::open(models.join("weights").join(checkpoint)).unwrap();
    let graph = net.build(&Checkpoint::new(&weights)).unwrap();
    let golden = safetensors::open(models.join("golden").join(golden)).unwrap();
    let input = golden.get("in/input_nhwc").unwrap().clone();
    let got = &interpret(&graph, &[input]).unwrap()[0];
    let (got, want) = (got.to_f32(), golden.get("out/logits").unwrap().to_f32());
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
    let pairs = got.iter().zip(want.iter());
    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{checkpoint}: largest difference {difference:e}, largest logit {largest}");
    assert!(difference < 1e-3 * largest, "{difference} of {largest}");
}

#[test]
fn mobilenet_v2_of_torchvision_meets_its_golden() {
    let net = MobileNetV2::new(1.0);
    check("mobilenet_v2-b0353104.pth", "mobilenet_v2_imagenet.safetensors", &net);
}

#[test]
fn efficientnet_lite0_meets_its_golden() {
    let net = EfficientNetLite::lite0();
    let golden = "efficientnet_lite0_imagenet.safetensors";
    check("efficientnet-lite0-57934424.pth", golden, &net);
}
