//! The real servers, from the environment.

/// The URL of a server. Without one, the test says so and has nothing to do; in CI it fails.
pub fn url(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(url) if !url.is_empty() => Some(url),
        _ if std::env::var_os("CI").is_some() => panic!("{variable} is not set"),
        _ => {
            eprintln!("SKIPPED: {variable} is not set, so there is no server to ask");
            None
        }
    }
}

/// `scheme://user:password@host:port/rest` in its parts; an empty user or password is none.
pub struct Parts {
    pub user: Option<String>,
    pub password: Option<String>,
    /// Without user and password.
    pub url: String,
}

impl Parts {
    pub fn of(url: &str) -> Parts {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Parts { user: some(user), password: some(password), url: format!("{scheme}://{rest}") }
    }
}
