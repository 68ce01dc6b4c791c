//! Operators that the format does not know.

use super::build::*;
use crate::tflite::{CustomOps, read, read_with};
use bytes::Bytes;
use depthwise_layers::ir::interpret;
use depthwise_layers::{Activation, Binary, BinaryFn};
use depthwise_tensor::Tensor;

#[test]
fn unknown_operators_are_named() {
    let mut net = Net::new(&[2]);
    let y = net.custom("Frobnicate", &[0], &[]);
    let z = net.op(59, &[y], Default::default());
    let found = net.output(z).unsupported();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].op, "Frobnicate");
    assert!(found[0].to_string().contains("no custom operator of this name"));
}

#[test]
fn a_registered_operator_is_converted() {
    let mut net = Net::new(&[2]);
    let y = net.custom("Plus", &[0], &[3]);
    let bytes = Bytes::from(net.output(y).encode());
    let mut custom = CustomOps::none();
    custom.insert("Plus", |node| {
        let x = node.input(0)?;
        assert_eq!(node.ty(x).shape.dims(), [2]);
        let n = node.options().first().copied().ok_or("no options")?;
        let n = node.add_constant(Tensor::scalar(f32::from(n)));
        let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
        Ok(vec![node.add(add, &[x, n])?])
    });
    let graph = read_with(bytes.clone(), &custom).unwrap();
    let y = interpret(&graph, &[t(&[2], &[1.0, 2.0])]).unwrap();
    assert_eq!(y[0].to_f32()[..], [4.0, 5.0]);

    custom.insert("Plus", |_| Err("not today".into()));
    let error = read_with(bytes.clone(), &custom).unwrap_err().to_string();
    assert!(error.contains("Plus") && error.contains("not today"), "{error}");
    custom.insert("Plus", |_| Ok(Vec::new()));
    let error = read_with(bytes.clone(), &custom).unwrap_err().to_string();
    assert!(error.contains("0 results for 1 outputs"), "{error}");
    custom.insert("Plus", |node| node.input(7).map(|x| vec![x]));
    let error = read_with(bytes, &custom).unwrap_err().to_string();
    assert!(error.contains("input number 7 is missing"), "{error}");
}

#[test]
fn transposed_convolution_of_mediapipe_doubles_a_picture() {
    let mut net = Net::new(&[1, 1, 2, 1]);
    let w = net.f32s("w", &[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    let b = net.f32s("b", &[1], &[0.5]);
    let options = |rule: u8| [rule, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
    let y = net.custom("Convolution2DTransposeBias", &[0, w, b], &options(1));
    let x = t(&[1, 1, 2, 1], &[1.0, 10.0]);
    let want = [1.5, 2.5, 10.5, 20.5, 3.5, 4.5, 30.5, 40.5];
    assert_eq!(net.output(y).values(&x, &[1, 2, 4, 1]), want);

    let mut net = Net::new(&[1, 1, 2, 1]);
    let w = net.f32s("w", &[1, 2, 2, 1], &[1.0; 4]);
    let y = net.custom("Convolution2DTransposeBias", &[0, w], &options(9));
    assert!(net.output(y).unsupported()[0].reason.contains("options"));
    assert!(read(Bytes::from(net.encode())).is_err());
}
