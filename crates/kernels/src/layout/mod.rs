//! Elements moved without arithmetic: transpose, concat, slice, pad, gather, copy.
