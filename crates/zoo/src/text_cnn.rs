//! A small network for text.

use crate::{Param, Role, WeightFault, WeightSource, ZooError};
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_layers::{
    Activate, Activation, BatchNorm, Binary, BinaryFn, Conv2d, Dense, DepthwiseConv2d, Gather, Op,
    Padding, Reduce, ReduceFn, Unsqueeze,
};
use depthwise_tensor::{DType, Shape, Tensor};

/// Words to classes: an embedding, depthwise separable convolutions along the text (kernel 5, batch
/// norm and ReLU after each half, a residual from the second on), the maximum over all places, and
/// a dense layer. The plan is that of Kim, "Convolutional Neural Networks for Sentence
/// Classification" (2014), with separable convolutions.
///
/// A text is a picture of one row: convolutions are 1x5 and 1x1.
///
/// ```
/// use depthwise_zoo::{Random, TextCnn};
///
/// let graph = TextCnn::new(1000, 32).classes(3).build(&Random { seed: 1 })?;
/// assert_eq!(graph.name, "text_cnn_64x2_32");
/// # Ok::<(), depthwise_zoo::ZooError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextCnn {
    /// Numbers that a token can have.
    pub vocabulary: usize,
    /// Tokens of a text.
    pub length: usize,
    /// Extent of the embedding, and channels of all convolutions.
    pub width: usize,
    /// Separable convolutions.
    pub blocks: usize,
    /// Classes that the last layer tells apart.
    pub classes: usize,
}

/// Tokens that a convolution sees.
const KERNEL: usize = 5;
/// Of batch norm.
const EPSILON: f32 = 1e-3;

impl TextCnn {
    /// Two blocks of 64 channels, two classes, for texts of `length` tokens.
    pub fn new(vocabulary: usize, length: usize) -> TextCnn {
        TextCnn { vocabulary, length, width: 64, blocks: 2, classes: 2 }
    }

    /// Sets the number of classes.
    pub fn classes(self, classes: usize) -> TextCnn {
        TextCnn { classes, ..self }
    }

    /// The graph: input `tokens`, `N,length` in `i64`, each below `vocabulary`; output `logits`,
    /// `N,classes`. The batch is free.
    ///
    /// # Errors
    /// [`ZooError::Setting`] for settings out of range, [`ZooError::Weights`] with all that is
    /// missing or of another shape.
    pub fn build(&self, source: &dyn WeightSource) -> Result<Graph, ZooError> {
        self.check()?;
        let TextCnn { vocabulary, length, width, blocks, classes } = *self;
        let mut graph = Graph::new(format!("text_cnn_{width}x{blocks}_{length}"));
        let dims = vec![Dim::Free("batch".into()), Dim::Fixed(length)];
        let tokens = graph.add_input("tokens", InputType { dtype: DType::I64, dims });
        let mut b = Builder { graph, source, faults: Vec::new() };
        let x = b.weighted(
            "embedding",
            Gather { axis: 0 },
            &[(Role::Embedding, &[vocabulary, width])],
            tokens,
        )?;
        let mut x = b.graph.add("embedding.row", Unsqueeze { axes: vec![1] }, &[x]);
        for block in 0..blocks {
            let name = format!("blocks.{block}");
            let filtered = b.separable(&name, x, width)?;
            x = match block {
                0 => filtered,
                _ => {
                    let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
                    b.graph.add(&format!("{name}.add"), add, &[x, filtered])
                }
            };
        }
        let most = Reduce { function: ReduceFn::Max, axes: vec![1, 2], keep_dims: false };
        let x = b.graph.add("pool", most, &[x]);
        let dense = Dense { activation: Activation::Identity };
        let params: [(Role, &[usize]); 2] =
            [(Role::Dense, &[classes, width]), (Role::Bias, &[classes])];
        let x = b.weighted("classifier", dense, &params, x)?;
        let Builder { mut graph, faults, .. } = b;
        if !faults.is_empty() {
            return Err(ZooError::Weights { network: graph.name, faults });
        }
        graph.rename_value(x, "logits");
        graph.add_output(x);
        Ok(graph)
    }

