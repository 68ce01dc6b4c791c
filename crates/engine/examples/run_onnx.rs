//! Loads an ONNX file and runs it: `cargo run --example run_onnx [MODEL.onnx 1x3x224x224]`.

use depthwise_engine::{Model, Shape};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/ppocr_mobile_v2_cls.onnx");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let model = Model::open(args.next().unwrap_or(MODEL.into()))?;
    let dims = args.next().unwrap_or("1x3x48x192".into());
    let dims: Result<Vec<usize>, _> = dims.split('x').map(str::parse).collect();
    let mut session = model.session_for(&[Shape::new(&dims?)?])?;
    session.input_mut::<f32>(0)?.fill(0.5);
    session.run();
    let scores = session.output::<f32>(0)?;
    println!("{} outputs, the first {:?}", scores.len(), &scores[..scores.len().min(5)]);
    Ok(())
}
