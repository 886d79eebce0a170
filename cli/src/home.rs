//! The cache of reference strings and keys, and the private directory.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aggregator::{AggregateError, EpochProvingKey, EpochShape, EpochVerifyingKey, Phase, Watch, wrap::WrapProvingKey};
use anyhow::Context;
use bytes::Bytes;
use circuits::convert::from_fr;
use circuits::keys::{MemoryLimit, StepProvingKey, StepVerifyingKey};
use circuits::step::shape::StepShape;
use srs::{Srs, SrsCache, SrsLabel, SrsSize};
use store::{ArtifactCache, CacheKey};

use crate::output::Output;
use crate::progress;
use crate::run::EpochCircuit;
use crate::size::Memory;

/// Parts that the bar of a proof has.
const PHASE_UNITS: u64 = 1000;

/// A proving key that is kept in the cache.
trait ProvingKey: Sized {
    fn write(&self, out: &mut impl Write) -> Result<(), AggregateError>;
    fn within(self, limit: MemoryLimit) -> Result<Self, AggregateError>;
}

impl ProvingKey for EpochProvingKey {
    fn write(&self, out: &mut impl Write) -> Result<(), AggregateError> {
        self.write(out)
    }

    fn within(self, limit: MemoryLimit) -> Result<Self, AggregateError> {
        self.within(limit)
    }
}

impl ProvingKey for WrapProvingKey {
    fn write(&self, out: &mut impl Write) -> Result<(), AggregateError> {
        self.write(out)
    }

    fn within(self, limit: MemoryLimit) -> Result<Self, AggregateError> {
        self.within(limit)
    }
}

/// Everything that can be made again, and secrets.
pub struct Home<'o> {
    root: PathBuf,
    label: SrsLabel,
    memory: Option<MemoryLimit>,
    out: &'o Output,
}

impl<'o> Home<'o> {
    /// `root` is created when something is stored. `label`: which SRS, `dev` for the development one.
    pub fn new(root: &Path, label: &str, out: &'o Output) -> anyhow::Result<Self> {
        let label = label.parse().with_context(|| format!("--srs {label}"))?;
        Ok(Self { root: root.to_owned(), label, memory: None, out })
    }

    /// The same with keys whose proofs hold no more than that.
    pub fn within(self, memory: &Memory) -> Self {
        Self { memory: memory.memory_limit, ..self }
    }

    /// Directory of run secrets and optimizer states.
    pub fn private(&self) -> PathBuf {
        self.root.join("private")
    }

    /// Which reference string.
    pub fn label(&self) -> &SrsLabel {
        &self.label
    }

    /// The cache of reference strings.
    pub fn srs_cache(&self) -> SrsCache {
        SrsCache::new(self.root.join("srs"))
    }

    /// The reference string of size `k`.
    pub fn srs(&self, k: u32) -> anyhow::Result<Srs> {
        let size = SrsSize::new(k)?;
        let cache = self.srs_cache();
        let fresh = !cache.contains(&self.label, size);
        let spinner = fresh.then(|| progress::spinner(self.out, &format!("reference string k = {k}"), None));
        let srs = cache.get(&self.label, size, &srs::silent).with_context(|| format!("srs {} k = {k}", self.label))?;
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        Ok(srs)
    }

    /// Step proving key; generated each time, it takes seconds.
    pub fn step_key(&self, shape: &StepShape) -> anyhow::Result<(Srs, StepProvingKey)> {
        let srs = self.srs(shape.k)?;
        let spinner = progress::spinner(self.out, "step key", None);
        let key = match self.memory {
            None => StepProvingKey::generate(srs.params(), shape),
            Some(limit) => StepProvingKey::generate_within(srs.params(), shape, limit),
        };
        spinner.finish_and_clear();
        Ok((srs, key?))
    }

    /// Step verifying key.
    pub fn step_verifying_key(&self, shape: &StepShape) -> anyhow::Result<(Srs, StepVerifyingKey)> {
        let srs = self.srs(shape.k)?;
        let key = StepVerifyingKey::generate(srs.params(), shape)?;
        Ok((srs, key))
    }

