//! What weight files call the parts of a network.

use std::fmt;

/// A convention for the names of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Naming {
    /// torchvision: `features.0.0.weight`. MobileNetV2 and V3 only.
    Torchvision,
    /// timm: `conv_stem.weight`, `blocks.1.0.conv_dw.weight`.
    Timm,
    /// The PyTorch ports of EfficientNet: `_conv_stem.weight`,
    /// `_blocks.1._depthwise_conv.weight`.
    EfficientNetPyTorch,
}

impl Naming {
    /// The convention that a file with these names follows, told by its stem.
    pub fn detect<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<Naming> {
        names.into_iter().find_map(|name| match name {
            "features.0.0.weight" => Some(Naming::Torchvision),
            "conv_stem.weight" => Some(Naming::Timm),
            "_conv_stem.weight" => Some(Naming::EfficientNetPyTorch),
            _ => None,
        })
    }
}

/// How torchvision lays out the modules of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modules {
    /// MobileNetV2: `conv.0.0`, the projection without a level of its own.
    V2,
    /// MobileNetV3: `block.0.0`.
    V3,
}

/// A place in a network that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Stem(Layer),
    Block(Block, BlockPart),
    /// The last convolution, which ends a network of this many blocks in this many stages.
    Head(Layer, Ends),
    Pool,
    /// The dense layer before the last one (V3).
    Hidden,
    HiddenActivation,
    Classifier,
}

/// A convolution and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Conv,
    Norm,
    Act,
}

/// Where a block stands, and what it has: both decide names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Stage, from 0.
    pub(crate) stage: usize,
    /// Position in the stage, from 0.
    pub(crate) index: usize,
    /// Position in the network, from 0.
    pub(crate) flat: usize,
    pub(crate) expands: bool,
    pub(crate) squeezes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockPart {
    Expand(Layer),
    Depthwise(Layer),
    SqueezePool,
    SqueezeReduce,
    SqueezeReduceAct,
    SqueezeExpand,
    SqueezeExpandAct,
    SqueezeScale,
    Project(Layer),
    Add,
}

/// Number of blocks and stages before the last convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) stages: usize,
    pub(crate) blocks: usize,
    /// timm counts the last convolution of V3 as a stage, and has a 1x1 `conv_head` after the
    /// pool.
    pub(crate) hidden: bool,
}

impl Part {
    /// The name of the part; `None` where the convention does not know such a network.
    pub(crate) fn name(self, naming: Naming, modules: Option<Modules>) -> Option<String> {
        match naming {
            Naming::Torchvision => modules.map(|modules| self.torchvision(modules)),
            Naming::Timm => Some(self.timm()),
            Naming::EfficientNetPyTorch => self.efficientnet_pytorch(),
        }
    }

    fn torchvision(self, modules: Modules) -> String {
        match self {
            Part::Stem(layer) => format!("features.0.{}", layer as usize),
            Part::Block(block, part) => {
                let inner = match modules {
                    Modules::V2 => block.torchvision_v2(part),
                    Modules::V3 => block.torchvision_v3(part),
                };
                format!("features.{}.{inner}", block.flat + 1)
            }
            Part::Head(layer, ends) => format!("features.{}.{}", ends.blocks + 1, layer as usize),
            Part::Pool => "avgpool".into(),
            Part::Hidden => "classifier.0".into(),
            Part::HiddenActivation => "classifier.1".into(),
            Part::Classifier if modules == Modules::V3 => "classifier.3".into(),
            Part::Classifier => "classifier.1".into(),
        }
    }

    fn timm(self) -> String {
        match self {
            Part::Stem(Layer::Conv) => "conv_stem".into(),
            Part::Stem(Layer::Norm) => "bn1".into(),
            Part::Stem(Layer::Act) => "act1".into(),
            Part::Block(block, part) => {
                format!("blocks.{}.{}.{}", block.stage, block.index, block.timm(part))
            }
            Part::Head(layer, ends) if ends.hidden => {
                let inner = ["conv", "bn1", "act1"][layer as usize];
                format!("blocks.{}.0.{inner}", ends.stages)
            }
            Part::Head(layer, _) => ["conv_head", "bn2", "act2"][layer as usize].into(),
            Part::Pool => "global_pool".into(),
            Part::Hidden => "conv_head".into(),
            Part::HiddenActivation => "act2".into(),
            Part::Classifier => "classifier".into(),
        }
    }

    fn efficientnet_pytorch(self) -> Option<String> {
        Some(match self {
            Part::Stem(layer) => ["_conv_stem", "_bn0", "_act0"][layer as usize].into(),
            Part::Block(block, part) => {
                format!("_blocks.{}.{}", block.flat, part.efficientnet_pytorch())
            }
            Part::Head(layer, _) => ["_conv_head", "_bn1", "_act1"][layer as usize].into(),
            Part::Pool => "_avg_pooling".into(),
            Part::Classifier => "_fc".into(),
            Part::Hidden | Part::HiddenActivation => return None,
        })
    }
}

