//! One file per command; each has its arguments, then `run`.

pub mod assets;
pub mod bench;
pub mod check;
pub mod completions;
pub mod config;
pub mod data;
pub mod dlq;
pub mod doctor;
pub mod explain;
pub mod r#gen;
pub mod init;
pub mod lookup;
pub mod plan;
pub mod restore;
pub mod run;
pub mod savepoint;
pub mod sessions;
pub mod tail;
pub mod test;
pub mod topics;
pub mod version;
