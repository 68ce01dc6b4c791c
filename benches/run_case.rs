//! Runs one kernel on one layer: for tools that count instructions or read counters.
//!
//! ```text
//! cargo run --release -p depthwise-benches --bin run_case -- gemm_f32_6x16_avx2 mobilenet_v1 blocks.3.1.act2 10
//! ```

use depthwise_benches::families::FAMILIES;
use depthwise_benches::shapes::{NETS, OTHERS};
use depthwise_kernels::Par;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, net, layer, runs] = &args[..] else {
        return Err("usage: run_case KERNEL NET LAYER RUNS".into());
    };
    let net = NETS.into_iter().chain([OTHERS]).find(|n| n.name == net).ok_or("no such net")?;
    let layers = net.layers()?;
    let layer = layers.iter().find(|l| l.layer == *layer).ok_or("no such layer in the net")?;
    let named = |family: &'static depthwise_benches::families::Family| {
        let index = family.kernels().iter().position(|k| k.name == kernel)?;
        Some((family, index))
    };
    let (family, index) = FAMILIES.iter().find_map(named).ok_or("no such kernel")?;
    let case = family.case(index, layer, 1)?;
    let mut case = case.ok_or("the kernel does not compute this layer, or not on this CPU")?;
    let par = Par::single();
    for _ in 0..runs.parse::<u32>()? {
        case.run(&par);
    }
    println!("{} multiply-accumulate steps a run", case.macs());
    Ok(())
}
