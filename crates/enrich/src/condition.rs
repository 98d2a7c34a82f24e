//! Conditions in CEL (https://cel.dev) over the event and what was written into `enriched`.
//!
//! The text is parsed once. Every path in it (`event.user`, `enriched.user.plan`) becomes a variable of its own, which is
//! read from the event's bytes only when the evaluation comes to it; so a condition costs what it reads, and copies no
//! text. What is absent is null, at any depth.
//!
//! * `rewrite`: from a text to an expression over such variables, with everything refused that could not be meant
//! * `value`: JSON as CEL's values

mod rewrite;
mod value;

use std::fmt;
use std::sync::Arc;

use cel::common::types::CelBool;
use cel::{Context, Env, IdedExpr, Value};

use crate::path::Path;
use value::Variables;

/// Longest text of a condition, in bytes: a page of it.
pub const TEXT_MAX: usize = 2048;
/// Most paths of a condition, so that their values fit on the stack.
pub const PATHS_MAX: usize = 16;

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Given<'v> {
    /// JSON that was checked before.
    Json(&'v [u8]),
    /// Plain text: what an event has from its batch, its connection or its source.
    Text(&'v [u8]),
}

/// Why a text is no condition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// For people, with what to do.
    pub message: String,
    /// The byte of the text that is meant, at most its length.
    pub position: usize,
}

/// A condition that could not be evaluated for an event: a comparison of values that do not compare, a member of a list
/// that is not there. What it compared is the event's, so this says nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undecided;

/// A condition, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

struct Compiled {
    text: String,
    expression: IdedExpr,
    paths: Vec<Path>,
    env: Arc<Env>,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.0.text == other.0.text
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.0.text).finish()
    }
}

impl Condition {
    /// # Errors
    /// A text that is not CEL, reads something that is neither of the event nor of `enriched`, calls a function that is
    /// not there, or cannot be true or false.
    pub fn compile(text: &str) -> Result<Condition, ConditionError> {
        let (expression, paths) = rewrite::compile(text)?;
        let env = Arc::new(Env::stdlib());
        Ok(Condition(Arc::new(Compiled { text: text.to_owned(), expression, paths, env })))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What it reads, each path once.
    pub fn paths(&self) -> &[Path] {
        &self.0.paths
    }

    /// Whether it holds. `read` gives what a path leads to, by its place in [`Condition::paths`]; `None` is null. It is
    /// called at most once a path.
    pub fn holds<'v>(&self, mut read: impl FnMut(usize) -> Option<Given<'v>>) -> Result<bool, Undecided> {
        let mut given = [None; PATHS_MAX];
        for (place, given) in given.iter_mut().enumerate().take(self.0.paths.len()) {
            *given = read(place);
        }
        let variables = Variables::new(given);
        let mut context = Context::with_env(self.0.env.clone());
        context.set_variable_resolver(&variables);
        let value = Value::resolve_val(&self.0.expression, &context).map_err(|_| Undecided)?;
        // Of a list that was cut nothing is known, whatever came of it.
        if variables.cut() {
            return Err(Undecided);
        }
        value.downcast_ref::<CelBool>().map(|b| *b.inner()).ok_or(Undecided)
    }
}
