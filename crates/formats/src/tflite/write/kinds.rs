//! The operators that are written: number, name, number of the options' type.

/// An operator of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) code: i32,
    pub(super) name: &'static str,
    /// Type of the options; 0 where there are none.
    pub(super) options: u8,
    pub(super) version: i32,
}

impl Kind {
    /// The operator in a later version.
    pub(super) const fn version(self, version: i32) -> Kind {
        Kind { version, ..self }
    }

    /// The operator in the version that takes `i8`, or the later one that it is in.
    pub(super) fn for_integers(self) -> Kind {
        let version = match self {
            Kind { code: 3 | 4, .. } => 3,
            // With scales per channel.
            Kind { code: 9, .. } => 12,
            HARD_SWISH | RESHAPE | DEPTH_TO_SPACE | QUANTIZE => 1,
            _ => 2,
        };
        self.version(version.max(self.version))
    }
}

macro_rules! kinds {
    ($($name:ident $code:literal $options:literal;)*) => {
        $(pub(super) const $name: Kind =
            Kind { code: $code, name: stringify!($name), options: $options, version: 1 };)*

        #[cfg(test)]
        pub(super) const ALL: &[Kind] = &[$($name),*];
    };
}

kinds! {
    ADD 0 11;
    AVERAGE_POOL_2D 1 5;
    CONCATENATION 2 10;
    CONV_2D 3 1;
    DEPTHWISE_CONV_2D 4 2;
    DEPTH_TO_SPACE 5 94;
    DEQUANTIZE 6 38;
    FLOOR 8 0;
    FULLY_CONNECTED 9 8;
    LOGISTIC 14 0;
    MAX_POOL_2D 17 5;
    MUL 18 21;
    RELU 19 0;
    RELU_N1_TO_1 20 0;
    RELU6 21 0;
    RESHAPE 22 17;
    RESIZE_BILINEAR 23 15;
    SOFTMAX 25 9;
    SPACE_TO_DEPTH 26 19;
    TANH 28 0;
    PAD 34 22;
    GATHER 36 23;
    TRANSPOSE 39 26;
    MEAN 40 27;
    SUB 41 28;
    DIV 42 29;
    STRIDED_SLICE 45 32;
    EXP 47 33;
    LOG_SOFTMAX 50 36;
    CAST 53 37;
    PRELU 54 0;
    MAXIMUM 55 39;
    ARG_MAX 56 40;
    MINIMUM 57 39;
    LESS 58 41;
    NEG 59 42;
    PADV2 60 43;
    GREATER 61 44;
    GREATER_EQUAL 62 45;
    LESS_EQUAL 63 46;
    SLICE 65 48;
    SIN 66 0;
    TRANSPOSE_CONV 67 49;
    TILE 69 51;
    EQUAL 71 53;
    NOT_EQUAL 72 54;
    LOG 73 0;
    SUM 74 27;
    SQRT 75 0;
    RSQRT 76 0;
    POW 78 56;
    ARG_MIN 79 57;
    REDUCE_PROD 81 27;
    REDUCE_MAX 82 27;
    LOGICAL_OR 84 61;
    LOGICAL_AND 86 62;
    LOGICAL_NOT 87 63;
    REDUCE_MIN 89 27;
    SQUARE 92 66;
    FILL 94 68;
    FLOOR_MOD 95 72;
    RESIZE_NEAREST_NEIGHBOR 97 74;
    LEAKY_RELU 98 75;
    MIRROR_PAD 100 77;
    ABS 101 78;
    SPLIT_V 102 79;
    CEIL 104 0;
    COS 108 84;
    ELU 111 0;
    ROUND 116 0;
    HARD_SWISH 117 91;
    SELECT_V2 123 98;
    BATCH_MATMUL 126 101;
    QUANTIZE 114 89;
    BROADCAST_TO 130 104;
    GELU 150 116;
    RELU_0_TO_1 152 0;
    SIGN 158 123;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tflite::ops;
    use std::collections::BTreeMap;

    #[test]
    fn numbers_are_those_that_the_reader_knows() {
        let known: BTreeMap<&str, i32> = ops::codes().map(|(code, name)| (name, code)).collect();
        for kind in ALL {
            assert_eq!(known.get(kind.name), Some(&kind.code), "{}", kind.name);
        }
    }
}
