//! A disk that loses at a power cut whatever was not synced, as a library preloaded into the process under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::gateway::Gateway;
use super::process::run;

const DEAF: &str = "LANDBRIDGE_TEST_DEAF_DISK";

/// What the disk does with a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    Kept,
    /// The control: as if the program had never synced.
    Ignored,
}

/// The databases of one gateway on such a disk.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Puts a gateway that is stopped onto the disk; what it has written so far is safe.
    pub fn under(gateway: &mut Gateway, syncs: Syncs) -> Self {
        let library = gateway.folder().join("power_loss.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/power_loss.c");
        let mut compiler = Command::new("cc");
        run(compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-o"]).arg(&library).arg(source));
        gateway.environment("LD_PRELOAD", library.to_str().expect("a path of ours"));
        if syncs == Syncs::Ignored {
            gateway.environment(DEAF, "1");
        }
        let disk = Self { folder: gateway.folder().join("data") };
        for file in disk.files() {
            if file.exists() {
                std::fs::copy(&file, synced(&file)).expect("a copy");
            }
        }
        disk
    }

    /// What is left after a power cut, in place of what the kernel still had; the process must be gone. Returns how many
    /// files have lost something.
    pub fn cut_power(&self) -> usize {
        let mut lost = 0;
        for file in self.files() {
            let kept = std::fs::read(synced(&file)).ok();
            let had = std::fs::read(&file).ok();
            lost += usize::from(kept != had);
            match kept {
                Some(kept) => std::fs::write(&file, kept).expect("a file of ours"),
                None if had.is_some() => std::fs::remove_file(&file).expect("a file of ours"),
                None => {}
            }
        }
        // Shared memory: it was never on the disk.
        for name in ["gateway.db-shm", "engine.db-shm"] {
            let _absent_after_an_orderly_stop = std::fs::remove_file(self.folder.join(name));
        }
        lost
    }

    fn files(&self) -> [PathBuf; 4] {
        ["gateway.db", "gateway.db-wal", "engine.db", "engine.db-wal"].map(|name| self.folder.join(name))
    }
}

fn synced(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".synced");
    name.into()
}
