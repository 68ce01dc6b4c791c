//! Packed weights, shared by the plans of a model.

use super::Builder;
use crate::error::LowerError;
use depthwise_kernels::conv2d::PackedConvF32;
use depthwise_kernels::conv2d_qs8::PackedConvQs8;
use depthwise_kernels::dense_f16::PackedDenseF16;
use depthwise_kernels::dwconv_f32::PackedDwF32;
use depthwise_kernels::dwconv_qs8::PackedDwQs8;
use depthwise_kernels::gemm_bf16::PackedGemmBf16;
use depthwise_kernels::gemm_f32::PackedGemmF32;
use depthwise_kernels::gemm_qs8::PackedGemmQs8;
use depthwise_kernels::quant::{QWeights, Weights8};
use depthwise_kernels::{Cpu, KernelError};
use depthwise_layers::ir::{Def, Graph, Value, ValueId};
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{Slab, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// Which constants were packed. A constant is packed for one family only, since the family
/// follows from the layer, the shape of its weight and the choices of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PackKey {
    pub weight: ValueId,
    pub bias: Option<ValueId>,
    /// Zero points of integer weights.
    pub zeros: Option<ValueId>,
}

impl PackKey {
    fn ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        [Some(self.weight), self.bias, self.zeros].into_iter().flatten()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Packed {
    Gemm(Arc<PackedGemmF32>),
    GemmBf16(Arc<PackedGemmBf16>),
    DenseF16(Arc<PackedDenseF16>),
    Conv(Arc<PackedConvF32>),
    Depthwise(Arc<PackedDwF32>),
    GemmQ(Arc<PackedGemmQs8>),
    ConvQ(Arc<PackedConvQs8>),
    DepthwiseQ(Arc<PackedDwQs8>),
}

impl Packed {
    /// Weights `[n][k]` of a product, as bfloat16 where `rounded`.
    pub(crate) fn product(
        packer: &mut Packer<'_>,
        rounded: bool,
        (k, n): (usize, usize),
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Packed, KernelError> {
        let Packer { cpu, memory } = packer;
        Ok(if rounded {
            let packed = PackedGemmBf16::pack_in(memory, cpu, k, n, weights, bias)?;
            Packed::GemmBf16(Arc::new(packed))
        } else {
            let packed = PackedGemmF32::pack_in(memory, cpu, k, n, weights, bias)?;
            Packed::Gemm(Arc::new(packed))
        })
    }
}

/// What weights are packed for, and where: pointwise and dense ones, which are most, at once; others
/// are moved there.
pub(crate) struct Packer<'a> {
    pub(crate) cpu: &'a Cpu,
    pub(crate) memory: &'a mut Slab,
}

/// Packed weights of the constants of a prepared graph. Packing depends on the weight and the CPU
/// only, so plans for different input sizes share it.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    /// Where they lie.
    memory: Slab,
    map: HashMap<PackKey, Packed>,
}

impl Packs {
    pub(crate) fn get(&self, key: &PackKey) -> Option<&Packed> {
        self.map.get(key)
    }

    /// Expects the constants of `graph`, which the slab then has room for: as `f32`, in panels a
    /// little wider than the weights.
    pub(crate) fn expect(&mut self, graph: &Graph) {
        let elements = |value: &Value| match &value.def {
            Def::Const(tensor) => tensor.shape().elements(),
            _ => 0,
        };
        let elements: usize = graph.values().iter().map(elements).sum();
        self.memory.expect(elements.saturating_mul(size_of::<f32>()).saturating_add(elements / 4));
    }

    /// Moves weights that were just packed elsewhere to where the others lie.
    fn settle(&mut self, packed: &mut Packed) -> Result<(), AllocError> {
        let memory = &mut self.memory;
        match packed {
            Packed::Gemm(_) | Packed::GemmBf16(_) => None,
            Packed::DenseF16(p) => Arc::get_mut(p).map(|p| p.move_into(memory)),
            Packed::Conv(p) => Arc::get_mut(p).map(|p| p.move_into(memory)),
            Packed::Depthwise(p) => Arc::get_mut(p).map(|p| p.move_into(memory)),
            Packed::GemmQ(p) => Arc::get_mut(p).map(|p| p.move_into(memory)),
            Packed::ConvQ(p) => Arc::get_mut(p).map(|p| p.move_into(memory)),
            Packed::DepthwiseQ(p) => Arc::get_mut(p).map(|p| p.move_into(memory)),
        }
        .transpose()?;
        Ok(())
    }

