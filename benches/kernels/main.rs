//! Every kernel of every family on every layer that it computes, on one thread and on all cores:
//! `family/kernel/net.layer/threads`.
//!
//! `cargo bench -p depthwise-benches --bench kernels -- 'dwconv_f32/.*/mobilenet_v2'`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use depthwise_benches::families::{FAMILIES, Family};
use depthwise_benches::shapes::{Layer, NETS, OTHERS};
use depthwise_kernels::Par;

fn kernels(c: &mut Criterion) {
    let mut pars = vec![Par::single()];
    if Par::default_threads() > 1 {
        pars.push(Par::new(0).expect("the system starts threads"));
    }
    for family in FAMILIES {
        for net in NETS.iter().chain([&OTHERS]) {
            for layer in net.layers().expect("a test parses all shapes") {
                for par in &pars {
                    on_layer(c, family, net.name, &layer, par);
                }
            }
        }
    }
}

fn on_layer(c: &mut Criterion, family: &Family, net: &str, layer: &Layer, par: &Par) {
    let mut group = c.benchmark_group(family.name);
    for (index, kernel) in family.kernels().into_iter().enumerate() {
        if !family.computes(index, layer) {
            continue;
        }
        let id = format!("{}/{net}.{}/{}", kernel.name, layer.layer, par.threads());
        group.throughput(Throughput::Elements(layer.geometry().macs()));
        group.bench_function(id, |b| {
            let case = family.case(index, layer, par.threads());
            let mut case = case.expect("the shape fits").expect("the kernel computes the layer");
            b.iter(|| case.run(par));
        });
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
