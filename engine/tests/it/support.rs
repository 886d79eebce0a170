//! Circuits of many shapes, keys, and proofs by both provers.

use engine::{CosetCache, EngineError, Hints, KeyView, PreparedKey, Unwatched, prove, prove_hinted};
use halo2_proofs::{
    circuit::{Layouter, SimpleFloorPlanner, Value},
    halo2curves::{
        bn256::{Bn256, Fr, G1Affine},
        ff::Field,
    },
    plonk::{
        Advice, Assigned, Challenge, Circuit, Column, ConstraintSystem, Error, Expression, FirstPhase, Fixed, Instance,
        ProvingKey, SecondPhase, create_proof, keygen_pk, keygen_vk, verify_proof,
    },
    poly::{
        Rotation,
        kzg::{
            commitment::{KZGCommitmentScheme, ParamsKZG},
            multiopen::{ProverSHPLONK, VerifierSHPLONK},
            strategy::SingleStrategy,
        },
    },
    transcript::{Blake2bRead, Blake2bWrite, Challenge255, TranscriptReadBuffer as _, TranscriptWriterBuffer as _},
};
use rand::{SeedableRng, rngs::StdRng};

/// What a circuit uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features {
    /// log2 of the rows.
    pub k: u32,
    /// Sets of three multiplied columns.
    pub widths: usize,
    /// Copy constraints, also with a fixed and an instance column.
    pub permutation: bool,
    /// Lookups, the second one of pairs with an input of degree 2.
    pub lookups: usize,
    /// A second phase with a challenge; `Some(true)` ends its phases itself.
    pub phases: Option<bool>,
    /// Further rotations that are read.
    pub rotations: usize,
    /// A gate of degree 5.
    pub high_degree: bool,
    /// A gate of degree 6, which the library does not count.
    pub excess: bool,
    /// Cells assigned as fractions.
    pub fractions: bool,
    /// Instance columns beyond the first.
    pub instances: usize,
}

/// Gates alone.
pub const PLAIN: Features = Features {
    k: 5,
    widths: 1,
    permutation: false,
    lookups: 0,
    phases: None,
    rotations: 0,
    high_degree: false,
    excess: false,
    fractions: false,
    instances: 0,
};

/// Columns of [`Mixed`].
#[derive(Clone, Debug)]
pub struct Config {
    features: Features,
    sets: Vec<[Column<Advice>; 3]>,
    second: Option<(Column<Advice>, Challenge)>,
    q: Column<Fixed>,
    q_early: Column<Fixed>,
    table: [Column<Fixed>; 2],
    instances: Vec<Column<Instance>>,
    blinding_rows: usize,
}

/// `c(next) = a·b` in each set; b is small and signed or looked up; a running sum with the challenge in the second phase.
#[derive(Clone, Debug, Default)]
pub struct Mixed {
    /// What it uses.
    pub features: Features,
    /// First value of `a`.
    pub seed: u64,
    /// Whether to spoil one product.
    pub spoil: bool,
    /// Whether to put a value outside the table.
    pub outside: bool,
}

/// Table entries.
const TABLE: u64 = 5;

impl Mixed {
    /// An honest circuit.
    pub fn new(features: Features) -> Self {
        Self { features, seed: 7, ..Self::default() }
    }

    fn rows(&self, config: &Config) -> usize {
        (1 << self.features.k) - config.blinding_rows - 1
    }
}

/// A circuit that knows its instances.
pub trait Tested: Circuit<Fr> + Clone {
    /// log2 of the rows.
    fn k(&self) -> u32;

    /// The instance columns.
    fn instances(&self) -> Vec<Vec<Fr>>;
}

impl Tested for Mixed {
    fn k(&self) -> u32 {
        self.features.k
    }

    fn instances(&self) -> Vec<Vec<Fr>> {
        (0..1 + self.features.instances).map(|i| vec![Fr::from(self.seed), Fr::from(i as u64)]).collect()
    }
}

impl Circuit<Fr> for Mixed {
    type Config = Config;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = Features;

    fn params(&self) -> Features {
        self.features
    }

