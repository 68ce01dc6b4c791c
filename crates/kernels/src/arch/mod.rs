//! Helpers that several families share at one ISA: load, store, transpose. No algorithms.
