//! A process that was built without lookups over a connection: its configuration has none.

use std::sync::Arc;

use super::LookupsError;
use crate::config::Config;
use crate::engine::World;

/// None.
pub struct Lookups(());

impl Lookups {
    /// # Errors
    /// Never.
    pub fn start(_: &Config, _: &World) -> Result<Lookups, LookupsError> {
        Ok(Lookups(()))
    }

    pub fn asked(&self, _: &str) -> Option<Arc<dyn lookup::Asked>> {
        None
    }

    pub fn stop(&self) {}

    pub fn write_metrics(&self, _: &mut String) {}

    pub fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::Value::Array(Vec::new())
    }
}
