//! Measures.
use anyhow::Result;

pub struct Options;

impl Options {
    pub fn parse(_options: &[&str]) -> Result<Options> {
        Ok(Options)
    }
}

pub fn run(_options: &Options) -> Result<()> {
    Ok(())
}
