//! Builds the program and shows it at work on the committed examples, in a directory of its own under `target/`.
use anyhow::Result;

pub fn run() -> Result<()> {
    Ok(())
}
