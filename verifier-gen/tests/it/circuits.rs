//! Small circuits of every kind that the generator supports, each with a key, a proof and the verifiers' inputs.

use halo2_base::{
    gates::{
        GateInstructions, RangeInstructions,
        circuit::{CircuitBuilderStage, builder::BaseCircuitBuilder},
    },
    halo2_proofs::{
        arithmetic::Field,
        circuit::{Layouter, SimpleFloorPlanner, Value},
        halo2curves::{
            CurveAffine,
            bn256::{Bn256, Fq, Fr, G1, G1Affine, pairing},
            ff::PrimeField,
            group::{Curve, prime::PrimeCurveAffine},
        },
        plonk::{
            Advice, Challenge, Circuit, Column, ConstraintSystem, Error, Expression, FirstPhase, Fixed, Instance,
            SecondPhase, VerifyingKey, create_proof, keygen_pk, keygen_vk, verify_proof,
        },
        poly::{
            Rotation,
            commitment::ParamsProver,
            kzg::{
                commitment::{KZGCommitmentScheme, ParamsKZG},
                multiopen::{ProverSHPLONK, VerifierSHPLONK},
                strategy::SingleStrategy,
            },
        },
        transcript::{TranscriptReadBuffer, TranscriptWriterBuffer},
    },
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use snark_verifier::{
    loader::native::NativeLoader,
    system::halo2::transcript::evm::{ChallengeEvm, EvmTranscript},
};
use verifier_gen::{Accumulator, Encoder, Options, VerifierSource};

/// A proof of a circuit, with all that is needed to check it.
pub struct Case {
    pub name: &'static str,
    pub params: ParamsKZG<Bn256>,
    pub vk: VerifyingKey<G1Affine>,
    pub instances: Vec<Fr>,
    pub accumulator: Accumulator,
    pub proof: Vec<u8>,
}

type Native<S> = EvmTranscript<G1Affine, NativeLoader, S, Vec<u8>>;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

impl Case {
    fn new<C: Circuit<Fr>>(
        name: &'static str,
        k: u32,
        accumulator: Accumulator,
        circuit: impl FnOnce(&ParamsKZG<Bn256>) -> (C, C, Vec<Fr>),
    ) -> Self {
        let params = ParamsKZG::<Bn256>::setup(k, rng(1));
        let (empty, circuit, instances) = circuit(&params);
        let vk = keygen_vk(&params, &empty).expect("a key");
        let pk = keygen_pk(&params, vk.clone(), &empty).expect("a key");
        let mut transcript = Native::<Vec<u8>>::init(Vec::new());
        create_proof::<KZGCommitmentScheme<Bn256>, ProverSHPLONK<'_, Bn256>, ChallengeEvm<G1Affine>, _, _, _>(
            &params,
            &pk,
            &[circuit],
            &[&[&instances]],
            rng(2),
            &mut transcript,
        )
        .expect("a proof");
        let proof = transcript.finalize();
        Self { name, params, vk, instances, accumulator, proof }
    }

    /// halo2's own verdict, and the accumulator's.
    pub fn native(&self, proof: &[u8], instances: &[Fr]) -> bool {
        let mut transcript = Native::<&[u8]>::init(proof);
        let verdict =
            verify_proof::<KZGCommitmentScheme<Bn256>, VerifierSHPLONK<'_, Bn256>, ChallengeEvm<G1Affine>, _, _>(
                self.params.verifier_params(),
                &self.vk,
                SingleStrategy::new(&self.params),
                &[&[instances]],
                &mut transcript,
            );
        verdict.is_ok() && self.accumulator_holds(instances)
    }

    fn accumulator_holds(&self, instances: &[Fr]) -> bool {
        let Accumulator::Limbs { first } = self.accumulator else { return true };
        let limbs = &instances[first..first + 12];
        let point = |limbs: &[Fr]| {
            let coordinate = |limbs: &[Fr]| {
                let mut bytes = [0u8; 33];
                for (i, limb) in limbs.iter().enumerate() {
                    let limb = limb.to_repr();
                    let end = bytes.len().min(11 * i + 32);
                    if limb[end - 11 * i..].iter().chain(&limb[11..]).any(|b| *b != 0) {
                        return None;
                    }
                    bytes[11 * i..end].copy_from_slice(&limb[..end - 11 * i]);
                }
                let bytes: [u8; 32] = bytes[..32].try_into().ok().filter(|_| bytes[32] == 0)?;
                Option::from(Fq::from_repr(bytes))
            };
            let (x, y) = (coordinate(&limbs[..3])?, coordinate(&limbs[3..6])?);
            let point = G1Affine { x, y };
            (bool::from(point.is_on_curve()) && !bool::from(point.is_identity())).then_some(point)
        };
        let (Some(lhs), Some(rhs)) = (point(&limbs[..6]), point(&limbs[6..])) else { return false };
        pairing(&lhs, &self.params.g2()) == pairing(&rhs, &self.params.s_g2())
    }

    /// Name of the contract.
    pub fn contract(&self) -> String {
        format!("{}Verifier", self.name)
    }

    /// The generated verifier.
    pub fn source(&self) -> VerifierSource {
        let contract = self.contract();
        let options = Options {
            contract: &contract,
            n_instances: self.instances.len(),
            accumulator: self.accumulator,
            command: "cargo test -p verifier-gen",
        };
        verifier_gen::generate(&self.params, &self.vk, &options).expect("a supported key")
    }

    /// The encoder.
    pub fn encoder(&self) -> Encoder {
        Encoder::new(&self.vk, self.instances.len(), self.accumulator).expect("a supported key")
    }
}