    fn cache(&self) -> anyhow::Result<ArtifactCache> {
        let dir = self.root.join("keys");
        ArtifactCache::open(&dir).with_context(|| format!("key cache {}", dir.display()))
    }

    fn epoch_cache_key(&self, step_key: &StepVerifyingKey, shape: &EpochShape, kind: &str) -> anyhow::Result<CacheKey> {
        let digest = from_fr(&step_key.digest()).to_string();
        let digest = digest.trim_start_matches("0x").chars().take(16).collect::<String>();
        let EpochShape { n_steps, n_chunks, k } = shape;
        let circuit = aggregator::keys::CIRCUIT_VERSION;
        Ok(CacheKey::new(format!("epoch-{}-v{circuit}-{digest}-n{n_steps}-c{n_chunks}-k{k}.{kind}", self.label))?)
    }

    /// A proving key as it is stored: mapped, so that its columns are the system's to keep or to drop. None if there is none that is whole.
    fn stored<K>(
        &self,
        name: &CacheKey,
        what: &str,
        open: impl FnOnce(&Bytes) -> Result<K, AggregateError>,
    ) -> anyhow::Result<Option<K>> {
        let spinner = progress::spinner(self.out, &format!("loading {what}"), None);
        let found = self.cache()?.map(name);
        let opened = found.map_err(anyhow::Error::from).and_then(|found| Ok(found.as_ref().map(open).transpose()?));
        spinner.finish_and_clear();
        Ok(opened.unwrap_or_else(|error| {
            // A damaged file is worth a new key, not a failure.
            self.out.note(format!("{what}: {error}; making the key again"));
            None
        }))
    }

    /// A proving key, from the cache or generated and stored, for proofs within the limit if there is one.
    fn proving_key<K: ProvingKey>(
        &self,
        name: &CacheKey,
        what: &str,
        open: impl Fn(&Bytes) -> Result<K, AggregateError>,
        check: impl FnOnce(MemoryLimit) -> Result<(), AggregateError>,
        generate: impl FnOnce() -> Result<K, AggregateError>,
    ) -> anyhow::Result<K> {
        let stored = || self.stored(name, what, &open);
        let mut key = stored()?;
        if key.is_none() {
            self.memory.map_or(Ok(()), check)?;
            let made = self.timed(what, generate)??;
            self.cache()?.put(name, |mut out| made.write(&mut out).map_err(std::io::Error::other))?;
            // From the file it takes no memory of this process's own.
            key = if self.memory.is_some() { stored()? } else { Some(made) };
        }
        let key = key.with_context(|| format!("{name:?} was stored and cannot be opened"))?;
        Ok(match self.memory {
            None => key,
            Some(limit) => key.within(limit)?,
        })
    }

    /// Epoch proving key, from the cache or generated and stored.
    pub fn epoch_key(
        &self,
        step: (&Srs, &StepVerifyingKey),
        shape: &EpochShape,
    ) -> anyhow::Result<(Srs, EpochProvingKey)> {
        let srs = self.srs(shape.k)?;
        let name = self.epoch_cache_key(step.1, shape, "pk")?;
        let (params, step_params) = (srs.params(), step.0.params());
        let key = self.proving_key(
            &name,
            "epoch key",
            |bytes| EpochProvingKey::open(bytes, step_params, step.1),
            |limit| aggregator::keys::check_memory(params, step_params, step.1, shape, limit),
            || EpochProvingKey::generate(params, step_params, step.1, shape),
        )?;
        Ok((srs, key))
    }

    /// Epoch verifying key, from the cache or generated and stored. The reference string of its size is needed only for that.
    pub fn epoch_verifying_key(
        &self,
        step: (&Srs, &StepVerifyingKey),
        shape: &EpochShape,
    ) -> anyhow::Result<EpochVerifyingKey> {
        let cache = self.cache()?;
        let name = self.epoch_cache_key(step.1, shape, "vk")?;
        if let Ok(Some(key)) =
            cache.read(&name, |mut input| EpochVerifyingKey::read(&mut input).map_err(std::io::Error::other))
        {
            return Ok(key);
        }
        let srs = self.srs(shape.k)?;
        let key = self.timed("epoch verifying key", || {
            aggregator::keys::generate_verifying_key(srs.params(), step.0.params(), step.1, shape)
        })??;
        cache.put(&name, |mut out| key.write(&mut out).map_err(std::io::Error::other))?;
        Ok(key)
    }

