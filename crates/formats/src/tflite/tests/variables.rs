//! Variables: states of the graph.

use super::build::*;
use crate::tflite::read;
use crate::tflite::wire::{Field, Record, tensor_type};
use bytes::Bytes;
use depthwise_layers::ir::{Graph, interpret_stateful};
use depthwise_tensor::Tensor;

const ADD: i32 = 0;
const CONCATENATION: i32 = 2;
const SLICE: i32 = 65;
const CALL_ONCE: i32 = 129;
const VAR_HANDLE: i32 = 142;
const READ: i32 = 143;
const ASSIGN: i32 = 144;

fn handle(net: &mut Net, name: &str) -> i32 {
    let tensor = net.tensor(&format!("handle_{name}"), &[], tensor_type::RESOURCE);
    let options = Record::new().with(1, Field::Text(name.into()));
    net.push(VAR_HANDLE, &[], &[tensor], options);
    tensor
}

fn call_once(net: &mut Net, network: i32) {
    net.push(CALL_ONCE, &[], &[], Record::new().with(0, Field::I32(network)));
}

fn assign(net: &mut Net, handle: i32, value: i32) {
    net.push(ASSIGN, &[handle, value], &[], Record::new());
}

/// The network that gives each variable its first elements.
fn initialize(net: &mut Net, variables: &[(&str, &[f32])]) {
    net.next_network();
    for (name, elements) in variables {
        let h = handle(net, name);
        let first = net.f32s("first", &[elements.len() as i32], elements);
        assign(net, h, first);
    }
}

/// The last three inputs: `window = concat(window[1..], x)`, kept in variable `past`.
pub(super) fn window() -> Net {
    let mut net = Net::new(&[1]);
    call_once(&mut net, 1);
    let h = handle(&mut net, "past");
    let past = net.op(READ, &[h], Record::new());
    let (begin, size) = (net.ints(&[1]), net.ints(&[2]));
    let rest = net.op(SLICE, &[past, begin, size], Record::new());
    let now = net.op(CONCATENATION, &[rest, 0], Record::new());
    assign(&mut net, h, now);
    net.output(now);
    initialize(&mut net, &[("past", &[7.0, 8.0, 9.0])]);
    net
}

#[track_caller]
fn graph(net: &Net) -> Graph {
    read(Bytes::from(net.encode())).unwrap()
}

/// The results of runs, one number of input each.
fn runs(net: &Net, inputs: &[f32]) -> Vec<Vec<f32>> {
    let graph = graph(net);
    let mut states: Vec<Tensor> = Vec::new();
    let mut run = |&x: &f32| {
        let results = interpret_stateful(&graph, &mut states, &[t(&[1], &[x])]).unwrap();
        results.iter().flat_map(|t| t.to_f32().into_owned()).collect()
    };
    inputs.iter().map(&mut run).collect()
}

#[test]
fn a_window_slides_from_run_to_run() {
    let net = window();
    let want = [[8.0, 9.0, 1.0], [9.0, 1.0, 2.0], [1.0, 2.0, 3.0]];
    assert_eq!(runs(&net, &[1.0, 2.0, 3.0]), want);
    let graph = graph(&net);
    assert_eq!((graph.states().len(), graph.inputs().len(), graph.outputs().len()), (1, 2, 2));
    assert_eq!(graph.value(graph.inputs()[1]).name, "past");
}

#[test]
fn what_is_read_depends_on_where_it_is_read() {
    // Two variables that swap, and a reading after the assignment.
    let mut net = Net::new(&[1]);
    call_once(&mut net, 1);
    let (a, b) = (handle(&mut net, "a"), handle(&mut net, "b"));
    let (old_a, old_b) = (net.op(READ, &[a], Record::new()), net.op(READ, &[b], Record::new()));
    let sum = net.op(ADD, &[old_b, 0], Record::new());
    assign(&mut net, a, sum);
    assign(&mut net, b, old_a);
    let new_a = net.op(READ, &[a], Record::new());
    net.output(old_a).output(old_b).output(new_a);
    initialize(&mut net, &[("a", &[1.0]), ("b", &[10.0])]);
    let want = [[1.0, 10.0, 110.0], [110.0, 1.0, 201.0], [201.0, 110.0, 410.0]];
    assert_eq!(runs(&net, &[100.0, 200.0, 300.0]), want);
}

#[test]
fn a_variable_that_no_run_assigns_or_that_every_run_assigns_first() {
    let mut net = Net::new(&[1]);
    call_once(&mut net, 1);
    let (a, b) = (handle(&mut net, "a"), handle(&mut net, "b"));
    let a = net.op(READ, &[a], Record::new());
    assign(&mut net, b, 0);
    let b = net.op(READ, &[b], Record::new());
    let y = net.op(ADD, &[a, b], Record::new());
    net.output(y);
    initialize(&mut net, &[("a", &[4.0]), ("b", &[0.0])]);
    assert_eq!(runs(&net, &[1.0, 2.0]), [[5.0], [6.0]]);
    assert_eq!(graph(&net).states().len(), 1);
}

#[track_caller]
fn refused(net: &Net, reason: &str) {
    let found = net.unsupported();
    assert!(found.iter().any(|o| o.reason.contains(reason)), "{found:?}");
}

#[test]
fn variables_that_make_no_sense_are_refused() {
    // Read, but never given elements.
    let mut net = Net::new(&[1]);
    let h = handle(&mut net, "lost");
    let y = net.op(READ, &[h], Record::new());
    refused(net.output(y), "\"lost\" its first elements");
    // No handle.
    let mut net = Net::new(&[1]);
    let y = net.op(READ, &[0], Record::new());
    refused(net.output(y), "no handle");
    // Other extents.
    let mut net = Net::new(&[1]);
    call_once(&mut net, 1);
    let h = handle(&mut net, "wide");
    let y = net.op(READ, &[h], Record::new());
    assign(&mut net, h, 0);
    net.output(y);
    initialize(&mut net, &[("wide", &[1.0, 2.0])]);
    refused(&net, "is f32[2], and would become f32[1]");
}

#[test]
fn networks_that_initialize_are_bounded() {
    for network in [-1, 0, 2, 9] {
        let mut net = Net::new(&[1]);
        call_once(&mut net, 1);
        call_once(&mut net, network);
        net.output(0);
        initialize(&mut net, &[("a", &[1.0])]);
        net.next_network();
        refused(
            &net,
            if [0, 2].contains(&network) { "is not the only one" } else { "has no network" },
        );
    }
    // It calls itself.
    let mut net = Net::new(&[1]);
    call_once(&mut net, 1);
    net.output(0).next_network();
    call_once(&mut net, 1);
    refused(&net, "of network \"further\"");
}
