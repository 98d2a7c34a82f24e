//! A process that was built without Kafka: a configuration with it is refused.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use door::input;
use log::Log;

use super::{CarrierError, Lag, Who};
use crate::config::Config;
use crate::engine::World;

/// There is none.
pub struct Kafka(Infallible);

impl Kafka {
    /// # Errors
    /// Always.
    pub fn connect(_: &Config, _: &World, _: &Who) -> Result<Kafka, CarrierError> {
        Err(CarrierError::NotBuilt)
    }

    /// # Errors
    /// Always.
    pub fn look(_: &Config, _: &World) -> Result<Kafka, CarrierError> {
        Err(CarrierError::NotBuilt)
    }

    pub fn log(&self) -> Arc<dyn Log> {
        match self.0 {}
    }

    pub fn take(
        &self,
        _: (&str, &str, bool),
        _: &input::World,
        _: &input::Progress,
        _: &AtomicBool,
    ) -> Result<(), input::InputError> {
        match self.0 {}
    }

    pub fn health(&self) -> Result<(), String> {
        match self.0 {}
    }

    pub fn close(&self) {
        match self.0 {}
    }
}

/// There is none.
pub struct Plan(Infallible);

impl Plan {
    pub fn lines(&self) -> Vec<String> {
        match self.0 {}
    }

    pub fn apply(&self) -> Result<(), CarrierError> {
        match self.0 {}
    }
}

/// # Errors
/// Always.
pub fn plan(_: &Config, _: &World) -> Result<Plan, CarrierError> {
    Err(CarrierError::NotBuilt)
}

/// # Errors
/// Always.
pub fn lag(_: &Config, _: &World) -> Result<Vec<Lag>, CarrierError> {
    Err(CarrierError::NotBuilt)
}
