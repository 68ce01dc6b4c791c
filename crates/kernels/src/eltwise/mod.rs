//! Functions of one or two operands, element by element.
