//! "Did you mean": the known name nearest to what was written.

/// The best of `known` for `written`, or `None` where nothing is near enough to be meant.
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let written = plain(written);
    // A third of the letters may be wrong: "listn" is near `listen`, "foo" is near nothing.
    let allowed = (written.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let name_plain = plain(name);
        let distance = match extends(&written, &name_plain) {
            true => allowed,
            false => distance(&written, &name_plain),
        };
        if distance <= allowed && best.is_none_or(|(d, _)| distance < d) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Whether two names differ at most in what people vary.
pub fn same(a: &str, b: &str) -> bool {
    plain(a) == plain(b)
}

/// Whether a long and a short form of one word: "enrichment" and `enrich`.
fn extends(a: &str, b: &str) -> bool {
    const ROOT: usize = 4;
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.len() >= ROOT && long.starts_with(short)
}

/// Spelling without what people vary: case, hyphens, underscores. ("maxBytes", "max-bytes" and `max_bytes` are one.)
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Letters to add, drop, change or swap with a neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut d = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            d[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut least =
                    (d[(i - 1) * width + j] + 1).min(d[i * width + j - 1] + 1).min(d[(i - 1) * width + j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(d[(i - 2) * width + j - 2] + 1);
                }
                least
            };
        }
    }
    d[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_found() {
        let known = ["listen", "connections", "max_bytes", "dir", "durability"];
        for (written, meant) in [
            ("listn", Some("listen")),
            ("lisetn", Some("listen")),
            ("maxBytes", Some("max_bytes")),
            ("max-bytes", Some("max_bytes")),
            ("dri", Some("dir")),
            ("durabilty", Some("durability")),
            ("connection_limit", Some("connections")),
            ("connect", Some("connections")),
            ("gap", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
    }
}
