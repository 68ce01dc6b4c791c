//! The engine against the interpreter, at every ISA level and several thread counts.

mod common;

use common::{fixed, mobile, numbers, relative_error};
use depthwise_engine::layers::ir::interpret;
use depthwise_engine::passes::PassOptions;
use depthwise_engine::{Cpu, Graph, Model, Options, Tensor};

/// Sums of up to some 1,000 products of numbers below 1, a dozen layers deep.
const BOUND: f32 = 2e-5;

fn run(graph: &Graph, options: Options, inputs: &[Tensor]) -> Vec<Tensor> {
    let model = Model::from_graph(graph.clone(), options).unwrap();
    let shapes: Vec<_> = inputs.iter().map(|t| *t.shape()).collect();
    model.session_for(&shapes).unwrap().run_tensors(inputs).unwrap()
}

#[test]
fn every_level_and_thread_count_agrees_with_the_interpreter() {
    let graph = mobile(fixed(&[2, 19, 23, 3]));
    let inputs = [numbers(&[2, 19, 23, 3], 7)];
    let want = interpret(&graph, &inputs).unwrap();
    for cpu in Cpu::from_env().unwrap().levels() {
        let mut first: Option<Vec<Tensor>> = None;
        for threads in [1, 2, 3] {
            let options = Options { threads, isa: Some(cpu.isa()), ..Options::default() };
            let got = run(&graph, options, &inputs);
            for (got, want) in got.iter().zip(&want) {
                let error = relative_error(got, want);
                assert!(error < BOUND, "{cpu} {threads} threads: {error}");
            }
            match &first {
                None => first = Some(got),
                Some(first) => assert_eq!(first, &got, "{cpu}: bits differ at {threads} threads"),
            }
        }
    }
}

#[test]
fn a_network_runs_the_same_without_passes() {
    let graph = mobile(fixed(&[1, 16, 16, 3]));
    let inputs = [numbers(&[1, 16, 16, 3], 3)];
    let with = run(&graph, Options::with_threads(1), &inputs);
    let options = Options { threads: 1, passes: PassOptions::none(), ..Options::default() };
    let without = run(&graph, options, &inputs);
    for (a, b) in with.iter().zip(&without) {
        assert!(relative_error(a, b) < BOUND);
    }
}
