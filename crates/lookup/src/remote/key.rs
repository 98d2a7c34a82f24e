//! What is asked for: the values of one or several parameters.

use std::fmt;

/// A key: one text for each parameter of the source, in its order. Personal data: its `Debug` is `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<[Box<str>]>);

impl Key {
    /// A key of one parameter.
    pub fn of(text: impl Into<Box<str>>) -> Key {
        Key(Box::new([text.into()]))
    }

    pub fn new<T: Into<Box<str>>>(parameters: impl IntoIterator<Item = T>) -> Key {
        Key(parameters.into_iter().map(Into::into).collect())
    }

    pub fn parameters(&self) -> &[Box<str>] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