    fn wrap_cache_key(&self, epoch_key: &EpochVerifyingKey, wrap_k: u32, kind: &str) -> anyhow::Result<CacheKey> {
        let digest = from_fr(&epoch_key.digest()).to_string();
        let digest = digest.trim_start_matches("0x").chars().take(16).collect::<String>();
        let circuit = aggregator::wrap::CIRCUIT_VERSION;
        Ok(CacheKey::new(format!("wrap-{}-v{circuit}-{digest}-k{wrap_k}.{kind}", self.label))?)
    }

    /// Proving key of the wrap of epochs under `epoch_key`, from the cache or generated and stored.
    pub fn wrap_key(&self, epoch_key: &EpochVerifyingKey, wrap_k: u32) -> anyhow::Result<(Srs, WrapProvingKey)> {
        let (epoch_srs, srs) = (self.srs(epoch_key.shape().k)?, self.srs(wrap_k)?);
        let name = self.wrap_cache_key(epoch_key, wrap_k, "pk")?;
        let (params, epoch_params) = (srs.params(), epoch_srs.params());
        let key = self.proving_key(
            &name,
            "wrap key",
            |bytes| WrapProvingKey::open(bytes, epoch_params, epoch_key),
            |limit| aggregator::wrap::check_memory(params, epoch_params, epoch_key, limit),
            || WrapProvingKey::generate(params, epoch_params, epoch_key),
        )?;
        Ok((srs, key))
    }

    /// Verifying key of the proofs that are anchored: the epochs', or that of their wrap.
    pub fn anchored_key(
        &self,
        step: (&Srs, &StepVerifyingKey),
        circuit: &EpochCircuit,
    ) -> anyhow::Result<EpochVerifyingKey> {
        let shape = circuit.shape();
        let epoch_key = self.epoch_verifying_key(step, &shape)?;
        let Some(wrap_k) = circuit.wrap_k else { return Ok(epoch_key) };
        let cache = self.cache()?;
        let name = self.wrap_cache_key(&epoch_key, wrap_k, "vk")?;
        if let Ok(Some(key)) =
            cache.read(&name, |mut input| EpochVerifyingKey::read(&mut input).map_err(std::io::Error::other))
        {
            return Ok(key);
        }
        let (epoch_srs, srs) = (self.srs(shape.k)?, self.srs(wrap_k)?);
        let key = self.timed("wrap verifying key", || {
            aggregator::wrap::generate_verifying_key(srs.params(), epoch_srs.params(), &epoch_key)
        })??;
        cache.put(&name, |mut out| key.write(&mut out).map_err(std::io::Error::other))?;
        Ok(key)
    }

    /// Runs a proof under a bar that follows its phases.
    pub fn phased<T>(&self, what: &str, work: impl FnOnce(&mut dyn Watch) -> T) -> T {
        let bar = progress::bar(self.out, PHASE_UNITS, what);
        let mut follow = |phase: Phase| {
            bar.set_position((phase.done() * PHASE_UNITS as f64) as u64);
            ControlFlow::Continue(())
        };
        let result = work(&mut follow);
        bar.finish_and_clear();
        result
    }

    /// Runs long work under a bar that knows how long it took the last time.
    pub fn timed<T>(&self, what: &str, work: impl FnOnce() -> T) -> anyhow::Result<T> {
        let file = self.root.join("times").join(what.replace(' ', "-"));
        let before = fs::read_to_string(&file).ok().and_then(|s| s.trim().parse().ok()).map(Duration::from_millis);
        let bar = progress::spinner(self.out, what, before);
        let start = Instant::now();
        let result = work();
        bar.finish_and_clear();
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        fs::write(&file, start.elapsed().as_millis().to_string())
            .with_context(|| format!("write {}", file.display()))?;
        Ok(result)
    }
}
