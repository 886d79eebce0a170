//! Runs the binary in a home that all tests share: reference strings are made once.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use serde_json::Value;

#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../../chain/tests/it/support/anvil.rs"]
pub mod anvil;
#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../../chain/tests/it/support/demo.rs"]
pub mod demo;
#[allow(dead_code, reason = "the chain client's tests use all of it")]
#[path = "../../../chain/tests/it/support/flaky.rs"]
pub mod flaky;

#[path = "../../../prover/tests/it/nats.rs"]
pub mod nats;

/// The second account of development nodes: publicly known.
pub const STRANGER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// Home of all tests of this process; development strings in it outlive the run, secrets do not matter.
static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cairn-home");
    std::fs::create_dir_all(&home).expect("scratch space");
    // Made before tests run at once.
    for k in ["12", "14"] {
        cairn_in(&home, &["srs", "dev", "--k", k]).must();
    }
    home
});

/// What a process left behind.
#[derive(Debug)]
pub struct Answer {
    /// The command line.
    pub command: String,
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// The JSON answer of a command that succeeded.
    pub fn must(&self) -> Value {
        assert_eq!(self.code, Some(0), "cairn {}: {self:#?}", self.command);
        self.json()
    }

    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// What clap says of a command line that it refuses.
    pub fn refused_usage(&self) -> &str {
        assert_eq!(self.code, Some(2), "cairn {}: {self:#?}", self.command);
        assert!(self.stderr.starts_with("error: "), "{self:#?}");
        &self.stderr
    }

    /// The line on standard error of a command that ended with `code`: 1, or 2 after its command line was understood.
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "cairn {}: {self:#?}", self.command);
        assert!(self.stderr.starts_with("cairn: "), "{self:#?}");
        &self.stderr
    }

    /// The failed check of `cairn verify`: code 1, the only line that is not ok is the last one.
    pub fn failed_check(&self) -> (String, String) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        let report = self.json();
        assert_eq!(report["ok"], false, "{self:#?}");
        let checks = report["checks"].as_array().expect("checks");
        let (last, before) = checks.split_last().expect("a check was made");
        assert!(before.iter().all(|check| check["ok"] == true), "{self:#?}");
        assert_eq!(last["ok"], false, "{self:#?}");
        let text = |key: &str| last[key].as_str().expect(key).to_owned();
        (text("check"), text("detail"))
    }
}

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.args(args).args(["--json", "--quiet"]).env("CAIRN_HOME", home).stdin(Stdio::null());
    command
}

/// Runs `cairn` in another home.
pub fn cairn_in(home: &Path, args: &[&str]) -> Answer {
    answer(&mut command(home, args), args)
}

/// Runs what follows without any network: not even the loopback interface is up.
pub const ALONE: &[&str] = &["unshare", "--map-root-user", "--net"];

/// Runs `cairn` by another program, which is given the command line to run.
pub fn cairn_within(program: &[&str], home: &Path, args: &[&str]) -> Answer {
    answer(&mut within(program, &command(home, args)), args)
}

/// A command, run by another program, which is given the command line to run. Where it reads and writes is not taken over.
pub fn within<A: AsRef<OsStr>>(program: &[A], inner: &Command) -> Command {
    let mut outer = Command::new(&program[0]);
    outer.args(&program[1..]).arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        outer.env(key, value.expect("set"));
    }
    outer
}

fn answer(command: &mut Command, args: &[&str]) -> Answer {
    let output = command.stdin(Stdio::null()).output().expect("cairn runs");
    Answer {
        command: args.join(" "),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `cairn` to its end.
pub fn cairn(args: &[&str]) -> Answer {
    cairn_in(&HOME, args)
}

/// A command that is not started yet, to be killed.
pub fn process(args: &[&str]) -> Command {
    process_in(&HOME, args)
}

/// The same in another home.
pub fn process_in(home: &Path, args: &[&str]) -> Command {
    let mut command = command(home, args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A command that says on standard error what it says to users.
pub fn talking(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.args(args).arg("--json").env("CAIRN_HOME", &*HOME);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command whose answer is read while it runs.
pub fn piped(args: &[&str]) -> Command {
    let mut command = command(&HOME, args);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// A directory with a dataset of 4 features and 3 classes.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A new one.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("scratch space");
        let rows: String = (0..60u64)
            .map(|i| {
                let class = i % 3;
                let feature = |j: u64| (5 * class + (i * 7 + j * 3) % 6) % 17;
                format!("{},{},{},{},{class}\n", feature(0), feature(1), feature(2), feature(3))
            })
            .collect();
        std::fs::write(dir.path().join("data.csv"), rows).expect("scratch space");
        Self(dir)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A home of its own, with the reference strings of all tests.
    pub fn home(&self) -> PathBuf {
        let home = self.0.path().join("home");
        if !home.is_dir() {
            std::fs::create_dir(&home).expect("scratch space");
            std::os::unix::fs::symlink(HOME.join("srs"), home.join("srs")).expect("scratch space");
        }
        home
    }

    /// Arguments of a training run of 4 steps in epochs of 2.
    pub fn train(&self, salt: u8, more: &[&str]) -> Vec<String> {
        let salt = format!("0x{}", format!("{salt:02x}").repeat(32));
        let (data, artifacts) = (self.path("data.csv"), self.path("artifacts"));
        let mut args: Vec<String> = [
            "train",
            "--data",
            &data,
            "--hidden",
            "2",
            "--batch",
            "6",
            "--steps",
            "4",
            "--epoch-size",
            "2",
            "--artifacts",
            &artifacts,
            "--salt",
            &salt,
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args
    }

    /// Trains and returns the run's directory.
    pub fn trained(&self, salt: u8, more: &[&str]) -> PathBuf {
        let args = self.train(salt, more);
        let answer = cairn(&args.iter().map(String::as_str).collect::<Vec<_>>()).must();
        PathBuf::from(answer["run_dir"].as_str().expect("a run directory"))
    }
}

/// A file with the second account's key.
pub fn stranger_key(scratch: &Scratch) -> String {
    let path = scratch.path("stranger.key");
    std::fs::write(&path, STRANGER_KEY).expect("scratch space");
    path
}

/// `cairn verify --all` of a run.
pub fn verify(run: &Path) -> Answer {
    cairn(&["verify", "--all", "--run", run.to_str().expect("UTF-8")])
}

/// A copy of a run's directory, under the same name in a new parent.
pub fn copy(run: &Path) -> (tempfile::TempDir, PathBuf) {
    fn tree(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("scratch space");
        for entry in std::fs::read_dir(from).expect("a directory") {
            let entry = entry.expect("an entry");
            let target = to.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                tree(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).expect("scratch space");
            }
        }
    }
    let parent = tempfile::tempdir().expect("scratch space");
    let to = parent.path().join(run.file_name().expect("a name"));
    tree(run, &to);
    (parent, to)
}

/// Waits until something happened, then for `delay`; false if the process ended before.
pub fn wait_for(child: &mut Child, happened: impl Fn() -> bool, delay: Duration) -> bool {
    let start = Instant::now();
    while !happened() {
        if child.try_wait().expect("a process").is_some() {
            return false;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the process made no progress");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(delay);
    true
}
