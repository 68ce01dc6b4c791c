//! Convolution of any kernel size, as an implicit matrix product.