    fn without_witnesses(&self) -> Self {
        self.clone()
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> Config {
        Self::configure_with_params(meta, Features::default())
    }

    fn configure_with_params(meta: &mut ConstraintSystem<Fr>, features: Features) -> Config {
        let sets: Vec<[Column<Advice>; 3]> =
            (0..features.widths).map(|_| std::array::from_fn(|_| meta.advice_column_in(FirstPhase))).collect();
        let challenge = features.phases.map(|_| meta.challenge_usable_after(FirstPhase));
        let second = challenge.map(|c| (meta.advice_column_in(SecondPhase), c));
        let [q, q_early, t, u] = std::array::from_fn(|_| meta.fixed_column());
        let table = [t, u];
        let instances: Vec<Column<Instance>> = (0..1 + features.instances).map(|_| meta.instance_column()).collect();
        if features.permutation {
            for column in sets.iter().flatten() {
                meta.enable_equality(*column);
            }
            meta.enable_equality(instances[0]);
            meta.enable_equality(table[0]);
        }
        for [a, b, c] in sets.iter().copied() {
            meta.create_gate("product", |meta| {
                let q = meta.query_fixed(q, Rotation::cur());
                let [x, y, z] = [(a, 0), (b, 0), (c, 1)].map(|(c, r)| meta.query_advice(c, Rotation(r)));
                let mut out = vec![q.clone() * (x.clone() * y.clone() - z.clone())];
                if features.high_degree {
                    out.push((x.clone() * y - z.clone()) * (q.clone() * z.square()));
                }
                for r in 1..=features.rotations as i32 {
                    // a counts up by one from row to row.
                    let later = meta.query_advice(a, Rotation(2 * r));
                    let early = meta.query_fixed(q_early, Rotation::cur());
                    let step = Expression::Constant(Fr::from(2 * r as u64));
                    out.push(early * (later - x.clone() - step));
                }
                if features.excess {
                    out.push(q * x.clone().square().square() * x);
                }
                out
            });
        }
        if let Some((second, challenge)) = second {
            meta.create_gate("sum", |meta| {
                let q = meta.query_fixed(q, Rotation::cur());
                let challenge = meta.query_challenge(challenge);
                let [sum, next] = [0, 1].map(|r| meta.query_advice(second, Rotation(r)));
                let a = meta.query_advice(sets[0][0], Rotation::cur());
                vec![q * (next - sum - challenge * a)]
            });
        }
        for lookup in 0..features.lookups {
            meta.lookup_any("small", |meta| {
                let [t, u] = table.map(|t| meta.query_fixed(t, Rotation::cur()));
                let b = meta.query_advice(sets[lookup % sets.len()][1], Rotation::cur());
                if lookup == 0 { vec![(b, t)] } else { vec![(b.clone() * b.clone(), u), (b, t)] }
            });
        }
        let blinding_rows = meta.blinding_factors() + 1;
        Config { features, sets, second, q, q_early, table, instances, blinding_rows }
    }

    fn synthesize(&self, config: Config, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        let rows = self.rows(&config);
        let features = config.features;
        let first = layouter.assign_region(
            || "all",
            |mut region| {
                let mut first = None;
                for row in 0..rows {
                    region.assign_fixed(config.q, row, Fr::ONE);
                    if row + 2 * features.rotations <= rows {
                        region.assign_fixed(config.q_early, row, Fr::ONE);
                    }
                }
                for row in 0..=rows {
                    let entry_value = Fr::from(row as u64 % TABLE);
                    let entry = region.assign_fixed(config.table[0], row, entry_value);
                    region.assign_fixed(config.table[1], row, entry_value.square());
                    for (s, [a, b, c]) in config.sets.iter().copied().enumerate() {
                        let x = Fr::from(self.seed + row as u64);
                        let small = |row: usize| match (row * (s + 3) * 7) as u64 % TABLE {
                            d if features.lookups > 0 => Fr::from(d),
                            d => Fr::from(d) - Fr::from(2),
                        };
                        let y = if self.outside && row == 1 { Fr::from(99) } else { small(row) };
                        let product = |row: u64, y: Fr| Fr::from(self.seed + row) * y;
                        let mut z = match row {
                            0 => Fr::ZERO,
                            _ => product(
                                row as u64 - 1,
                                if self.outside && row == 2 { Fr::from(99) } else { small(row - 1) },
                            ),
                        };
                        if self.spoil && row == 2 {
                            z += Fr::ONE;
                        }
                        let cell = region.assign_advice(a, row, Value::known(x));
                        let small_cell = region.assign_advice(b, row, Value::known(y));
                        let z = match features.fractions {
                            true => Assigned::Rational(z * Fr::from(3), Fr::from(3)),
                            false => Assigned::Trivial(z),
                        };
                        region.assign_advice(c, row, Value::known(z));
                        if features.permutation {
                            if let (0, Some(first)) = (row, first) {
                                region.constrain_equal(first, cell.cell());
                            }
                            first.get_or_insert(cell.cell());
                            if y == entry_value {
                                region.constrain_equal(entry, small_cell.cell());
                            }
                        }
                    }
                }
                if let Some((second, challenge)) = config.second {
                    if features.phases == Some(true) {
                        region.next_phase();
                    }
                    let mut sum = Value::known(Fr::from(11));
                    let challenge = region.get_challenge(challenge);
                    for row in 0..=rows {
                        let value = if row == 0 { sum.zip(challenge).map(|(sum, _)| sum) } else { sum };
                        // Key generation gives no challenge, and must not be given unknown cells.
                        let mut known = false;
                        value.map(|_| known = true);
                        if known || features.phases == Some(false) {
                            region.assign_advice(second, row, value);
                        }
                        sum = sum.zip(challenge).map(|(sum, c)| sum + c * Fr::from(self.seed + row as u64));
                    }
                    if features.phases == Some(true) {
                        region.next_phase();
                    }
                }
                Ok(first)
            },
        )?;
        if let Some(first) = first {
            layouter.constrain_instance(first, config.instances[0], 0);
        }
        Ok(())
    }
}

/// A circuit's key.
pub struct Keyed {
    /// SRS.
    pub params: ParamsKZG<Bn256>,
    /// The library's key.
    pub pk: ProvingKey<G1Affine>,
    /// Points of a proof that do not depend on the vanishing argument's random polynomial.
    pub common_points: usize,
}

/// Key of a circuit.
pub fn keyed(circuit: &impl Tested) -> Keyed {
    let params = ParamsKZG::<Bn256>::setup(circuit.k(), StdRng::seed_from_u64(3));
    let vk = keygen_vk(&params, circuit).expect("verifying key");
    let pk = keygen_pk(&params, vk, circuit).expect("proving key");
    let cs = pk.get_vk().cs();
    let sets = cs.permutation().get_columns().len().div_ceil(cs.degree() - 2);
    let common_points = cs.num_advice_columns() + sets + 3 * cs.lookups().len();
    Keyed { params, pk, common_points }
}

impl Keyed {
    /// The library's proof.
    pub fn by_library(&self, circuit: &impl Tested, seed: u64) -> Vec<u8> {
        let instances = circuit.instances();
        let instances: Vec<&[Fr]> = instances.iter().map(Vec::as_slice).collect();
        let mut transcript = Blake2bWrite::<_, _, Challenge255<_>>::init(Vec::new());
        create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, _, _, _, _>(
            &self.params,
            &self.pk,
            std::slice::from_ref(circuit),
            &[&instances],
            StdRng::seed_from_u64(seed),
            &mut transcript,
        )
        .expect("the library proves");
        transcript.finalize()
    }

