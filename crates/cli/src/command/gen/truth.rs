//! The three files of `--truth`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ouzel_gen::{Batch, Generator};

use crate::exit::{Failed, Result, plain};

pub struct TruthFiles {
    people: Out,
    devices: Out,
    events: Out,
    line: Vec<u8>,
}

struct Out {
    path: PathBuf,
    file: BufWriter<File>,
}

const BUFFER: usize = 256 << 10;

impl TruthFiles {
    /// Makes the directory if need be, and the files anew.
    pub fn create(dir: &Path) -> Result<TruthFiles> {
        std::fs::create_dir_all(dir)
            .map_err(|e| Failed::environment(&format!("cannot make the directory {}", dir.display()), &plain(&e)))?;
        Ok(TruthFiles {
            people: Out::create(dir.join("people.ndjson"))?,
            devices: Out::create(dir.join("devices.ndjson"))?,
            events: Out::create(dir.join("events.ndjson"))?,
            line: Vec::new(),
        })
    }

    /// What is so about a batch: line n of `events.ndjson` is about record n.
    pub fn write(&mut self, generator: &Generator, batch: &Batch) -> Result<()> {
        for introduction in &batch.introductions {
            if introduction.is_new {
                self.line.clear();
                generator.write_person(*introduction, &mut self.line);
                self.people.write(&self.line)?;
            }
            self.line.clear();
            generator.write_devices(*introduction, &mut self.line);
            self.devices.write(&self.line)?;
        }
        self.line.clear();
        for truth in &batch.truths {
            truth.write(&mut self.line);
        }
        self.events.write(&self.line)
    }

    pub fn finish(&mut self) -> Result<()> {
        for out in [&mut self.people, &mut self.devices, &mut self.events] {
            out.file.flush().map_err(|e| out.failed(&e))?;
        }
        Ok(())
    }
}

impl Out {
    fn create(path: PathBuf) -> Result<Out> {
        match File::create(&path) {
            Ok(file) => Ok(Out { file: BufWriter::with_capacity(BUFFER, file), path }),
            Err(e) => Err(Failed::environment(&format!("cannot write to {}", path.display()), &plain(&e))),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| self.failed(&e))
    }

    fn failed(&self, e: &std::io::Error) -> Failed {
        Failed::environment(&format!("cannot write to {}", self.path.display()), &plain(e))
    }
}
