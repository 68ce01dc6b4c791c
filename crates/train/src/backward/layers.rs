//! Layers with weights, pools and interpolation.

use super::{Gradients, Rule};
use crate::builder::Builder;
use depthwise_layers::{
    ActivateGrad, Activation, BatchNormGrad, BatchNormTrain, Conv2d, Conv2dInputGrad,
    Conv2dWeightGrad, Dense, DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad, Pool2d,
    Pool2dGrad, PoolKind, Resize, ResizeGrad,
};
use depthwise_tensor::Hw;

impl Rule<'_> {
    /// Refuses what `TrainingGraph` splits off.
    fn plain(&self, activation: Activation, plain_inputs: usize) -> Result<(), crate::TrainError> {
        if activation != Activation::Identity || (plain_inputs..8).any(|i| self.opt(i).is_some()) {
            return Err(self.none("its bias, residual or activation is not split off"));
        }
        Ok(())
    }

    pub(super) fn conv2d(&self, b: &mut Builder, conv: &Conv2d) -> Gradients {
        self.plain(conv.activation, 2)?;
        let (x, w, dy) = (self.x(0), self.x(1), self.dy());
        let (picture, kernel) = (b.shape(x), b.shape(w));
        let input = Hw { h: picture[1], w: picture[2] };
        let dx = match self.wants(0) {
            true => Some(b.emit(Conv2dInputGrad { conv: conv.clone(), input }, &[dy, w])?),
            false => None,
        };
        let kernel = Hw { h: kernel[1], w: kernel[2] };
        let dw = match self.wants(1) {
            true => Some(b.emit(Conv2dWeightGrad { conv: conv.clone(), kernel }, &[x, dy])?),
            false => None,
        };
        Ok(vec![dx, dw])
    }

    /// A transposed convolution: the gradient of a convolution, seen as a layer. Linear in both
    /// operands, so its own gradients are the convolution and the convolution's weight gradient.
    pub(super) fn conv2d_transposed(&self, b: &mut Builder, layer: &Conv2dInputGrad) -> Gradients {
        let (x, w, dy) = (self.x(0), self.x(1), self.dy());
        let dx = match self.wants(0) {
            true => Some(b.emit(layer.conv.clone(), &[dy, w])?),
            false => None,
        };
        let kernel = Hw { h: b.shape(w)[1], w: b.shape(w)[2] };
        let grad = Conv2dWeightGrad { conv: layer.conv.clone(), kernel };
        let dw = if self.wants(1) { Some(b.emit(grad, &[dy, x])?) } else { None };
        Ok(vec![dx, dw])
    }

    pub(super) fn depthwise(&self, b: &mut Builder, conv: &DepthwiseConv2d) -> Gradients {
        self.plain(conv.activation, 2)?;
        let (x, w, dy) = (self.x(0), self.x(1), self.dy());
        let (picture, kernel) = (b.shape(x), b.shape(w));
        let input = Hw { h: picture[1], w: picture[2] };
        let back = DepthwiseInputGrad { conv: conv.clone(), input, channels: picture[3] };
        let dx = if self.wants(0) { Some(b.emit(back, &[dy, w])?) } else { None };
        let kernel = Hw { h: kernel[0], w: kernel[1] };
        let grad = DepthwiseWeightGrad { conv: conv.clone(), kernel };
        let dw = if self.wants(1) { Some(b.emit(grad, &[x, dy])?) } else { None };
        Ok(vec![dx, dw])
    }

    /// `dx = dy . w`; `dw = dy^T . x`, which is the weight gradient of a 1x1 convolution of rows.
    pub(super) fn dense(&self, b: &mut Builder, layer: &Dense) -> Gradients {
        self.plain(layer.activation, 2)?;
        let (x, w, dy) = (self.x(0), self.x(1), self.dy());
        let (x_shape, w_shape) = (b.shape(x), b.shape(w));
        let (outputs, depth) = (w_shape[0], w_shape[1]);
        let rows = b.shape(dy).elements() / outputs.max(1);
        let flat = b.reshape(dy, &[rows, outputs])?;
        let dx = match self.wants(0) {
            true => {
                let dx = b.emit(depthwise_layers::MatMul, &[flat, w])?;
                Some(b.reshape(dx, x_shape.dims())?)
            }
            false => None,
        };
        if !self.wants(1) {
            return Ok(vec![dx]);
        }
        let x = b.reshape(x, &[rows, 1, 1, depth])?;
        let dy = b.reshape(flat, &[rows, 1, 1, outputs])?;
        let grad = Conv2dWeightGrad { conv: Conv2d::default(), kernel: Hw::ONE };
        let dw = b.emit(grad, &[x, dy])?;
        Ok(vec![dx, Some(b.reshape(dw, &[outputs, depth])?)])
    }

    pub(super) fn batch_norm(&self, b: &mut Builder, layer: &BatchNormTrain) -> Gradients {
        if self.dys[1].is_some() || self.dys[2].is_some() {
            return Err(self.none("the loss depends on its statistics other than through y"));
        }
        let Some(dy) = self.dys[0] else { return Ok(vec![]) };
        let [_, mean, var] = self.node.outputs[..] else {
            return Err(self.none("it has not three outputs"));
        };
        let grad = BatchNormGrad { epsilon: layer.epsilon, axis: layer.axis };
        let inputs = [Some(dy), self.opt(0), self.opt(1), Some(mean), Some(var)];
        let all = b.emit_all(grad, &inputs, 3)?;
        Ok(all.into_iter().map(Some).collect())
    }

    pub(super) fn activate(&self, b: &mut Builder, activation: Activation) -> Gradients {
        if activation == Activation::Identity {
            return Ok(vec![self.dys[0]]);
        }
        let from_output = activation.derivative_from_output(0.0).is_some();
        let at = if from_output { self.y() } else { self.x(0) };
        Ok(vec![Some(b.emit(ActivateGrad { activation, from_output }, &[self.dy(), at])?)])
    }

    pub(super) fn pool(&self, b: &mut Builder, pool: &Pool2d) -> Gradients {
        let x = b.shape(self.x(0));
        let grad = Pool2dGrad { pool: pool.clone(), input: Hw { h: x[1], w: x[2] } };
        let inputs = match pool.kind {
            PoolKind::Max => vec![self.dy(), self.x(0)],
            PoolKind::Average { .. } => vec![self.dy()],
        };
        Ok(vec![Some(b.emit(grad, &inputs)?)])
    }

    pub(super) fn resize(&self, b: &mut Builder, resize: &Resize) -> Gradients {
        let sizes = self.integers(b, 1)?;
        let scales = match self.opt(2) {
            None => None,
            Some(id) => match b.graph.constant(id) {
                Some(tensor) => Some(tensor.to_f32().into_owned()),
                None => return Err(self.none("its scales are not constant")),
            },
        };
        let shape = b.shape(self.x(0));
        let axes = resize
            .resolve(&shape, sizes.as_deref(), scales.as_deref())
            .map_err(|e| self.none(e.to_string()))?;
        let grad = ResizeGrad { resize: resize.clone(), axes };
        Ok(vec![Some(b.emit(grad, &[self.dy()])?)])
    }
}
