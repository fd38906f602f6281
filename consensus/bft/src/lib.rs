//! consensus/bft
