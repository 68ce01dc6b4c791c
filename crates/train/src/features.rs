//! Networks that stay as they are: their outputs for many samples, by the engine.

use crate::FitError;
use crate::data::Source;
use depthwise_engine::{Model, Options, Session};
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_tensor::{DType, Hw, Shape, Tensor};

/// The picture that a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureInput {
    /// Declared rows and columns; `None` where they are free.
    pub hw: Option<Hw>,
    /// Whether channels come before rows.
    pub nchw: bool,
}

impl PictureInput {
    /// The one input of a network.
    ///
    /// # Errors
    /// [`FitError::Head`] where that is no `f32` picture of three channels.
    pub fn of(graph: &Graph) -> Result<PictureInput, FitError> {
        let unfit = |what: String| FitError::Head(format!("{what}; one picture, f32, is needed"));
        let &[input] = graph.inputs() else {
            return Err(unfit(format!("it has {} inputs", graph.inputs().len())));
        };
        let name = &graph.value(input).name;
        let ty = graph.input_type(input).ok_or_else(|| unfit("it has no input".into()))?;
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(n) => Some(*n),
            Dim::Free(_) => None,
        };
        let dims: Vec<Option<usize>> = ty.dims.iter().map(extent).collect();
        let (nchw, h, w) = match dims[..] {
            [_, h, w, Some(3)] => (false, h, w),
            [_, Some(3), h, w] => (true, h, w),
            _ => return Err(unfit(format!("input \"{name}\" is {ty}"))),
        };
        if ty.dtype != DType::F32 {
            return Err(unfit(format!("input \"{name}\" is {ty}")));
        }
        Ok(PictureInput { hw: h.zip(w).map(|(h, w)| Hw { h, w }), nchw })
    }
}

/// The network for pictures of extents `hw`, `batch` of them at a time.
///
/// # Errors
/// [`FitError::Head`] where the network does not take one picture, or not of these extents.
pub fn with_picture(graph: &Graph, hw: Hw, batch: Dim) -> Result<Graph, FitError> {
    let PictureInput { nchw, .. } = PictureInput::of(graph)?;
    let (h, w, c) = (Dim::Fixed(hw.h), Dim::Fixed(hw.w), Dim::Fixed(3));
    let dims = if nchw { vec![batch, c, h, w] } else { vec![batch, h, w, c] };
    with_input(graph, InputType { dtype: DType::F32, dims })
}

/// The same network, its one input declared to be of another type.
fn with_input(graph: &Graph, ty: InputType) -> Result<Graph, FitError> {
    let mut new = Graph::new(graph.name.clone());
    new.metadata = graph.metadata.clone();
    let mut ids: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    for &id in graph.inputs() {
        ids[id.index()] = Some(new.add_input(graph.value(id).name.clone(), ty.clone()));
    }
    for id in graph.value_ids() {
        if let Some(tensor) = graph.constant(id) {
            ids[id.index()] = Some(new.add_const(graph.value(id).name.clone(), tensor.clone()));
        }
    }
    let missing = |id: ValueId| {
        let name = &graph.value(id).name;
        FitError::Head(format!("the elements of \"{name}\" are not there any more"))
    };
    for node in graph.nodes() {
        let known = |id: &Option<ValueId>| match *id {
            Some(id) => ids[id.index()].map(Some).ok_or_else(|| missing(id)),
            None => Ok(None),
        };
        let inputs = node.inputs.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> =
            node.outputs.iter().map(|&id| graph.value(id).name.as_str()).collect();
        let outputs = new.add_node(node.name.clone(), node.op.clone(), &inputs, &names);
        for (&old, id) in node.outputs.iter().zip(outputs) {
            ids[old.index()] = Some(id);
        }
    }
    for &id in graph.outputs() {
        let output = ids[id.index()].ok_or_else(|| missing(id))?;
        new.add_output(output);
    }
    Ok(new)
}

/// Runs a network of one output on batches.
#[derive(Debug)]
pub struct Extractor {
    session: Session,
    /// Pictures that the network takes at a time.
    batch: usize,
    width: usize,
}

impl Extractor {
    /// A network that takes pictures of extents `hw` and gives one row of numbers for each.
    /// `batch` pictures are computed at a time, or single ones where the network is written for
    /// that.
    ///
    /// # Errors
    /// [`FitError::Engine`] where it cannot run, [`FitError::Head`] where it gives something else.
    pub fn new(
        graph: &Graph,
        hw: Hw,
        batch: usize,
        options: &Options,
    ) -> Result<Extractor, FitError> {
        let nchw = PictureInput::of(graph)?.nchw;
        let graph = with_picture(graph, hw, Dim::Free("batch".into()))?;
        let model = Model::from_graph(graph, options.clone())?;
        let shape = |n: usize| {
            let dims = if nchw { [n, 3, hw.h, hw.w] } else { [n, hw.h, hw.w, 3] };
            Shape::new(&dims).map_err(|e| FitError::Tensor(e.into()))
        };
        // The rows of a network with "1" written into a reshape do not grow with the batch.
        let session = |n: usize| -> Result<Option<(Session, usize)>, FitError> {
            let session = model.session_for(&[shape(n)?])?;
            let len = session.output::<f32>(0)?.len();
            Ok((len > 0 && len.is_multiple_of(n)).then(|| (session, len / n)))
        };
        let single = session(1)?.ok_or_else(|| FitError::Head("its output is empty".into()))?;
        let (session, batch, width) = match session(batch.max(1)) {
            Ok(Some((many, width))) if width == single.1 => (many, batch.max(1), width),
            _ => (single.0, 1, single.1),
        };
        Ok(Extractor { session, batch, width })
    }

    /// Numbers per picture.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The output for pictures `N,..`: `N,width`.
    ///
    /// # Errors
    /// Where the pictures do not fit.
    pub fn run(&mut self, input: &Tensor) -> Result<Vec<f32>, FitError> {
        let dims = input.shape().dims();
        let (n, picture) = (dims[0], input.elements() / dims[0].max(1));
        let mut all = Vec::with_capacity(n * self.width);
        let data = input.to_f32();
        for part in data.chunks(self.batch * picture.max(1)) {
            let mut part_dims = dims.to_vec();
            part_dims[0] = part.len() / picture;
            let shape = Shape::new(&part_dims).map_err(|e| FitError::Tensor(e.into()))?;
            self.session.reshape(&[shape])?;
            self.session.input_mut::<f32>(0)?.copy_from_slice(part);
            self.session.run();
            all.extend_from_slice(self.session.output::<f32>(0)?);
        }
        Ok(all)
    }

    /// The outputs for all samples in order, once for each of `views`: as they are (`None`) or as
    /// an epoch changes them. `progress` is called with the number of pictures of each batch.
    ///
    /// # Errors
    /// Where a sample cannot be read.
    pub fn all(
        &mut self,
        source: &dyn Source,
        views: &[Option<u64>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<f32>, FitError> {
        let order: Vec<usize> = (0..source.len()).collect();
        let mut features = Vec::with_capacity(views.len() * source.len() * self.width);
        for &view in views {
            source.batches(&order, self.batch, view, &mut |batch| {
                features.extend(self.run(&batch.input)?);
                progress(batch.labels.len());
                Ok(())
            })?;
        }
        Ok(features)
    }
}