impl Block {
    /// `conv.{position}.{layer}`, but the projection and its norm without a level of their own.
    fn torchvision_v2(self, part: BlockPart) -> String {
        let project = 1 + usize::from(self.expands);
        match part {
            BlockPart::Expand(layer) => format!("conv.0.{}", layer as usize),
            BlockPart::Depthwise(layer) => format!("conv.{}.{}", project - 1, layer as usize),
            BlockPart::Project(layer) => format!("conv.{}", project + layer as usize),
            BlockPart::Add => "add".into(),
            squeeze => format!("se.{}", squeeze.squeeze()),
        }
    }

    /// `block.{position}.{layer}`, where the squeeze is a position too.
    fn torchvision_v3(self, part: BlockPart) -> String {
        let depthwise = usize::from(self.expands);
        let squeeze = depthwise + 1;
        let project = squeeze + usize::from(self.squeezes);
        match part {
            BlockPart::Expand(layer) => format!("block.0.{}", layer as usize),
            BlockPart::Depthwise(layer) => format!("block.{depthwise}.{}", layer as usize),
            BlockPart::Project(layer) => format!("block.{project}.{}", layer as usize),
            BlockPart::Add => "add".into(),
            part => format!("block.{squeeze}.{}", part.squeeze()),
        }
    }

    /// timm numbers the norms of a block in order, and calls the last 1x1 `conv_pwl` where there
    /// is another one.
    fn timm(self, part: BlockPart) -> String {
        let norm = |position: usize, layer: Layer, conv: &str| match layer {
            Layer::Conv => conv.to_string(),
            Layer::Norm => format!("bn{position}"),
            Layer::Act => format!("act{position}"),
        };
        let first = usize::from(self.expands);
        match part {
            BlockPart::Expand(layer) => norm(1, layer, "conv_pw"),
            BlockPart::Depthwise(layer) => norm(first + 1, layer, "conv_dw"),
            BlockPart::Project(layer) if self.expands => norm(3, layer, "conv_pwl"),
            BlockPart::Project(layer) => norm(2, layer, "conv_pw"),
            BlockPart::SqueezeReduce => "se.conv_reduce".into(),
            BlockPart::SqueezeReduceAct => "se.act1".into(),
            BlockPart::SqueezeExpand => "se.conv_expand".into(),
            BlockPart::SqueezeExpandAct => "se.gate".into(),
            BlockPart::Add => "add".into(),
            part => format!("se.{}", part.squeeze()),
        }
    }
}

impl BlockPart {
    /// torchvision's names inside a squeeze-and-excitation.
    fn squeeze(self) -> &'static str {
        match self {
            BlockPart::SqueezePool => "avgpool",
            BlockPart::SqueezeReduce => "fc1",
            BlockPart::SqueezeReduceAct => "activation",
            BlockPart::SqueezeExpand => "fc2",
            BlockPart::SqueezeExpandAct => "scale_activation",
            _ => "scale",
        }
    }

    fn efficientnet_pytorch(self) -> String {
        match self {
            BlockPart::Expand(layer) => ["_expand_conv", "_bn0", "_act0"][layer as usize].into(),
            BlockPart::Depthwise(layer) => {
                ["_depthwise_conv", "_bn1", "_act1"][layer as usize].into()
            }
            BlockPart::Project(layer) => ["_project_conv", "_bn2", "_act2"][layer as usize].into(),
            BlockPart::SqueezeReduce => "_se_reduce".into(),
            BlockPart::SqueezeExpand => "_se_expand".into(),
            BlockPart::Add => "add".into(),
            part => format!("_se_{}", part.squeeze()),
        }
    }
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Naming::Torchvision => "torchvision",
            Naming::Timm => "timm",
            Naming::EfficientNetPyTorch => "efficientnet-pytorch",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_place_in_every_convention() {
        let block = Block { stage: 3, index: 1, flat: 7, expands: true, squeezes: true };
        let part = |p| Part::Block(block, p);
        let cases = [
            (Part::Stem(Layer::Norm), "features.0.1", "bn1", "_bn0"),
            (
                part(BlockPart::Depthwise(Layer::Conv)),
                "features.8.block.1.0",
                "blocks.3.1.conv_dw",
                "_blocks.7._depthwise_conv",
            ),
            (
                part(BlockPart::SqueezeExpand),
                "features.8.block.2.fc2",
                "blocks.3.1.se.conv_expand",
                "_blocks.7._se_expand",
            ),
            (
                part(BlockPart::Project(Layer::Norm)),
                "features.8.block.3.1",
                "blocks.3.1.bn3",
                "_blocks.7._bn2",
            ),
        ];
        for (part, torchvision, timm, efficientnet) in cases {
            let name = |naming| part.name(naming, Some(Modules::V3)).unwrap();
            assert_eq!(name(Naming::Torchvision), torchvision);
            assert_eq!(name(Naming::Timm), timm);
            assert_eq!(name(Naming::EfficientNetPyTorch), efficientnet);
        }
    }

    #[test]
    fn a_file_is_told_by_its_stem() {
        let detect = |names: &[&str]| Naming::detect(names.iter().copied());
        assert_eq!(detect(&["a", "conv_stem.weight"]), Some(Naming::Timm));
        assert_eq!(detect(&["features.0.0.weight"]), Some(Naming::Torchvision));
        assert_eq!(detect(&["layer.0.weight"]), None);
    }
}