    fn check(&self) -> Result<(), ZooError> {
        let settings = [
            ("vocabulary", self.vocabulary, 1 << 24, "must be from 1 to 16777216"),
            ("length", self.length, 1 << 16, "must be from 1 to 65536"),
            ("width", self.width, 1 << 12, "must be from 1 to 4096"),
            ("blocks", self.blocks, 64, "must be from 1 to 64"),
            ("classes", self.classes, 1 << 20, "must be from 1 to 1048576"),
        ];
        match settings.into_iter().find(|&(_, value, most, _)| !(1..=most).contains(&value)) {
            Some((setting, value, _, want)) => {
                Err(ZooError::Setting { setting, value: value.to_string(), want })
            }
            None => Ok(()),
        }
    }
}

struct Builder<'b> {
    graph: Graph,
    source: &'b dyn WeightSource,
    faults: Vec<WeightFault>,
}

impl Builder<'_> {
    /// A depthwise convolution along the row and a pointwise one, each with its norm and ReLU.
    fn separable(&mut self, name: &str, x: ValueId, width: usize) -> Result<ValueId, ZooError> {
        let depthwise = DepthwiseConv2d { padding: Padding::Same, ..DepthwiseConv2d::default() };
        let x =
            self.half(&format!("{name}.dw"), depthwise, Role::Depthwise, &[1, KERNEL, width], x)?;
        let shape = [width, 1, 1, width];
        self.half(&format!("{name}.pw"), Conv2d::default(), Role::Conv, &shape, x)
    }

    fn half(
        &mut self,
        name: &str,
        conv: impl Into<Op>,
        role: Role,
        filter: &[usize],
        x: ValueId,
    ) -> Result<ValueId, ZooError> {
        let x = self.weighted(name, conv, &[(role, filter)], x)?;
        let channels = [filter[if role == Role::Conv { 0 } else { 2 }]];
        let params = [Role::Gamma, Role::Beta, Role::Mean, Role::Variance];
        let params = params.map(|role| (role, &channels[..]));
        let norm = BatchNorm { epsilon: EPSILON, axis: -1 };
        let x = self.weighted(&format!("{name}.bn"), norm, &params, x)?;
        let relu = Activate { activation: Activation::RELU };
        Ok(self.graph.add(&format!("{name}.relu"), relu, &[x]))
    }

    /// A layer with its weights; those of an embedding come before what it reads.
    fn weighted(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        params: &[(Role, &[usize])],
        x: ValueId,
    ) -> Result<ValueId, ZooError> {
        let mut inputs = Vec::new();
        for &(role, dims) in params {
            let param = Param::plain(name, role, Shape::new(dims)?);
            let tensor = self.source.weight(&param).and_then(|tensor| {
                let (want, got) = (Box::new(param.shape), Box::new(*tensor.shape()));
                let shape = || WeightFault::Shape { name: param.name.clone(), want, got };
                if *tensor.shape() == param.shape { Ok(tensor) } else { Err(shape()) }
            });
            let tensor = tensor.unwrap_or_else(|fault| {
                self.faults.push(fault);
                // In a graph that nobody gets to see.
                Tensor::scalar(0f32)
            });
            inputs.push(self.graph.add_const(&param.name, tensor));
        }
        let is_table = params.first().is_some_and(|(role, _)| *role == Role::Embedding);
        inputs.insert(if is_table { inputs.len() } else { 0 }, x);
        Ok(self.graph.add(name, op, &inputs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use depthwise_layers::ir::infer_types;

    #[test]
    fn texts_become_logits() {
        let net = TextCnn { width: 8, ..TextCnn::new(50, 7) }.classes(3);
        let graph = net.build(&Random { seed: 1 }).unwrap();
        graph.verify().unwrap();
        let types = infer_types(&graph, &[Shape::new(&[2, 7]).unwrap()]).unwrap();
        assert_eq!(types.of(graph.outputs()[0]).shape.dims(), [2, 3]);
        // Table, two blocks of 5 c + c c and two norms of 2 c, dense layer.
        let params = 50 * 8 + 2 * (5 * 8 + 64 + 2 * 16) + 3 * 9;
        assert_eq!(graph.cost(&types).params, params);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (bad, name) in [
            (TextCnn::new(0, 7), "vocabulary"),
            (TextCnn::new(5, 0), "length"),
            (TextCnn { blocks: 65, ..TextCnn::new(5, 7) }, "blocks"),
        ] {
            let error = bad.build(&Random { seed: 1 }).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
