//! What a producer writes to: a file of intents and one of acknowledgements, or the same bytes in memory.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

pub(super) enum Book {
    Files { intents: File, acks: File },
    Memory { intents: Vec<u8>, acks: Vec<u8> },
}

impl Book {
    /// Begins both files of the run; an error if they are there.
    #[allow(clippy::disallowed_methods)] // the ledger stands outside the world it checks
    pub fn create(dir: &Path, run: u64) -> io::Result<Book> {
        std::fs::create_dir_all(dir)?;
        let file = |name: &str| File::create_new(dir.join(format!("{run:016x}.{name}")));
        Ok(Book::Files { intents: file("intents")?, acks: file("acks")? })
    }

    pub fn intents(&mut self) -> &mut dyn Write {
        match self {
            Book::Files { intents, .. } => intents,
            Book::Memory { intents, .. } => intents,
        }
    }

    pub fn acks(&mut self) -> &mut dyn Write {
        match self {
            Book::Files { acks, .. } => acks,
            Book::Memory { acks, .. } => acks,
        }
    }
}
