//! `Session::run` allocates nothing, on one thread and on several.
//!
//! A program without the test harness, whose own thread allocates when it pleases.

use depthwise_engine::layers::ir::InputType;
use depthwise_engine::layers::{Conv2d, DepthwiseConv2d, Padding, Reduce, ReduceFn};
use depthwise_engine::tensor::Hw;
use depthwise_engine::{Activation, DType, Graph, Model, Options, Tensor};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's duties are those of the system allocator.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn weights(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let data = (0..count).map(|i| ((i * 37) % 19) as f32 / 19.0 - 0.5).collect();
    Tensor::from_vec(dims, data).unwrap()
}

/// Stem, inverted residual with an add, global pool, classifier.
fn network() -> Graph {
    let mut g = Graph::new("small");
    let x = g.add_input("x", InputType::fixed(DType::F32, &[1, 32, 32, 3]));
    let pad = Padding::Same;
    let w = g.add_const("stem.w", weights(&[16, 3, 3, 3]));
    let act = Activation::RELU6;
    let stem = Conv2d { stride: Hw::square(2), padding: pad, activation: act, ..Conv2d::default() };
    let stem = g.add("stem", stem, &[x, w]);
    let w = g.add_const("expand.w", weights(&[96, 1, 1, 16]));
    let expand = g.add("expand", Conv2d { activation: act, ..Conv2d::default() }, &[stem, w]);
    let w = g.add_const("dw.w", weights(&[3, 3, 96]));
    let dw = DepthwiseConv2d { padding: pad, activation: act, ..DepthwiseConv2d::default() };
    let dw = g.add("dw", dw, &[expand, w]);
    let w = g.add_const("project.w", weights(&[16, 1, 1, 96]));
    let project =
        g.add_node("project", Conv2d::default(), &[Some(dw), Some(w), None, Some(stem)], &["p"]);
    let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: true };
    let pool = g.add("pool", mean, &project);
    let w = g.add_const("head.w", weights(&[10, 1, 1, 16]));
    let head = g.add("head", Conv2d::default(), &[pool, w]);
    g.add_output(head);
    g
}

fn main() {
    runs_after_the_first_allocate_nothing();
    println!("test runs_after_the_first_allocate_nothing ... ok");
}

fn runs_after_the_first_allocate_nothing() {
    for threads in [1, 2] {
        let model = Model::from_graph(network(), Options::with_threads(threads)).unwrap();
        let mut session = model.session().unwrap();
        session.input_mut::<f32>(0).unwrap().fill(0.25);
        session.run();
        let first = session.output::<f32>(0).unwrap().to_vec();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..100 {
            session.run();
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(allocations, 0, "{threads} threads");
        assert_eq!(session.output::<f32>(0).unwrap(), first);
        assert!(first.iter().all(|x| x.is_finite()));
    }
}