    /// The engine's proof.
    pub fn by_engine(&self, circuit: &impl Tested, seed: u64, cache: CosetCache) -> Result<Vec<u8>, EngineError> {
        self.by_engine_with(&self.pk, circuit, seed, cache)
    }

    /// The engine's proof with another form of the key.
    pub fn by_engine_with<'k>(
        &self,
        pk: impl Into<KeyView<'k>>,
        circuit: &impl Tested,
        seed: u64,
        cache: CosetCache,
    ) -> Result<Vec<u8>, EngineError> {
        let pk = pk.into();
        let key = PreparedKey::new(pk.clone(), cache)?;
        self.by_engine_prepared(pk, &key, circuit, seed)
    }

    /// The engine's proof with a key that is ready.
    pub fn by_engine_prepared<'k>(
        &self,
        pk: impl Into<KeyView<'k>>,
        key: &PreparedKey,
        circuit: &impl Tested,
        seed: u64,
    ) -> Result<Vec<u8>, EngineError> {
        let instances = circuit.instances();
        let instances: Vec<&[Fr]> = instances.iter().map(Vec::as_slice).collect();
        let mut transcript = Blake2bWrite::<_, _, Challenge255<_>>::init(Vec::new());
        let rng = StdRng::seed_from_u64(seed);
        prove(&self.params, pk, key, circuit.clone(), &instances, rng, &mut transcript)?;
        Ok(transcript.finalize())
    }

    /// The engine's proof of a circuit of which more is known.
    pub fn by_engine_hinted(
        &self,
        hints: impl Hints,
        circuit: &impl Tested,
        seed: u64,
    ) -> Result<Vec<u8>, EngineError> {
        let instances = circuit.instances();
        let instances: Vec<&[Fr]> = instances.iter().map(Vec::as_slice).collect();
        let key = PreparedKey::new(&self.pk, CosetCache::Off)?;
        let mut transcript = Blake2bWrite::<_, _, Challenge255<_>>::init(Vec::new());
        let rng = StdRng::seed_from_u64(seed);
        let key = (&self.params, &self.pk, &key);
        prove_hinted(key, (circuit.clone(), hints), &instances, rng, &mut transcript, &mut Unwatched)?;
        Ok(transcript.finalize())
    }

    /// Whether the library's verifier accepts.
    pub fn verifies(&self, circuit: &impl Tested, proof: &[u8]) -> bool {
        let instances = circuit.instances();
        let instances: Vec<&[Fr]> = instances.iter().map(Vec::as_slice).collect();
        let mut transcript = Blake2bRead::<_, _, Challenge255<_>>::init(proof);
        verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, _, _, SingleStrategy<'_, Bn256>>(
            &self.params,
            self.pk.get_vk(),
            SingleStrategy::new(&self.params),
            &[&instances],
            &mut transcript,
        )
        .is_ok()
    }
}