    pub(crate) fn insert(&mut self, key: PackKey, packed: Packed) {
        self.map.insert(key, packed);
    }

    /// Bytes of all packed weights.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |p: &Packed| match p {
            Packed::Gemm(p) => p.bytes(),
            Packed::GemmBf16(p) => p.bytes(),
            Packed::DenseF16(p) => p.bytes(),
            Packed::Conv(p) => p.bytes(),
            Packed::Depthwise(p) => p.bytes(),
            Packed::GemmQ(p) => p.bytes(),
            Packed::ConvQ(p) => p.bytes(),
            Packed::DepthwiseQ(p) => p.bytes(),
        };
        self.map.values().map(bytes).sum()
    }
}

impl Builder<'_> {
    /// Packed weights, from the cache or made by `pack` of the elements of the two constants,
    /// which are then dropped where nothing else reads them.
    pub(crate) fn packed(
        &mut self,
        weight: ValueId,
        bias: Option<ValueId>,
        pack: impl FnOnce(&mut Packer<'_>, &[f32], Option<&[f32]>) -> Result<Packed, KernelError>,
    ) -> Result<Packed, LowerError> {
        let key = PackKey { weight, bias, zeros: None };
        if let Some(packed) = self.packs.get(&key).cloned() {
            self.release(key);
            return Ok(packed);
        }
        let mut memory = std::mem::take(&mut self.packs.memory);
        let packed = self.pack_f32(&mut memory, weight, bias, pack);
        self.packs.memory = memory;
        Ok(self.keep(key, packed?))
    }

    fn pack_f32(
        &self,
        memory: &mut Slab,
        weight: ValueId,
        bias: Option<ValueId>,
        pack: impl FnOnce(&mut Packer<'_>, &[f32], Option<&[f32]>) -> Result<Packed, KernelError>,
    ) -> Result<Packed, LowerError> {
        let bias = bias.map(|id| self.need_constant(id)).transpose()?;
        let bias = bias.map(Tensor::to_f32);
        let weight = self.need_constant(weight)?.to_f32();
        Ok(pack(&mut Packer { cpu: &self.cpu, memory }, &weight, bias.as_deref())?)
    }

    /// As [`Builder::packed`], of integer weights with their bias and zero points.
    pub(crate) fn packed_integers(
        &mut self,
        weight: ValueId,
        bias: Option<ValueId>,
        zeros: Option<ValueId>,
        pack: impl FnOnce(&Cpu, &QWeights<'_>) -> Result<Packed, KernelError>,
    ) -> Result<Packed, LowerError> {
        let key = PackKey { weight, bias, zeros };
        if let Some(packed) = self.packs.get(&key).cloned() {
            self.release(key);
            return Ok(packed);
        }
        let w = self.need_constant(weight)?;
        let weights = match w.data::<i8>() {
            Ok(w) => Weights8::I8(w),
            Err(_) => Weights8::U8(w.data::<u8>()?),
        };
        let list = |id: Option<ValueId>| -> Result<Option<&[i32]>, LowerError> {
            id.map(|id| Ok(self.need_constant(id)?.data::<i32>()?)).transpose()
        };
        let (bias, zeros) = (list(bias)?, list(zeros)?);
        let weights = QWeights { weights, zero_points: zeros.unwrap_or(&[]), bias };
        let packed = pack(&self.cpu, &weights)?;
        Ok(self.keep(key, packed))
    }

    /// Remembers packed weights for other plans. Their constants go before they are moved, so that
    /// three copies of them never coexist.
    fn keep(&mut self, key: PackKey, mut packed: Packed) -> Packed {
        self.release(key);
        // Where there is no memory to lie beside the others in, they stay where they were packed.
        let _ = self.packs.settle(&mut packed);
        if self.is_stable(&key) {
            self.packs.insert(key, packed.clone());
        }
        packed
    }

    /// Whether other plans find these constants under the same ids.
    fn is_stable(&self, key: &PackKey) -> bool {
        key.ids().all(|id| id.index() < self.stable)
    }

    /// Drops the constants of packed weights that nothing else reads.
    fn release(&mut self, key: PackKey) {
        let stable = self.is_stable(&key);
        for id in key.ids() {
            self.uses[id.index()] -= 1;
            if self.uses[id.index()] == 0 {
                self.graph.release_constant(id);
                if stable {
                    self.prepared.release_constant(id);
                }
            }
        }
    }
}
