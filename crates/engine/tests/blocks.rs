//! Transposed convolutions and blocks of pixels against the interpreter, at every ISA level.

mod common;

use common::{numbers, relative_error};
use depthwise_engine::layers::ir::{InputType, interpret};
use depthwise_engine::layers::{Activation, ConvTranspose2d, DepthToSpace, SpaceToDepth};
use depthwise_engine::tensor::{Hw, Pad2d};
use depthwise_engine::{Cpu, DType, Graph, Model, Options, Tensor};

/// Sums of up to some 500 products of numbers below 1.
const BOUND: f32 = 2e-5;

#[track_caller]
fn check(graph: &Graph, input: &Tensor) {
    let want = interpret(graph, std::slice::from_ref(input)).unwrap();
    for cpu in Cpu::from_env().unwrap().levels() {
        for threads in [1, 2] {
            let options = Options { threads, isa: Some(cpu.isa()), ..Options::default() };
            let model = Model::from_graph(graph.clone(), options).unwrap();
            let mut session = model.session_for(&[*input.shape()]).unwrap();
            let got = session.run_tensors(std::slice::from_ref(input)).unwrap();
            assert_eq!(got[0].shape(), want[0].shape());
            let error = relative_error(&got[0], &want[0]);
            assert!(error < BOUND, "{cpu}, {threads} threads: {error}\n{graph}");
        }
    }
}

/// A transposed convolution of a picture of `c` channels to `oc` with a bias.
#[track_caller]
fn check_transposed(dims: [usize; 4], oc: usize, kernel: Hw, layer: ConvTranspose2d) {
    let mut graph = Graph::new("transposed");
    let x = graph.add_input("x", InputType::fixed(DType::F32, &dims));
    let w = graph.add_const("w", numbers(&[oc, kernel.h, kernel.w, dims[3]], 1));
    let b = graph.add_const("b", numbers(&[oc], 2));
    let y = graph.add("y", layer, &[x, w, b]);
    graph.add_output(y);
    check(&graph, &numbers(&dims, 3));
}

#[test]
fn transposed_convolutions_of_every_geometry_agree() {
    let kernels = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 2), (2, 5)];
    for (kh, kw) in kernels {
        for (sh, sw) in [(1, 1), (2, 2), (3, 2), (2, 3)] {
            for cut in [0, 1, 2] {
                let cut_of = |kernel: usize| cut.min(kernel - 1);
                let layer = ConvTranspose2d {
                    stride: Hw { h: sh, w: sw },
                    padding: Pad2d {
                        top: cut_of(kh),
                        bottom: cut_of(kh) / 2,
                        left: cut_of(kw) / 2,
                        right: cut_of(kw),
                    },
                    output_padding: Hw { h: cut, w: 0 },
                    activation: Activation::RELU6,
                    ..ConvTranspose2d::default()
                };
                check_transposed([1, 3, 4, 5], 3, Hw { h: kh, w: kw }, layer);
            }
        }
    }
}

#[test]
fn transposed_convolutions_of_many_channels_and_pictures_agree() {
    for (c, oc) in [(1, 1), (16, 1), (17, 33), (64, 24)] {
        let layer = ConvTranspose2d {
            stride: Hw::square(2),
            padding: Pad2d { top: 0, left: 0, bottom: 1, right: 1 },
            activation: Activation::HardSwish,
            ..ConvTranspose2d::default()
        };
        check_transposed([2, 5, 6, c], oc, Hw::square(3), layer);
    }
}

#[test]
fn dilated_transposed_convolutions_agree() {
    for dilation in [Hw::square(2), Hw { h: 3, w: 1 }] {
        let layer =
            ConvTranspose2d { dilation, stride: Hw { h: 2, w: 1 }, ..ConvTranspose2d::default() };
        check_transposed([1, 4, 4, 3], 2, Hw::square(3), layer);
    }
}

#[test]
fn blocks_of_any_channels_agree() {
    for block in [Hw::ONE, Hw::square(2), Hw { h: 3, w: 2 }] {
        for depth in [1, 3, 16, 17] {
            let dims = [2, 3, 2, depth * block.area()];
            let mut graph = Graph::new("blocks");
            let x = graph.add_input("x", InputType::fixed(DType::F32, &dims));
            let wide = graph.add("wide", DepthToSpace { block }, &[x]);
            let sum = depthwise_engine::layers::Activate { activation: Activation::Tanh };
            let wide = graph.add("tanh", sum, &[wide]);
            let y = graph.add("y", SpaceToDepth { block }, &[wide]);
            graph.add_output(wide);
            graph.add_output(y);
            check(&graph, &numbers(&dims, 5));
        }
    }
}
