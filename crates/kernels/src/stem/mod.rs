//! The first convolution of a picture network: few input channels, stride 2.
