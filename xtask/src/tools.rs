//! Where the pinned tools are, how they get there, and how they are run.
//!
//! `<cache>/tools/` holds a copy of `xtask/tools/{package.json,package-lock.json,solc.js}`, the `node_modules` npm made
//! of them, and `bin/` with links to the executables. `<cache>` is `$CAIRN_CACHE`, or `.cache` at the repository's root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// What is copied from `xtask/tools` before npm runs.
const INPUTS: [&str; 3] = ["package.json", "package-lock.json", "solc.js"];
/// Foundry's executables; each is a package with one platform package that holds the binary.
const FOUNDRY: [&str; 3] = ["forge", "anvil", "cast"];
/// Written last; its content is the concatenation of [`INPUTS`], so a changed pin installs again.
const STAMP: &str = ".installed";

/// The tools' folder and the repository it serves.
pub struct Tools {
    repo: PathBuf,
    dir: PathBuf,
}

impl Tools {
    /// Finds the repository and the cache; creates nothing.
    ///
    /// # Errors
    /// If the repository's root cannot be determined.
    pub fn locate() -> anyhow::Result<Self> {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?.to_path_buf();
        let cache = std::env::var_os("CAIRN_CACHE").map_or_else(|| repo.join(".cache"), PathBuf::from);
        let cache = std::path::absolute(cache).context("cache folder")?;
        Ok(Self { repo, dir: cache.join("tools") })
    }

    /// Root of the repository.
    pub fn repo(&self) -> &Path {
        &self.repo
    }

    /// The cache folder.
    pub fn cache(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// Folder with `forge`, `anvil`, `cast`, `solc` and `snarkjs`.
    pub fn bin_dir(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// Installs the tools unless the same pins are installed already.
    ///
    /// # Errors
    /// If npm is missing or fails, or a file cannot be written.
    pub fn install(&self) -> anyhow::Result<()> {
        let wanted = self.pins()?;
        let stamp = self.dir.join(STAMP);
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        eprintln!("xtask: installing foundry, solc, snarkjs, playwright and axe from npm into {}", self.dir.display());
        fs::create_dir_all(&self.dir).with_context(|| format!("create {}", self.dir.display()))?;
        for name in INPUTS {
            fs::copy(self.repo.join("xtask/tools").join(name), self.dir.join(name))
                .with_context(|| format!("copy {name} to {}", self.dir.display()))?;
        }
        let status = Command::new("npm")
            .args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&self.dir)
            .status()
            .context("run npm (is Node.js installed?)")?;
        if !status.success() {
            bail!("npm install in {} failed: {status}", self.dir.display());
        }
        self.link_binaries()?;
        fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))
    }

    /// A command for one of the tools; installs them first if needed.
    ///
    /// # Errors
    /// As [`Tools::install`].
    pub fn command(&self, tool: &str) -> anyhow::Result<Command> {
        self.install()?;
        let mut command = Command::new(self.bin_dir().join(tool));
        command.current_dir(&self.repo).env("FOUNDRY_SOLC", self.bin_dir().join("solc"));
        Ok(command)
    }

    /// The texts that decide what is installed.
    fn pins(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for name in INPUTS {
            let path = self.repo.join("xtask/tools").join(name);
            all += &fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        }
        Ok(all)
    }

    fn link_binaries(&self) -> anyhow::Result<()> {
        let bin = self.bin_dir();
        fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => bail!("no foundry package for {other}"),
        };
        let os = match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        };
        let modules = self.dir.join("node_modules");
        for tool in FOUNDRY {
            let target = modules.join(format!("@foundry-rs/{tool}-{os}-{arch}/bin/{tool}"));
            if !target.is_file() {
                bail!("npm installed no {tool} for {os}-{arch}: expected {}", target.display());
            }
            write_wrapper(&bin.join(tool), &format!("exec \"{}\" \"$@\"", target.display()))?;
        }
        let node = |script: &Path| format!("exec node \"{}\" \"$@\"", script.display());
        write_wrapper(&bin.join("solc"), &node(&self.dir.join("solc.js")))?;
        write_wrapper(&bin.join("snarkjs"), &node(&modules.join("snarkjs/build/cli.cjs")))
    }
}

/// Writes an executable shell script of one line.
pub fn write_wrapper(path: &Path, line: &str) -> anyhow::Result<()> {
    fs::write(path, format!("#!/bin/sh\n{line}\n")).with_context(|| format!("write {}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {} executable", path.display()))?;
    }
    Ok(())
}
