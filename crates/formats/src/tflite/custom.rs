//! Operators that the format does not know, and how users teach them.

use super::ops::{CUSTOM_BUILT_IN, Context, Fail};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Op, TensorType};
use depthwise_tensor::Tensor;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Says what an operator means: adds layers through the node, and gives the results, one for each
/// output of the operator. The error is the reason why that cannot be done.
pub type CustomConvert =
    dyn Fn(&mut CustomNode<'_, '_, '_>) -> Result<Vec<ValueId>, String> + Send + Sync;

/// The custom operators that a reader knows, by the names that files give them.
#[derive(Clone, Default)]
pub struct CustomOps {
    converters: BTreeMap<String, Arc<CustomConvert>>,
}

impl fmt::Debug for CustomOps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.converters.keys()).finish()
    }
}

impl CustomOps {
    /// None.
    pub fn none() -> CustomOps {
        CustomOps::default()
    }

    /// Those of common files: `Convolution2DTransposeBias` of MediaPipe, and
    /// `TFLite_Detection_PostProcess` of TensorFlow's object detection.
    pub fn built_in() -> CustomOps {
        let mut ops = CustomOps::none();
        for &(name, convert) in CUSTOM_BUILT_IN {
            ops.converters.insert(name.to_owned(), Arc::new(convert));
        }
        ops
    }

    /// Adds an operator, in the place of an earlier one of this name.
    ///
    /// ```
    /// use depthwise_formats::tflite::CustomOps;
    /// use depthwise_layers::{Unary, UnaryFn};
    ///
    /// let mut custom = CustomOps::built_in();
    /// custom.insert("MyAbs", |node| {
    ///     let x = node.input(0)?;
    ///     Ok(vec![node.add(Unary { function: UnaryFn::Abs }, &[x])?])
    /// });
    /// ```
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        convert: impl Fn(&mut CustomNode<'_, '_, '_>) -> Result<Vec<ValueId>, String>
        + Send
        + Sync
        + 'static,
    ) {
        self.converters.insert(name.into(), Arc::new(convert));
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<CustomConvert>> {
        self.converters.get(name).cloned()
    }
}

/// A custom operator during its conversion.
pub struct CustomNode<'n, 'c, 'm> {
    pub(super) context: &'n mut Context<'c, 'm>,
    /// A fault of the file that is to be reported instead of the reason.
    fault: Option<Fail>,
}

impl fmt::Debug for CustomNode<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomNode").field("options", &self.options()).finish_non_exhaustive()
    }
}

impl<'n, 'c, 'm> CustomNode<'n, 'c, 'm> {
    pub(super) fn convert(
        context: &'n mut Context<'c, 'm>,
        convert: &CustomConvert,
    ) -> Result<Vec<ValueId>, Fail> {
        let outputs = context.outputs();
        let mut node = CustomNode { context, fault: None };
        match convert(&mut node) {
            Ok(results) if results.len() == outputs => Ok(results),
            Ok(results) => Err(Fail::Unsupported(format!(
                "its converter gave {} results for {outputs} outputs",
                results.len()
            ))),
            Err(reason) => Err(node.fault.unwrap_or(Fail::Unsupported(reason))),
        }
    }

    pub(super) fn note<T>(&mut self, result: Result<T, Fail>) -> Result<T, String> {
        result.map_err(|fail| {
            let reason = fail.to_string();
            self.fault = Some(fail);
            reason
        })
    }

    /// The bytes that the file gives as options, in the operator's own format.
    pub fn options(&self) -> &'m [u8] {
        self.context.custom_options()
    }

    /// Number of operands, those left out included.
    pub fn inputs(&self) -> usize {
        self.context.inputs()
    }

    /// Number of results.
    pub fn outputs(&self) -> usize {
        self.context.outputs()
    }

    /// An operand; real numbers are `f32`.
    ///
    /// # Errors
    /// The reason, where it is missing or cannot be read.
    pub fn input(&mut self, i: usize) -> Result<ValueId, String> {
        let result = self.context.input(i);
        self.note(result)
    }

    /// The type of a value, where free extents are as the file has them.
    pub fn ty(&self, value: ValueId) -> TensorType {
        self.context.ty(value)
    }

    /// The elements of a value that is known before the network runs.
    pub fn constant(&self, value: ValueId) -> Option<&Tensor> {
        self.context.known(value)
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, tensor: Tensor) -> ValueId {
        self.context.constant("constant", tensor)
    }

    /// Adds a layer of one result.
    ///
    /// # Errors
    /// The reason, where the layer refuses its operands.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId, String> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        let results = self.add_many(op, &inputs)?;
        results.first().copied().ok_or_else(|| "a layer without a result".into())
    }

    /// Adds a layer of operands that may be left out, and of any number of results.
    ///
    /// # Errors
    /// As [`CustomNode::add`].
    pub fn add_many(
        &mut self,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>, String> {
        let result = self.context.add_many("", op, inputs);
        self.note(result)
    }
}