/// All circuits.
pub fn all() -> Vec<Case> {
    vec![plonk(), lookup(), phases(), accumulator(), base(), one_column()]
}

/// One gate, copy constraints, the instance in a gate and in the permutation.
#[derive(Clone, Default)]
pub struct Plonk {
    a: Value<Fr>,
}

#[derive(Clone)]
pub struct PlonkConfig {
    wires: [Column<Advice>; 3],
    q: [Column<Fixed>; 4],
    instance: Column<Instance>,
}

impl Circuit<Fr> for Plonk {
    type Config = PlonkConfig;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn without_witnesses(&self) -> Self {
        Self::default()
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> PlonkConfig {
        let wires = [(); 3].map(|()| meta.advice_column());
        let q = [(); 4].map(|()| meta.fixed_column());
        let instance = meta.instance_column();
        wires.iter().for_each(|wire| meta.enable_equality(*wire));
        meta.enable_equality(instance);
        meta.create_gate("plonk", |cells| {
            let [a, b, c] = wires.map(|wire| cells.query_advice(wire, Rotation::cur()));
            let [qa, qb, qc, qab] = q.map(|q| cells.query_fixed(q, Rotation::cur()));
            let public = cells.query_instance(instance, Rotation::cur());
            vec![qa * a.clone() + qb * b.clone() + qc * c + qab * a * b + public]
        });
        PlonkConfig { wires, q, instance }
    }

    fn synthesize(&self, config: PlonkConfig, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        let cell = layouter.assign_region(
            || "plonk",
            |mut region| {
                // Row 0: −a + public = 0. Row 1: a·a − c + public = 0.
                let a = self.a;
                region.assign_fixed(config.q[0], 0, -Fr::ONE);
                region.assign_fixed(config.q[3], 1, Fr::ONE);
                region.assign_fixed(config.q[2], 1, -Fr::ONE);
                let first = region.assign_advice(config.wires[0], 0, a).cell();
                let left = region.assign_advice(config.wires[0], 1, a).cell();
                let right = region.assign_advice(config.wires[1], 1, a).cell();
                region.assign_advice(config.wires[2], 1, a.map(|a| a * a + Fr::from(7)));
                region.constrain_equal(first, left);
                region.constrain_equal(left, right);
                Ok(first)
            },
        )?;
        layouter.constrain_instance(cell, config.instance, 0);
        Ok(())
    }
}

pub fn plonk() -> Case {
    Case::new("Plonk", 5, Accumulator::None, |_| {
        let a = Fr::from(11);
        (Plonk::default(), Plonk { a: Value::known(a) }, vec![a, Fr::from(7)])
    })
}

/// A lookup of two columns in a table, and of an expression in an advice column; no permutation argument.
#[derive(Clone, Default)]
pub struct Lookup {
    values: Value<[u64; 4]>,
}

impl Circuit<Fr> for Lookup {
    type Config = ([Column<Advice>; 4], [Column<Fixed>; 3]);
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn without_witnesses(&self) -> Self {
        Self::default()
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> Self::Config {
        let advice = [(); 4].map(|()| meta.advice_column());
        let fixed = [(); 3].map(|()| meta.fixed_column());
        let instance = meta.instance_column();
        meta.lookup_any("squares", |cells| {
            let [x, y] = [advice[0], advice[1]].map(|column| cells.query_advice(column, Rotation::cur()));
            let [q, tx, ty] = fixed.map(|column| cells.query_fixed(column, Rotation::cur()));
            vec![(q.clone() * x, tx), (q * y, ty)]
        });
        meta.lookup_any("public values are among the squares", |cells| {
            let squares = cells.query_advice(advice[1], Rotation::cur());
            let copies = cells.query_advice(advice[2], Rotation::cur());
            let fourth_powers = cells.query_advice(advice[3], Rotation::cur());
            let public = cells.query_instance(instance, Rotation::cur());
            vec![(copies.clone(), squares), (public * copies, fourth_powers)]
        });
        (advice, fixed)
    }

    fn synthesize(&self, (advice, fixed): Self::Config, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "squares",
            |mut region| {
                for i in 0..16u64 {
                    region.assign_fixed(fixed[1], i as usize, Fr::from(i));
                    region.assign_fixed(fixed[2], i as usize, Fr::from(i * i));
                }
                for row in 0..4 {
                    let value = self.values.map(|values| Fr::from(values[row]));
                    region.assign_fixed(fixed[0], row, Fr::ONE);
                    region.assign_advice(advice[0], row, value);
                    region.assign_advice(advice[1], row, value.map(|v| v * v));
                    region.assign_advice(advice[2], row, value.map(|v| v * v));
                    region.assign_advice(advice[3], row, value.map(|v| v.square().square()));
                }
                Ok(())
            },
        )
    }
}

pub fn lookup() -> Case {
    Case::new("Lookup", 6, Accumulator::None, |_| {
        let values = [3, 1, 15, 9];
        let instances = values.iter().map(|v| Fr::from(v * v)).collect();
        (Lookup::default(), Lookup { values: Value::known(values) }, instances)
    })
}

/// Two columns hold the same values in another order: shown with challenges in a second phase. Reads columns at
/// rotations of its own, the instance column too.
#[derive(Clone, Default)]
pub struct Phases {
    values: Value<Vec<Fr>>,
}

#[derive(Clone)]
pub struct PhasesConfig {
    values: Column<Advice>,
    shuffled: Column<Advice>,
    product: Column<Advice>,
    q: [Column<Fixed>; 3],
    challenges: [Challenge; 2],
}

const SHUFFLED: usize = 12;

impl Circuit<Fr> for Phases {
    type Config = PhasesConfig;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn without_witnesses(&self) -> Self {
        Self::default()
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> PhasesConfig {
        let values = meta.advice_column_in(FirstPhase);
        // Columns of the phases alternate, so that the order in the proof is not that of the columns.
        let product = meta.advice_column_in(SecondPhase);
        let shuffled = meta.advice_column_in(FirstPhase);
        let q = [(); 3].map(|()| meta.fixed_column());
        let instance = meta.instance_column();
        let challenges = [(); 2].map(|()| meta.challenge_usable_after(FirstPhase));
        meta.create_gate("same values", |cells| {
            let [alpha, beta] = challenges.map(|challenge| cells.query_challenge(challenge));
            let q = cells.query_fixed(q[0], Rotation::cur());
            let [a, b] = [values, shuffled].map(|column| cells.query_advice(column, Rotation::cur()));
            let z = cells.query_advice(product, Rotation::cur());
            let next = cells.query_advice(product, Rotation::next());
            let term = |v: Expression<Fr>| v.clone() * v * beta.clone() + alpha.clone();
            vec![q * (next * term(b) - z * term(a))]
        });
        meta.create_gate("the product begins and ends as 1", |cells| {
            let q = cells.query_fixed(q[1], Rotation::cur());
            let z = cells.query_advice(product, Rotation::cur());
            vec![q * (z - Expression::Constant(Fr::ONE))]
        });
        meta.create_gate("public values", |cells| {
            let q = cells.query_fixed(q[2], Rotation::cur());
            let behind = cells.query_advice(values, Rotation(-2));
            let ahead = cells.query_advice(values, Rotation(3));
            let [next, previous] = [1, -1].map(|r| cells.query_instance(instance, Rotation(r)));
            vec![q.clone() * (behind - next), q * (ahead - previous)]
        });
        PhasesConfig { values, shuffled, product, q, challenges }
    }

    fn synthesize(&self, config: PhasesConfig, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "shuffle",
            |mut region| {
                for row in 0..SHUFFLED {
                    region.assign_fixed(config.q[0], row, Fr::ONE);
                }
                region.assign_fixed(config.q[1], 0, Fr::ONE);
                region.assign_fixed(config.q[1], SHUFFLED, Fr::ONE);
                region.assign_fixed(config.q[2], 2, Fr::ONE);
                let at = |row: usize| self.values.as_ref().map(|values| values[row]);
                for row in 0..SHUFFLED {
                    region.assign_advice(config.values, row, at(row));
                    region.assign_advice(config.shuffled, row, at(SHUFFLED - 1 - row));
                }
                region.next_phase();
                let [alpha, beta] = config.challenges.map(|challenge| region.get_challenge(challenge));
                let term = |row: usize| at(row).zip(alpha).zip(beta).map(|((v, alpha), beta)| v * v * beta + alpha);
                let mut z = Value::known(Fr::ONE);
                for row in 0..=SHUFFLED {
                    region.assign_advice(config.product, row, z);
                    if row < SHUFFLED {
                        let inverse = term(SHUFFLED - 1 - row).map(|t| t.invert().unwrap_or(Fr::ZERO));
                        z = z * term(row) * inverse;
                    }
                }
                region.next_phase();
                Ok(())
            },
        )
    }
}

pub fn phases() -> Case {
    Case::new("Phases", 6, Accumulator::None, |_| {
        let values: Vec<Fr> = (0..SHUFFLED as u64).map(|i| Fr::from(i * i + 5)).collect();
        // At row 2: instance 3 is the value of row 0, instance 1 that of row 5.
        let instances = vec![Fr::from(99), values[5], Fr::ZERO, values[0], -Fr::ONE];
        (Phases::default(), Phases { values: Value::known(values) }, instances)
    })
}

/// Limbs of a point's coordinates, as the accumulator has them.
pub fn limbs(point: &G1Affine) -> Vec<Fr> {
    let coordinate = |bytes: [u8; 32]| {
        (0..3).map(move |i| {
            let mut limb = [0u8; 32];
            let part = &bytes[11 * i..(11 * i + 11).min(32)];
            limb[..part.len()].copy_from_slice(part);
            Option::<Fr>::from(Fr::from_repr(limb)).expect("88 bits")
        })
    };
    coordinate(point.x.to_repr()).chain(coordinate(point.y.to_repr())).collect()
}

/// Fourteen public values, of which twelve after the first are an accumulator.
fn public(accumulator: impl FnOnce(&ParamsKZG<Bn256>) -> Vec<Fr>) -> Case {
    Case::new("Accumulator", 6, Accumulator::Limbs { first: 1 }, |params| {
        let instances = [vec![Fr::from(5)], accumulator(params), vec![Fr::from(6)]].concat();
        (Public::default(), Public { values: Value::known(instances.clone()) }, instances)
    })
}

/// lhs and rhs of an accumulator that holds.
fn holding(params: &ParamsKZG<Bn256>) -> [G1Affine; 2] {
    let scalar = Fr::from(123_456_789);
    [params.get_g()[1], params.get_g()[0]].map(|g| (g * scalar).to_affine())
}

/// With an accumulator that holds.
pub fn accumulator() -> Case {
    public(|params| holding(params).iter().flat_map(limbs).collect())
}

/// With accumulators that do not hold, or are written otherwise; the proofs hold.
pub fn false_accumulators() -> Vec<(&'static str, Case)> {
    let changed = |change: &dyn Fn(&mut [Fr])| {
        public(|params| {
            let mut limbs: Vec<Fr> = holding(params).iter().flat_map(limbs).collect();
            change(&mut limbs);
            limbs
        })
    };
    let two_88 = Fr::from(1 << 44).square();
    let two_80 = Fr::from(1 << 40).square();
    let modulus = |limbs: &mut [Fr]| {
        // p − 1 in limbs, and 1.
        let of_p = self::limbs(&G1Affine { x: -Fq::ONE, y: Fq::ZERO });
        for (limb, add) in limbs[..3].iter_mut().zip(&of_p) {
            *limb += add;
        }
        limbs[0] += Fr::ONE;
        carry(limbs, two_88);
    };
    vec![
        (
            "other point",
            changed(&|limbs| {
                let (lhs, rhs) = limbs.split_at_mut(6);
                rhs.copy_from_slice(lhs);
            }),
        ),
        ("swapped", changed(&|limbs| limbs.rotate_left(6))),
        ("off the curve", changed(&|limbs| limbs[3] += Fr::ONE)),
        ("coordinate plus modulus", changed(&modulus)),
        ("at infinity", changed(&|limbs| limbs.fill(Fr::ZERO))),
        (
            "carry into the middle limb",
            changed(&|limbs| {
                limbs[0] += two_88;
                limbs[1] -= Fr::ONE;
            }),
        ),
        ("top limb wraps around the word", changed(&|limbs| limbs[2] += two_80)),
        ("limb as wide as the field", changed(&|limbs| limbs[7] = -Fr::ONE)),
    ]
}

/// Brings the limbs of the first coordinate below 2^88 again.
fn carry(limbs: &mut [Fr], two_88: Fr) {
    for i in 0..2 {
        if limbs[i] >= two_88 {
            limbs[i] -= two_88;
            limbs[i + 1] += Fr::ONE;
        }
    }
}

/// Copies its instances.
#[derive(Clone, Default)]
pub struct Public {
    values: Value<Vec<Fr>>,
}

impl Circuit<Fr> for Public {
    type Config = (Column<Advice>, Column<Fixed>, Column<Instance>);
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn without_witnesses(&self) -> Self {
        Self::default()
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> Self::Config {
        let (advice, fixed, instance) = (meta.advice_column(), meta.fixed_column(), meta.instance_column());
        meta.enable_equality(advice);
        meta.enable_equality(instance);
        meta.create_gate("square", |cells| {
            let [a, b] = [Rotation::cur(), Rotation::next()].map(|at| cells.query_advice(advice, at));
            let q = cells.query_fixed(fixed, Rotation::cur());
            vec![q * (a.clone() * a - b)]
        });
        (advice, fixed, instance)
    }

    fn synthesize(
        &self,
        (advice, fixed, instance): Self::Config,
        mut layouter: impl Layouter<Fr>,
    ) -> Result<(), Error> {
        let cells = layouter.assign_region(
            || "public",
            |mut region| {
                let at = |row: usize| self.values.as_ref().map(|values| values[row]);
                let cells: Vec<_> = (0..14).map(|row| region.assign_advice(advice, row, at(row)).cell()).collect();
                region.assign_fixed(fixed, 20, Fr::ONE);
                region.assign_advice(advice, 20, at(0));
                region.assign_advice(advice, 21, at(0).map(|v| v * v));
                Ok(cells)
            },
        )?;
        for (row, cell) in cells.into_iter().enumerate() {
            layouter.constrain_instance(cell, instance, row);
        }
        Ok(())
    }
}

/// A halo2-base circuit as the epoch circuit is one: several advice columns, a range lookup, an accumulator first.
pub fn base() -> Case {
    halo2_base("Base", 9, 1, 200)
}

/// The cheapest verifier of an epoch of four steps that halo2-base allows: as many instances, and all in one column, which looks
/// up its own cells.
pub fn one_column() -> Case {
    let case = halo2_base("OneColumn", 11, 10, 4);
    assert_eq!((case.vk.cs().num_advice_columns(), case.instances.len()), (1, 22));
    case
}

/// An accumulator in range-checked limbs, and `n_words` more instances with `n_products` multiplications before each.
fn halo2_base(name: &'static str, k: u32, n_words: usize, n_products: usize) -> Case {
    Case::new(name, k, Accumulator::Limbs { first: 0 }, |params| {
        let k = k as usize;
        let fill = |stage| {
            let mut builder =
                BaseCircuitBuilder::<Fr>::from_stage(stage).use_k(k).use_lookup_bits(k - 1).use_instance_columns(1);
            let scalar = Fr::from(987_654_321);
            let [lhs, rhs]: [G1; 2] = [params.get_g()[1] * scalar, params.get_g()[0] * scalar];
            let range = builder.range_chip();
            let ctx = builder.main(0);
            let mut public: Vec<_> = [lhs, rhs]
                .iter()
                .flat_map(|point| limbs(&point.to_affine()))
                .map(|limb| ctx.load_witness(limb))
                .collect();
            for limb in &public {
                range.range_check(ctx, *limb, 88);
            }
            let mut product = public[0];
            for _ in 0..n_words {
                product = (0..n_products).fold(product, |acc, _| range.gate().mul(ctx, acc, public[1]));
                public.push(product);
            }
            let instances = public.iter().map(|cell| *cell.value()).collect::<Vec<_>>();
            builder.assigned_instances[0] = public;
            (builder, instances)
        };
        let (mut empty, instances) = fill(CircuitBuilderStage::Mock);
        empty.calculate_params(Some(20));
        (empty.clone(), empty, instances)
    })
}
