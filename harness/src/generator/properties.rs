//! Properties that hold for generators of any shape.
