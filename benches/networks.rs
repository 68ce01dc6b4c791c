//! The networks themselves, and the layers that the engine makes of them.

use crate::shapes::{ACTIVATIONS, Kind, Layer, Net};
use depthwise_engine::passes::{self, PassOptions};
use depthwise_layers::ir::{Graph, InferError, Node, Types};
use depthwise_layers::{BinaryFn, Op};
use depthwise_tensor::{Activation, ConvGeometry, Pad2d, Shape};
use depthwise_zoo::{
    EfficientNetLite, MobileNetV1, MobileNetV2, MobileNetV3, Network, Random, ZooError,
};

/// Why the layers of a network could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The network could not be built.
    #[error(transparent)]
    Zoo(#[from] ZooError),
    /// Its shapes do not go together.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Its input has no fixed shape.
    #[error("the network {0} has no fixed input")]
    FreeInput(&'static str),
    /// The table could not be written.
    #[error(transparent)]
    Csv(#[from] csv::Error),
}

impl Net {
    /// The network with made-up weights, 224 x 224; `None` for [`OTHERS`](crate::shapes::OTHERS).
    ///
    /// # Errors
    /// [`ZooError`], which a test excludes.
    pub fn graph(&self) -> Result<Option<Graph>, ZooError> {
        let network: Box<dyn Network> = match self.name {
            "mobilenet_v1" => Box::new(MobileNetV1::new(1.0)),
            "mobilenet_v2" => Box::new(MobileNetV2::new(1.0)),
            "mobilenet_v3_large" => Box::new(MobileNetV3::large(1.0)),
            "mobilenet_v3_small" => Box::new(MobileNetV3::small(1.0)),
            "efficientnet_lite0" => Box::new(EfficientNetLite::lite0()),
            _ => return Ok(None),
        };
        network.build(&Random { seed: 1 }).map(Some)
    }

    /// What the file of shapes should hold; `None` for [`OTHERS`](crate::shapes::OTHERS).
    ///
    /// # Errors
    /// [`NetworkError`], which a test excludes.
    pub fn generate(&self) -> Result<Option<String>, NetworkError> {
        let Some(graph) = self.graph()? else { return Ok(None) };
        let mut writer = csv::Writer::from_writer(Vec::new());
        for layer in of_graph(graph)?.ok_or(NetworkError::FreeInput(self.name))? {
            writer.serialize(layer)?;
        }
        let bytes = writer.into_inner().map_err(|e| csv::Error::from(e.into_error()))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl Layer {
    /// A layer of one tap on a picture or row.
    fn plain(kind: Kind, name: &str, shape: &Shape, oc: usize) -> Layer {
        let (h, w, ic) = match *shape.dims() {
            [_, h, w, c] => (h, w, c),
            [n, c] => (n, 1, c),
            _ => (1, 1, shape.elements()),
        };
        Layer {
            layer: name.into(),
            kind,
            h,
            w,
            ic,
            oc,
            kernel: 1,
            stride: 1,
            top: 0,
            left: 0,
            bottom: 0,
            right: 0,
            activation: "identity".into(),
            residual: false,
            count: 1,
        }
    }

    fn with_window(self, g: &ConvGeometry) -> Layer {
        let Pad2d { top, left, bottom, right } = g.pad;
        Layer { kernel: g.kernel.h, stride: g.stride.h, top, left, bottom, right, ..self }
    }

    fn with_activation(self, activation: Activation) -> Layer {
        let known = ACTIVATIONS.iter().find(|(_, a)| *a == activation);
        let name = known.map_or_else(|| activation.to_string(), |(name, _)| (*name).into());
        Layer { activation: name, ..self }
    }
}

/// The layers of a network of one input as the engine runs them, each shape once; `None` where the
/// extents of the input are free. Nodes that only reshape are left out.
///
/// # Errors
/// [`InferError`] where shapes do not go together.
pub fn of_graph(mut graph: Graph) -> Result<Option<Vec<Layer>>, InferError> {
    let options = PassOptions::default();
    passes::prepare(&mut graph, &options);
    let shapes: Option<Vec<Shape>> =
        graph.inputs().iter().map(|&id| graph.input_type(id)?.shape()).collect();
    let Some(shapes) = shapes else { return Ok(None) };
    let types = passes::specialize(&mut graph, &shapes, &options)?;
    let mut layers: Vec<Layer> = Vec::new();
    for layer in graph.nodes().iter().filter_map(|node| of_node(node, &types)) {
        let same = |other: &&mut Layer| {
            let named =
                Layer { layer: layer.layer.clone(), count: layer.count, ..(**other).clone() };
            named == layer
        };
        match layers.iter_mut().find(same) {
            Some(known) => known.count += 1,
            None => layers.push(layer),
        }
    }
    Ok(Some(layers))
}

fn of_node(node: &Node, types: &Types) -> Option<Layer> {
    let shape = |i: usize| node.inputs.get(i).copied().flatten().map(|id| types.of(id).shape);
    let (x, out) = (shape(0)?, types.of(*node.outputs.first()?).shape);
    let plain = |kind, oc| Layer::plain(kind, &node.name, &x, oc);
    let oc = out.last().copied().unwrap_or(1);
    Some(match &node.op {
        Op::Conv2d(layer) => {
            let geometry = layer.geometry(x, shape(1)?).ok()?;
            let one = geometry.kernel.area() == 1 && geometry.is_pointwise();
            let kind = if one { Kind::Pointwise } else { Kind::Conv };
            let layer = plain(kind, oc).with_window(&geometry).with_activation(layer.activation);
            Layer { residual: shape(3).is_some(), ..layer }
        }
        Op::DepthwiseConv2d(layer) => {
            let geometry = layer.geometry(x, shape(1)?).ok()?;
            plain(Kind::Depthwise, oc).with_window(&geometry).with_activation(layer.activation)
        }
        Op::Dense(layer) => plain(Kind::Dense, oc).with_activation(layer.activation),
        Op::Reduce(_) | Op::Pool2d(_) => plain(Kind::Mean, oc),
        Op::Binary(layer) => {
            let kind = match layer.function {
                BinaryFn::Mul => Kind::Scale,
                _ => Kind::Add,
            };
            plain(kind, oc).with_activation(layer.activation)
        }
        Op::Activate(layer) => plain(Kind::Activate, oc).with_activation(layer.activation),
        Op::Softmax(_) => plain(Kind::Softmax, oc),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::shapes::NETS;

    #[test]
    fn files_hold_what_the_networks_give() {
        for net in NETS {
            let want = net.generate().unwrap().unwrap();
            assert_eq!(net.csv(), want, "{}: run `cargo xtask table --shapes`", net.name);
        }
    }
}
