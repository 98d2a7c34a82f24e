//! Secrets: where one is to be found, and its text. Neither can be printed.

use std::io;
use std::path::{Path, PathBuf};

use lookup::Secret;

/// Longest secret file read, in bytes: above any key, certificate or token.
pub const SECRET_MAX: usize = 64 << 10;

/// Where a secret stands: `{ env = "NAME" }` or `{ file = "path" }`. Never the secret itself: a configuration is copied,
/// printed and committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretRef {
    Env(String),
    File(PathBuf),
}

/// A text that may be a secret, and then does not stand in the configuration itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MaybeSecret {
    Text(String),
    Secret(SecretRef),
}

impl MaybeSecret {
    /// The text itself, if it is no secret.
    pub fn text(&self) -> Option<&str> {
        match self {
            MaybeSecret::Text(text) => Some(text),
            MaybeSecret::Secret(_) => None,
        }
    }
}

impl SecretRef {
    /// Fetches the secret. Line ends at the end of a file are not part of it. The error names the place, never the text.
    pub fn resolve(
        &self,
        env: &[(String, String)],
        read: impl FnOnce(&Path) -> io::Result<String>,
    ) -> Result<Secret, String> {
        let text = match self {
            SecretRef::Env(name) => match env.iter().find(|(n, _)| n == name) {
                Some((_, text)) => text.clone(),
                None => return Err(format!("the environment variable {name} is not set")),
            },
            SecretRef::File(path) => {
                let mut text = read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
                text
            }
        };
        if text.is_empty() {
            return Err(match self {
                SecretRef::Env(name) => format!("the environment variable {name} is empty"),
                SecretRef::File(path) => format!("{} is empty", path.display()),
            });
        }
        if text.len() > SECRET_MAX {
            return Err(format!("a secret has at most {SECRET_MAX} bytes"));
        }
        Ok(Secret::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_cannot_be_printed() {
        let s = Secret::new("hunter2");
        assert_eq!(format!("{s} {s:?} {:?}", Some(&s)), "*** *** Some(***)");
        assert_eq!(s.reveal(), "hunter2");
    }

    #[test]
    fn a_secret_is_fetched_from_its_place() {
        let env = vec![("KEY".to_owned(), "k".to_owned()), ("NONE".to_owned(), String::new())];
        let no_file = |_: &Path| -> io::Result<String> { Err(io::ErrorKind::NotFound.into()) };
        let from = |r: &str| SecretRef::Env(r.into()).resolve(&env, no_file);
        assert_eq!(from("KEY").unwrap().reveal(), "k");
        assert!(from("OTHER").unwrap_err().contains("OTHER is not set"));
        assert!(from("NONE").unwrap_err().contains("is empty"));
        let file = SecretRef::File("/run/secrets/k".into());
        assert_eq!(file.resolve(&env, |_| Ok("tok en\r\n".into())).unwrap().reveal(), "tok en");
        assert!(file.resolve(&env, no_file).unwrap_err().contains("/run/secrets/k"));
        assert!(file.resolve(&env, |_| Ok("\n".into())).unwrap_err().contains("is empty"));
    }
}
