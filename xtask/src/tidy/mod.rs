//! The rules a compiler does not know. Each is one function that takes what it looks at and gives its findings; this
//! list is the whole of them, in the order they are printed.
//!
//! * [`layers`]: who may use whom
//! * [`texts`]: what no file may hold, and links that lead nowhere
//! * [`pages`]: what must have a page or a line in the documents
//! * [`lints`]: the clippy configuration of each crate
//! * [`image`]: the Dockerfile, which no engine is needed to read

mod image;
mod layers;
mod lints;
mod pages;
mod texts;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{Stop, step, workspace};

/// A file of the repository with its text; `None` for what is not text.
pub struct File {
    pub path: PathBuf,
    pub text: Option<String>,
}

impl File {
    pub fn has_extension(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|e| e == extension)
    }
}

/// What a rule found. An error fails the run; a warning is for a person to judge.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    Error(String),
    Warning(String),
}

impl Finding {
    pub fn error(message: impl Into<String>) -> Finding {
        Finding::Error(message.into())
    }
}

pub fn run(fix: bool) -> Result<()> {
    let root = workspace::root();
    let members = workspace::members()?;
    if fix {
        lints::write(&root, &members)?;
    }
    let mut files = Vec::new();
    for path in workspace::files()? {
        let text = String::from_utf8(std::fs::read(root.join(&path))?).ok();
        files.push(File { path, text });
    }

    let mut findings = layers::check(&members);
    findings.extend(layers::check_resolved(&members, &layers::resolve()?));
    findings.extend(pages::crates(&members, &files));
    findings.extend(pages::failures(&files));
    findings.extend(pages::decisions(&files));
    findings.extend(pages::keys(&files));
    findings.extend(pages::dependencies(&members, &files));
    findings.extend(lints::check(&members, &files));
    findings.extend(image::check(&files));
    findings.extend(texts::forbidden(&files, &here(&root)));
    findings.extend(texts::prints(&files));
    findings.extend(texts::links(&root, &files));
    findings.extend(texts::paths(&files));
    findings.extend(texts::long(&files));

    let mut errors = 0;
    for finding in &findings {
        match finding {
            Finding::Error(message) => {
                errors += 1;
                step::say(&format!("error: {message}"));
            }
            Finding::Warning(message) => step::say(&format!("warning: {message}")),
        }
    }
    if errors > 0 {
        return Err(Stop::failed(format!("tidy: {errors} found")).into());
    }
    step::say(&format!("tidy: {} crates, {} files, nothing found", members.len(), files.len()));
    Ok(())
}

/// Paths that are only right on this machine.
fn here(root: &Path) -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    [home, root.display().to_string()].into_iter().filter(|path| path.len() > 4).collect()
}

/// The text of one file of the list, empty when it is not there.
pub fn text_of<'a>(files: &'a [File], path: &str) -> &'a str {
    files.iter().find(|f| f.path == Path::new(path)).and_then(|f| f.text.as_deref()).unwrap_or("")
}
