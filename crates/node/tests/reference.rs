#![allow(clippy::disallowed_methods)] // it compares a file of the repository

//! The page of all keys is the program's own: written anew with `UPDATE_MESSAGES=1`, compared otherwise.

#[test]
fn the_page_of_all_keys_says_what_the_program_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration-reference.md");
    let page = ouzel_node::config::reference();
    if std::env::var_os("UPDATE_MESSAGES").is_some() {
        std::fs::write(path, &page).expect("writing the page");
    }
    let stored = std::fs::read_to_string(path).expect("docs/configuration-reference.md");
    assert!(stored == page, "{path} is out of date: UPDATE_MESSAGES=1 cargo test -p ouzel-node --test reference");
}
