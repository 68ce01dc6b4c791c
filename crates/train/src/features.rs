//! Networks that stay as they are: their outputs for many samples, by the engine.

use crate::FitError;
use crate::data::Source;
use crate::runner::set_input;
use depthwise_engine::{Model, Options, Session};
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_layers::{
    Activation, Binary, BinaryFn, Coordinates, Op, Resize, ResizeMode, Transpose,
};
use depthwise_tensor::{DType, Hw, Shape, Tensor};
use depthwise_vision::Normalize;

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
    /// [`FitError::Network`] where that is no `f32` picture of three channels.
    pub fn of(graph: &Graph) -> Result<PictureInput, FitError> {
        let unfit =
            |what: String| FitError::Network(format!("{what}; one picture, f32, is needed"));
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
/// [`FitError::Network`] where the network does not take one picture, or not of these extents.
pub fn with_picture(graph: &Graph, hw: Hw, batch: Dim) -> Result<Graph, FitError> {
    let PictureInput { nchw, .. } = PictureInput::of(graph)?;
    let (h, w, c) = (Dim::Fixed(hw.h), Dim::Fixed(hw.w), Dim::Fixed(3));
    let dims = if nchw { vec![batch, c, h, w] } else { vec![batch, h, w, c] };
    with_input(graph, InputType { dtype: DType::F32, dims })
}

/// The same network, its one input declared to be of another type.
fn with_input(graph: &Graph, ty: InputType) -> Result<Graph, FitError> {
    let mut new = Graph::new(graph.name.clone());
    let name = graph.inputs().first().map_or("x", |&id| graph.value(id).name.as_str());
    let input = new.add_input(name, ty);
    graft(graph, new, input)
}

/// Lets `new` go on as a network of one input does from there; `input` is what it reads.
fn graft(graph: &Graph, mut new: Graph, input: ValueId) -> Result<Graph, FitError> {
    new.metadata = graph.metadata.clone();
    let mut ids: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    for &id in graph.inputs() {
        ids[id.index()] = Some(input);
    }
    for id in graph.value_ids() {
        if let Some(tensor) = graph.constant(id) {
            ids[id.index()] = Some(new.add_const(graph.value(id).name.clone(), tensor.clone()));
        }
    }
    let missing = |id: ValueId| {
        let name = &graph.value(id).name;
        FitError::Network(format!("the elements of \"{name}\" are not there any more"))
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

/// What a network takes: pictures of these extents, in this order of axes, normalised so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureForm {
    /// Rows and columns.
    pub hw: Hw,
    /// Whether channels come before rows.
    pub nchw: bool,
    /// How its numbers come from pixels.
    pub normalize: Normalize,
}

/// A teacher for the pictures of a student: what the student takes is normalised, turned and resized
/// to what the teacher takes. A softmax at the end is left out, so that it gives logits.
///
/// # Errors
/// [`FitError::Network`] where the teacher does not take one picture.
pub fn teacher(graph: &Graph, own: PictureForm, student: PictureForm) -> Result<Graph, FitError> {
    PictureInput::of(graph)?;
    let mut graph = graph.clone();
    if let &[end] = graph.outputs()
        && let Some(node) = graph.producer(end).map(|id| graph.node(id))
        && matches!(&node.op, Op::Softmax(softmax) if !softmax.log)
        && let Some(logits) = node.inputs[0]
    {
        graph.set_outputs(&[logits]);
    }
    let graph = with_picture(&graph, own.hw, Dim::Free("batch".into()))?;
    let mut new = Graph::new(graph.name.clone());
    let dims = |form: &PictureForm, c: usize, h: usize, w: usize| match form.nchw {
        true => [c, h, w],
        false => [h, w, c],
    };
    let extents = dims(&student, 3, student.hw.h, student.hw.w).map(Dim::Fixed);
    let dims_of_input = [Dim::Free("batch".into())].into_iter().chain(extents).collect();
    let ty = InputType { dtype: DType::F32, dims: dims_of_input };
    let mut x = new.add_input("student", ty);
    if own.normalize != student.normalize {
        let (scale, offset) = renormalize(&student.normalize, &own.normalize);
        let per_channel = dims(&student, 3, 1, 1);
        for (name, function, values) in
            [("scale", BinaryFn::Mul, scale), ("offset", BinaryFn::Add, offset)]
        {
            let values = Tensor::from_slice(&per_channel, &values)?;
            let values = new.add_const(format!("student.{name}.values"), values);
            let op = Binary { function, activation: Activation::Identity };
            x = new.add(&format!("student.{name}"), op, &[x, values]);
        }
    }
    if own.hw != student.hw {
        let [h, w] = [(student.hw.h, own.hw.h), (student.hw.w, own.hw.w)].map(scale_to);
        let [a, b, c] = if student.nchw { [1.0, h, w] } else { [h, w, 1.0] };
        let scales = new.add_const("student.scales", Tensor::from_slice(&[4], &[1.0, a, b, c])?);
        let op = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::HalfPixel };
        let inputs = [Some(x), None, Some(scales)];
        x = new.add_node("student.resize", op, &inputs, &["student.resized"])[0];
    }
    if own.nchw != student.nchw {
        let perm = if own.nchw { vec![0, 3, 1, 2] } else { vec![0, 2, 3, 1] };
        x = new.add("student.turn", Transpose { perm }, &[x]);
    }
    graft(&graph, new, x)
}

/// Factor and summand per channel from numbers of one normalization to those of another.
fn renormalize(from: &Normalize, to: &Normalize) -> ([f32; 3], [f32; 3]) {
    let (mut scale, mut offset) = ([0.0; 3], [0.0; 3]);
    let ratio = f64::from(from.divisor) / f64::from(to.divisor);
    for c in 0..3 {
        let [mean, std, to_mean, to_std] =
            [from.mean[c], from.std[c], to.mean[c], to.std[c]].map(f64::from);
        scale[c] = (std * ratio / to_std) as f32;
        offset[c] = ((mean * ratio - to_mean) / to_std) as f32;
    }
    (scale, offset)
}

/// The factor that makes `from` rows `to` when the product is rounded down.
fn scale_to((from, to): (usize, usize)) -> f32 {
    let scale = to as f32 / from as f32;
    if scale * from as f32 >= to as f32 { scale } else { scale.next_up() }
}

/// Runs a network of one output on batches.
#[derive(Debug)]
pub struct Extractor {
    session: Session,
    /// Samples that the network takes at a time.
    batch: usize,
    width: usize,
}

impl Extractor {
    /// A network of one input, all of whose extents but the batch are fixed (see
    /// [`with_picture`]), that gives one row of numbers for each sample. `batch` samples are
    /// computed at a time, or single ones where the network is written for that.
    ///
    /// # Errors
    /// [`FitError::Engine`] where it cannot run, [`FitError::Network`] where it takes or gives
    /// something else.
    pub fn new(graph: &Graph, batch: usize, options: &Options) -> Result<Extractor, FitError> {
        let unfit =
            |what: &str| FitError::Network(format!("{what}; one of fixed extents is needed"));
        let &[input] = graph.inputs() else { return Err(unfit("it has several inputs or none")) };
        let ty = graph.input_type(input).ok_or_else(|| unfit("it has no input"))?;
        let extents = ty.dims.iter().skip(1).map(|dim| match dim {
            Dim::Fixed(n) => Ok(*n),
            Dim::Free(_) => Err(unfit(&format!("its input is {ty}"))),
        });
        let extents = extents.collect::<Result<Vec<usize>, _>>()?;
        let free = [Dim::Free("batch".into())].into_iter();
        let dims = free.chain(extents.iter().map(|&n| Dim::Fixed(n))).collect();
        let graph = with_input(graph, InputType { dtype: ty.dtype, dims })?;
        let model = Model::from_graph(graph, options.clone())?;
        let shape = |n: usize| shape(&[&[n], &extents[..]].concat());
        // The rows of a network with "1" written into a reshape do not grow with the batch.
        let session = |n: usize| -> Result<Option<(Session, usize)>, FitError> {
            let session = model.session_for(&[shape(n)?])?;
            let len = session.output::<f32>(0)?.len();
            Ok((len > 0 && len.is_multiple_of(n)).then(|| (session, len / n)))
        };
        let single = session(1)?.ok_or_else(|| FitError::Network("its output is empty".into()))?;
        let (session, batch, width) = match session(batch.max(1)) {
            Ok(Some((many, width))) if width == single.1 => (many, batch.max(1), width),
            _ => (single.0, 1, single.1),
        };
        Ok(Extractor { session, batch, width })
    }

    /// Numbers per sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The output for samples `N,..`: `N,width`.
    ///
    /// # Errors
    /// Where the samples do not fit.
    pub fn run(&mut self, input: &Tensor) -> Result<Vec<f32>, FitError> {
        let n = input.shape().first().copied().unwrap_or(0);
        let mut all = Vec::with_capacity(n * self.width);
        for start in (0..n).step_by(self.batch) {
            let part = rows(input, start, self.batch.min(n - start))?;
            self.session.reshape(&[*part.shape()])?;
            set_input(&mut self.session, 0, &part)?;
            self.session.run();
            all.extend_from_slice(self.session.output::<f32>(0)?);
        }
        Ok(all)
    }

    /// The outputs for all samples in order, once for each of `views`: as they are (`None`) or as
    /// an epoch changes them. `progress` is called with the number of samples of each batch.
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

fn shape(dims: &[usize]) -> Result<Shape, FitError> {
    Shape::new(dims).map_err(|e| FitError::Tensor(e.into()))
}

/// `count` rows of a tensor from `start` on; shares its bytes.
fn rows(tensor: &Tensor, start: usize, count: usize) -> Result<Tensor, FitError> {
    let mut dims = tensor.shape().to_vec();
    let row_bytes = tensor.bytes().len() / dims[0].max(1);
    dims[0] = count;
    let bytes = tensor.bytes().slice(start * row_bytes..(start + count) * row_bytes);
    Ok(Tensor::new(tensor.dtype(), shape(&dims)?, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_layers::ir::interpret;
    use depthwise_layers::{Reduce, ReduceFn, Softmax};

    /// A network that names the mean of every channel, with a softmax.
    fn mean(dims: [usize; 4], axes: [i64; 2]) -> Graph {
        let mut graph = Graph::new("mean");
        let x = graph.add_input("x", InputType::fixed(DType::F32, &dims));
        let op = Reduce { function: ReduceFn::Mean, axes: axes.to_vec(), keep_dims: false };
        let y = graph.add("mean", op, &[x]);
        let p = graph.add("p", Softmax { axis: -1, log: false }, &[y]);
        graph.add_output(p);
        graph
    }

    #[test]
    fn a_teacher_sees_the_pictures_of_the_student_as_its_own() {
        let own = PictureForm { hw: Hw { h: 7, w: 5 }, nchw: true, normalize: Normalize::IMAGENET };
        let student =
            PictureForm { hw: Hw { h: 3, w: 4 }, nchw: false, normalize: Normalize::CENTRED_127 };
        let graph = teacher(&mean([1, 3, 7, 5], [2, 3]), own, student).unwrap();
        // One colour per picture, so that resizing changes nothing.
        let colours = [[10u8, 20, 30], [200, 100, 0]];
        let normalised = |normalize: Normalize, colour: &[u8; 3]| {
            let mut y = [0f32; 3];
            normalize.write(colour, &mut y).unwrap();
            y
        };
        let pixels = colours.iter().flat_map(|c| normalised(student.normalize, c).repeat(12));
        let x = Tensor::from_vec(&[2, 3, 4, 3], pixels.collect::<Vec<f32>>()).unwrap();
        let logits = interpret(&graph, &[x]).unwrap().remove(0);
        assert_eq!(logits.shape().dims(), [2, 3]);
        let want = colours.iter().flat_map(|c| normalised(own.normalize, c));
        for (&got, want) in logits.to_f32().iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }

    #[test]
    fn scales_give_the_extents_asked_for() {
        for from in 1..300 {
            for to in [1, 7, 96, 224, 299] {
                assert_eq!((scale_to((from, to)) * from as f32).floor() as usize, to);
            }
        }
    }
}
