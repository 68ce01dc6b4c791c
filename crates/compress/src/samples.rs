//! What a network is calibrated on.

use crate::CompressError;
use depthwise_layers::ir::{Dim, Graph, InputType};
use depthwise_tensor::{DType, Shape, Tensor};
use std::error::Error;

/// The inputs of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What errors call it: its file.
    pub name: String,
    /// One tensor per input of the network, in order.
    pub inputs: Vec<Tensor>,
}

/// Samples that are read one at a time, so that a set may be larger than memory. It is gone through
/// several times and must give the same each time.
pub trait Samples {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What errors call a sample: its file.
    fn name(&self, index: usize) -> String;

    /// The inputs of the network for sample `index`, below [`Samples::len`].
    ///
    /// # Errors
    /// Where it cannot be read; the caller adds its name.
    fn read(&self, index: usize) -> Result<Vec<Tensor>, Box<dyn Error + Send + Sync>>;
}

impl Samples for Vec<Sample> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn name(&self, index: usize) -> String {
        self[index].name.clone()
    }

    fn read(&self, index: usize) -> Result<Vec<Tensor>, Box<dyn Error + Send + Sync>> {
        Ok(self[index].inputs.clone())
    }
}

/// A sample of the set that fits the inputs of a network and is finite.
pub(crate) fn read(
    graph: &Graph,
    samples: &dyn Samples,
    index: usize,
) -> Result<Sample, CompressError> {
    let name = samples.name(index);
    let read = samples.read(index);
    let inputs = read.map_err(|source| CompressError::Read { sample: name.clone(), source })?;
    let (want, got) = (graph.inputs().len(), inputs.len());
    if want != got {
        return Err(CompressError::Count { sample: name, want, got });
    }
    for (&id, tensor) in graph.inputs().iter().zip(&inputs) {
        let input = || graph.value(id).name.clone();
        let Some(ty) = graph.input_type(id) else { continue };
        if !fits(ty, tensor) {
            let (want, got) = (ty.to_string(), Box::new(*tensor.shape()));
            let got_dtype = tensor.dtype();
            return Err(CompressError::Shape {
                sample: name,
                input: input(),
                want,
                got,
                got_dtype,
            });
        }
        if tensor.dtype() == DType::F32 {
            let data = tensor.data::<f32>()?;
            if let Some(element) = data.iter().position(|x| !x.is_finite()) {
                let (input, value) = (input(), data[element]);
                return Err(CompressError::NotFinite { sample: name, input, element, value });
            }
        }
    }
    Ok(Sample { name, inputs })
}

fn fits(ty: &InputType, tensor: &Tensor) -> bool {
    let shape = tensor.shape();
    let extent = |(dim, &n): (&Dim, &usize)| match dim {
        Dim::Fixed(want) => *want == n,
        Dim::Free(_) => n > 0,
    };
    ty.dtype == tensor.dtype()
        && ty.dims.len() == shape.rank()
        && ty.dims.iter().zip(shape.iter()).all(extent)
}

/// The shapes of a sample.
pub(crate) fn shapes(inputs: &[Tensor]) -> Vec<Shape> {
    inputs.iter().map(|tensor| *tensor.shape()).collect()
}
