//! Whole networks of made-up weights at every level of this CPU, on one thread and on all cores:
//! `nets/level/net/threads`.

use criterion::{Criterion, criterion_group, criterion_main};
use depthwise_benches::case::values;
use depthwise_benches::shapes::NETS;
use depthwise_engine::{Cpu, Model, Options, Par, Session};
use depthwise_layers::ir::Graph;

fn nets(c: &mut Criterion) {
    let mut group = c.benchmark_group("nets");
    let mut threads = vec![1, Par::default_threads()];
    threads.dedup();
    for net in NETS {
        let graph = net.graph().expect("a test builds all networks").expect("a network");
        for cpu in Cpu::detect().levels() {
            for &threads in &threads {
                let id = format!("{}/{}/{threads}", cpu.isa(), net.name);
                let isa = Some(cpu.isa());
                let options = Options { isa, threads, ..Options::default() };
                group.bench_function(id, |b| {
                    let mut session = session(&graph, &options);
                    b.iter(|| session.run());
                });
            }
        }
    }
    group.finish();
}

fn session(graph: &Graph, options: &Options) -> Session {
    let model =
        Model::from_graph(graph.clone(), options.clone()).expect("a test plans all networks");
    let mut session = model.session().expect("the input has a fixed shape");
    let input = session.input_mut::<f32>(0).expect("a picture of f32");
    input.copy_from_slice(&values(input.len()));
    session
}

criterion_group!(benches, nets);
criterion_main!(benches);
