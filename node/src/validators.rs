//! Which validators vote at which height.

use std::sync::Arc;

use basalt_primitives::{ChainSpec, Height, ValidatorSet, validators::SetError};

/// The validator set of every height. The set of genesis holds for all heights until sets change by vote; whoever asks,
/// asks by height, so that nothing else changes then.
#[derive(Clone, Debug)]
pub struct ValidatorSets {
    genesis: Arc<ValidatorSet>,
}

impl ValidatorSets {
    /// The sets of a chain.
    pub fn new(spec: &ChainSpec) -> Result<Self, SetError> {
        Ok(Self { genesis: Arc::new(spec.validator_set()?) })
    }

    /// The set that votes at a height.
    #[must_use]
    pub fn at(&self, _height: Height) -> Arc<ValidatorSet> {
        Arc::clone(&self.genesis)
    }
}
