//! A machine with a cache directory and an npm that does what a test says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use node::assets::{Asset, AssetError, Installed, Npm, Outcome, Progress, Store, Watch, fetch, from};
use ouzel_node as node;
use seam::{Clock, Fs, RealClock, RealFs};
use sha2::{Digest as _, Sha512};

#[path = "../../../lookup/tests/support/writer.rs"]
#[allow(dead_code)] // it has more shapes than are needed here
pub mod writer;

/// The standing-in npm, for PATH and by path.
pub fn bin() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets/bin")
}

/// The reference data; loud when it is not there.
pub fn data(path: &str) -> PathBuf {
    let root = std::env::var_os("OUZEL_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(path);
    assert!(path.exists(), "no test data at {}: set OUZEL_TEST_DATA (see CONTRIBUTING.md)", path.display());
    path
}

pub struct Machine {
    tmp: tempfile::TempDir,
    pub npm: Npm,
}

/// Nobody watches, and nobody stops.
pub struct Nobody;

impl Watch for Nobody {
    fn show(&mut self, _: Progress) {}

    fn stop(&self) -> bool {
        false
    }
}

impl Machine {
    pub fn new() -> Machine {
        let tmp = tempfile::tempdir().expect("a directory");
        let npm = Npm { program: bin().join("npm"), ..Npm::default() };
        Machine { tmp, npm }
    }

    /// Beside the cache.
    pub fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below ours")).expect("made");
        std::fs::write(&path, content).expect("written");
        path
    }

    /// What npm does from now on.
    pub fn npm_does(&self, script: &str) {
        self.file("cache/npm.sh", script);
    }

    /// npm has this package, and it is the newest.
    pub fn npm_has(&self, version: &str, archive: &[u8]) {
        self.npm_has_with(version, &integrity(archive), archive);
    }

    pub fn npm_has_with(&self, version: &str, integrity: &str, archive: &[u8]) {
        self.file("cache/registry.tgz", archive);
        self.npm_does(&format!(
            "echo \"$@\" >> ../calls\n\
             case $1 in\n\
             view) echo '{{\"version\": \"{version}\", \"dist.integrity\": \"{integrity}\"}}' ;;\n\
             pack) cp ../registry.tgz ./some-name-{version}.tgz; echo '[{{\"filename\": \"@of/older/npm.tgz\"}}]' ;;\n\
             esac\n"
        ));
    }

    /// The calls of npm so far, by their first word.
    pub fn calls(&self) -> Vec<String> {
        let said = std::fs::read_to_string(self.path("cache/calls")).unwrap_or_default();
        said.lines().map(|l| l.split(' ').next().unwrap_or("").to_owned()).collect()
    }

    pub fn store(&self) -> Store {
        Store::open(&self.cache(), Arc::new(RealFs)).expect("it opens")
    }

    pub fn fetch(&self, asset: Asset) -> Result<Outcome, AssetError> {
        self.fetch_watched(asset, &mut Nobody)
    }

    pub fn fetch_watched(&self, asset: Asset, watch: &mut dyn Watch) -> Result<Outcome, AssetError> {
        fetch::fetch(&self.store(), asset, &self.npm, &RealClock::new(), watch)
    }

    pub fn take(&self, dir: &str) -> from::Taken {
        from::take(&self.store(), &self.path(dir), &Asset::ALL, &RealClock::new(), &mut Nobody).expect("it is read")
    }

    pub fn installed(&self) -> Installed {
        Installed::open(&self.cache(), &RealFs)
    }

    /// The version there is, and proof that nothing is left over.
    pub fn version(&self, asset: Asset) -> Option<String> {
        let installed = self.installed();
        assert_eq!(installed.verify(asset, &RealFs), Vec::<String>::new());
        self.tidy();
        installed.manifest(asset).map(|m| m.version().to_owned())
    }

    /// Nothing half-written, nothing downloaded, nothing pending.
    pub fn tidy(&self) {
        for asset in Asset::ALL {
            let names = RealFs.list(&self.cache().join(asset.name())).unwrap_or_default();
            let odd = |n: &&String| n.ends_with(".new") || n.ends_with(".tmp") || *n == "pending.json";
            assert_eq!(names.iter().find(odd), None, "{asset:?}");
        }
        assert_eq!(RealFs.list(&self.cache().join("tmp")).unwrap_or_default(), Vec::<String>::new());
    }
}

/// The text of an error that must be one.
pub fn error(outcome: Result<Outcome, AssetError>) -> String {
    outcome.expect_err("it must fail").to_string()
}

/// A package as npm makes one.
pub fn package(name: &str, version: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let description = format!("{{\"name\": \"{name}\", \"version\": \"{version}\"}}");
    let mut archive = Archive::new();
    for (name, content) in files {
        archive.file(&format!("package/{name}"), content);
    }
    archive.file("package/package.json", description.as_bytes());
    archive.finish()
}

/// One of `uap-core`, the smallest.
pub fn agents(version: &str) -> Vec<u8> {
    package("uap-core", version, &[("README.md", b"#"), ("regexes.yaml", &rules(version)), ("LICENSE", b"Apache")])
}

pub fn rules(version: &str) -> Vec<u8> {
    format!("# {version}\nuser_agent_parsers:\n  - regex: 'x'\nos_parsers:\ndevice_parsers:\n").into_bytes()
}

/// A city database of the type `kind`.
pub fn city(kind: &str) -> Vec<u8> {
    use writer::{Value, Writer};
    let record = Value::Map(vec![("city", Value::Text("Fairfield")), ("country_code", Value::Text("US"))]);
    let bytes = Writer::new(6, 24).add("1.2.3.0/24", record).build();
    // The type stands behind all that is pointed at. A short text has its length in the byte before it.
    let text = |kind: &str| [&[2 << 5 | kind.len() as u8], kind.as_bytes()].concat();
    let (old, new) = (text("test city"), text(kind));
    let at = bytes.windows(old.len()).position(|w| w == old).expect("its type");
    [&bytes[..at], &new, &bytes[at + old.len()..]].concat()
}

/// Writes archives, hostile ones too.
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn new() -> Archive {
        Archive(Vec::new())
    }

    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(b'0', name.as_bytes(), "", content.len() as u64, content);
    }

    /// Any entry: a type, a name, a link's target, the size it says it has, and what follows.
    pub fn entry(&mut self, kind: u8, name: &[u8], link: &str, size: u64, content: &[u8]) {
        let mut header = tar::Header::new_ustar();
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name);
        bytes[156] = kind;
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().div_ceil(512) * 512, 0);
    }

    /// Without the blocks that end an archive.
    pub fn unfinished(self) -> Vec<u8> {
        gzip(&self.0)
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        gzip(&self.0)
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub fn integrity(archive: &[u8]) -> String {
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(archive)))
}

/// Waits until `is_so`; some seconds on a busy machine.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = RealClock::new();
    while !is_so() {
        assert!(clock.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process is there, zombies not counted.
pub fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}
