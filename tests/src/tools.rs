//! Where things lie: the binary under test, the repository, the tools that `tests/run` puts in place.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
///
/// # Panics
/// When the package does not lie in a workspace.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_path_buf()
}

/// The folder of built programs (`target/debug`): two above the test program that runs.
///
/// # Panics
/// When the running program has no path.
#[must_use]
pub fn built() -> PathBuf {
    let this = env::current_exe().expect("the running test has a path");
    let deps = this.parent().expect("a program lies in a folder");
    if deps.ends_with("deps") { deps.parent().expect("deps lies in a folder").into() } else { deps.into() }
}

/// A program of this workspace: `LASTBEAT_BIN` for the binary, else the one that was built beside the tests.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    if name == "lastbeat"
        && let Some(path) = env::var_os("LASTBEAT_BIN")
    {
        return path.into();
    }
    let path = built().join(name);
    assert!(
        path.is_file(),
        "{} is not there: Cargo builds no other package's programs for a test; run `cargo build --workspace --all-targets`",
        path.display()
    );
    path
}

/// An example of the client, as its users see it.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let path = built().join("examples").join(name);
    assert!(
        path.is_file(),
        "{} is not there: Cargo builds no examples of another package for a test; run \
         `cargo build --workspace --all-targets`",
        path.display()
    );
    path
}

/// A tool that `tests/run` installs.
///
/// # Panics
/// When it is not there.
pub fn tool(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    assert!(path.exists(), "{} is not there: `./tests/run` installs what the tests need", path.display());
    path.to_path_buf()
}

/// Where screenshots go.
///
/// # Panics
/// When the folder cannot be made.
#[must_use]
pub fn artifacts() -> PathBuf {
    let folder = built().parent().expect("target holds debug").join("artifacts");
    std::fs::create_dir_all(&folder).expect("target can be written");
    folder
}

/// A command in a clean state: nothing of the caller's lastbeat settings, and SIGINT and SIGQUIT at their
/// default. A shell's background jobs start with both ignored, and that is inherited through exec, so a
/// test that runs in one would never see Ctrl+C work.
#[must_use]
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,QUIT").arg(program.as_ref());
    for (key, _) in env::vars_os() {
        if key.to_string_lossy().starts_with("LASTBEAT_") {
            command.env_remove(key);
        }
    }
    command.env("NO_COLOR", "1");
    command
}
