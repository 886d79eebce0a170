//! Circuits drawn from a seed: gates of random expressions over random columns and rotations, copies, lookups.

use halo2_proofs::{
    circuit::{Layouter, SimpleFloorPlanner, Value},
    halo2curves::{bn256::Fr, ff::Field},
    plonk::{
        Advice, Circuit, Column, ConstraintSystem, Error, Expression, Fixed, Instance, VirtualCells, keygen_pk,
        keygen_vk,
    },
    poly::{Rotation, kzg::commitment::ParamsKZG},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{Keyed, Tested};

/// Rotations are at most so far from the row.
const REACH: usize = 2;
/// Values of an instance column.
const PUBLIC: usize = 4;
/// Gates of a higher degree are drawn anew.
const MAX_DEGREE: usize = 4;

/// An expression over the columns that are filled first.
#[derive(Clone, Debug)]
enum Tree {
    Constant(Fr),
    Free(usize, i32),
    Fixed(usize, i32),
    Instance(usize, i32),
    Sum(Box<Tree>, Box<Tree>),
    Product(Box<Tree>, Box<Tree>),
    Negated(Box<Tree>),
    Scaled(Box<Tree>, Fr),
}

/// What is drawn. Advice columns are the free ones, then one result of each gate, then one of each lookup.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    /// log2 of the rows.
    pub k: u32,
    seed: u64,
    free: usize,
    fixed: usize,
    instances: usize,
    gates: Vec<Tree>,
    /// Whether a lookup is of pairs.
    lookups: Vec<bool>,
    copies: usize,
}

/// Columns of [`Drawn`].
#[derive(Clone, Debug)]
pub struct Config {
    free: Vec<Column<Advice>>,
    results: Vec<Column<Advice>>,
    looked_up: Vec<Column<Advice>>,
    fixed: Vec<Column<Fixed>>,
    selectors: Vec<Column<Fixed>>,
    tables: Vec<[Column<Fixed>; 2]>,
    instances: Vec<Column<Instance>>,
    usable: usize,
}

/// A cell that is copied from.
#[derive(Clone, Copy)]
enum Source {
    Free(usize, usize),
    Fixed(usize),
    Instance(usize),
}

/// All cells, of the usable rows.
struct Cells {
    free: Vec<Vec<Fr>>,
    results: Vec<Vec<Fr>>,
    looked_up: Vec<Vec<Fr>>,
    fixed: Vec<Vec<Fr>>,
    selectors: Vec<Vec<Fr>>,
    tables: Vec<Vec<Fr>>,
    copies: Vec<(Source, (usize, usize))>,
}

/// Zeros, ones, small, negative and any other values.
fn value(rng: &mut StdRng) -> Fr {
    match rng.gen_range(0..6) {
        0 => Fr::ZERO,
        1 => Fr::ONE,
        2 => -Fr::ONE,
        3 => Fr::from(rng.gen_range(0..1 << 20)),
        4 => -Fr::from(rng.gen_range(0..1 << 20)),
        _ => Fr::random(rng),
    }
}

impl Drawn {
    /// The circuit of a seed, with 2^k rows.
    pub fn new(k: u32, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut drawn = Self {
            k,
            seed,
            free: rng.gen_range(1..5),
            fixed: rng.gen_range(1..3),
            instances: rng.gen_range(1..3),
            copies: if rng.gen_bool(0.7) { rng.gen_range(1..12) } else { 0 },
            ..Self::default()
        };
        drawn.lookups = (0..rng.gen_range(0..3)).map(|_| rng.r#gen()).collect();
        for _ in 0..rng.gen_range(1..5) {
            let tree = loop {
                let tree = drawn.tree(&mut rng, 3);
                if tree.degree() <= MAX_DEGREE {
                    break tree;
                }
            };
            drawn.gates.push(tree);
        }
        drawn
    }

    fn tree(&self, rng: &mut StdRng, depth: u32) -> Tree {
        let rotation = rng.gen_range(-(REACH as i32)..=REACH as i32);
        let below = |rng: &mut StdRng| Box::new(self.tree(rng, depth.saturating_sub(1)));
        match rng.gen_range(if depth == 0 { 4..8 } else { 0..8 }) {
            0 => Tree::Sum(below(rng), below(rng)),
            1 => Tree::Product(below(rng), below(rng)),
            2 => Tree::Negated(below(rng)),
            3 => Tree::Scaled(below(rng), value(rng)),
            4 => Tree::Constant(value(rng)),
            5 => Tree::Fixed(rng.gen_range(0..self.fixed), rotation),
            6 => Tree::Instance(rng.gen_range(0..self.instances), rotation),
            _ => Tree::Free(rng.gen_range(0..self.free), rotation),
        }
    }

    fn cells(&self, usable: usize) -> Cells {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x5eed);
        let mut columns = |number: usize| -> Vec<Vec<Fr>> {
            (0..number).map(|_| (0..usable).map(|_| value(&mut rng)).collect()).collect()
        };
        let (mut free, fixed, tables) = (columns(self.free), columns(self.fixed), columns(self.lookups.len()));
        let instances = self.instances();
        // Each target is a cell that no copy has touched, so that what was equal stays equal.
        let mut touched: Vec<(usize, usize)> = Vec::new();
        let mut copies = Vec::new();
        for _ in 0..self.copies {
            let target = (rng.gen_range(0..self.free), rng.gen_range(0..usable));
            let source = match rng.gen_range(0..4) {
                0 => Source::Fixed(rng.gen_range(0..usable)),
                1 => Source::Instance(rng.gen_range(0..PUBLIC)),
                _ => Source::Free(rng.gen_range(0..self.free), rng.gen_range(0..usable)),
            };
            if touched.contains(&target) || matches!(source, Source::Free(c, r) if (c, r) == target) {
                continue;
            }
            touched.push(target);
            free[target.0][target.1] = match source {
                Source::Free(column, row) => {
                    touched.push((column, row));
                    free[column][row]
                }
                Source::Fixed(row) => fixed[0][row],
                Source::Instance(row) => instances[0][row],
            };
            copies.push((source, target));
        }
        let rows = REACH..usable - REACH;
        let selectors: Vec<Vec<Fr>> = (0..self.gates.len())
            .map(|_| (0..usable).map(|row| Fr::from(u64::from(rows.contains(&row) && rng.gen_bool(0.6)))).collect())
            .collect();
        let at = |column: &[Fr], row: usize, rotation: i32| -> Fr {
            column.get((row as i64 + i64::from(rotation)) as usize).copied().unwrap_or(Fr::ZERO)
        };
        let results = self
            .gates
            .iter()
            .map(|tree| {
                let result = |row: usize| match rows.contains(&row) {
                    true => tree.value(&|leaf| match *leaf {
                        Tree::Free(c, r) => at(&free[c], row, r),
                        Tree::Fixed(c, r) => at(&fixed[c], row, r),
                        Tree::Instance(c, r) => at(&instances[c], row, r),
                        _ => Fr::ZERO,
                    }),
                    false => Fr::from(row as u64),
                };
                (0..usable).map(result).collect()
            })
            .collect();
        let looked_up =
            tables.iter().map(|table| (0..usable).map(|_| table[rng.gen_range(0..usable)]).collect()).collect();
        Cells { free, results, looked_up, fixed, selectors, tables, copies }
    }
}

impl Tree {
    fn degree(&self) -> usize {
        match self {
            Self::Constant(_) => 0,
            Self::Free(..) | Self::Fixed(..) | Self::Instance(..) => 1,
            Self::Sum(a, b) => a.degree().max(b.degree()),
            Self::Product(a, b) => a.degree() + b.degree(),
            Self::Negated(a) | Self::Scaled(a, _) => a.degree(),
        }
    }

    fn value(&self, leaf: &impl Fn(&Self) -> Fr) -> Fr {
        match self {
            Self::Constant(c) => *c,
            Self::Sum(a, b) => a.value(leaf) + b.value(leaf),
            Self::Product(a, b) => a.value(leaf) * b.value(leaf),
            Self::Negated(a) => -a.value(leaf),
            Self::Scaled(a, factor) => a.value(leaf) * factor,
            _ => leaf(self),
        }
    }

    fn expression(&self, meta: &mut VirtualCells<'_, Fr>, config: &Config) -> Expression<Fr> {
        match self {
            Self::Constant(c) => Expression::Constant(*c),
            Self::Free(c, r) => meta.query_advice(config.free[*c], Rotation(*r)),
            Self::Fixed(c, r) => meta.query_fixed(config.fixed[*c], Rotation(*r)),
            Self::Instance(c, r) => meta.query_instance(config.instances[*c], Rotation(*r)),
            Self::Sum(a, b) => a.expression(meta, config) + b.expression(meta, config),
            Self::Product(a, b) => a.expression(meta, config) * b.expression(meta, config),
            Self::Negated(a) => -a.expression(meta, config),
            Self::Scaled(a, factor) => a.expression(meta, config) * *factor,
        }
    }
}

impl Tested for Drawn {
    fn instances(&self) -> Vec<Vec<Fr>> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x9b1c);
        (0..self.instances).map(|_| (0..PUBLIC).map(|_| value(&mut rng)).collect()).collect()
    }
}

impl Drawn {
    /// SRS and key.
    pub fn keyed(&self) -> Keyed {
        let params = ParamsKZG::setup(self.k, StdRng::seed_from_u64(3));
        let vk = keygen_vk(&params, self).expect("verifying key");
        let pk = keygen_pk(&params, vk, self).expect("proving key");
        Keyed { params, pk, common_points: 0 }
    }

    /// The advice columns, of the usable rows.
    pub fn advice(&self, usable: usize) -> Vec<Vec<Fr>> {
        let cells = self.cells(usable);
        cells.free.into_iter().chain(cells.results).chain(cells.looked_up).collect()
    }
}

impl Circuit<Fr> for Drawn {
    type Config = Config;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = Self;

    fn params(&self) -> Self {
        self.clone()
    }

    fn without_witnesses(&self) -> Self {
        self.clone()
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> Config {
        Self::configure_with_params(meta, Self::default())
    }

    fn configure_with_params(meta: &mut ConstraintSystem<Fr>, drawn: Self) -> Config {
        let mut config = Config {
            free: (0..drawn.free).map(|_| meta.advice_column()).collect(),
            results: drawn.gates.iter().map(|_| meta.advice_column()).collect(),
            looked_up: drawn.lookups.iter().map(|_| meta.advice_column()).collect(),
            fixed: (0..drawn.fixed).map(|_| meta.fixed_column()).collect(),
            selectors: drawn.gates.iter().map(|_| meta.fixed_column()).collect(),
            tables: drawn.lookups.iter().map(|_| [meta.fixed_column(), meta.fixed_column()]).collect(),
            instances: (0..drawn.instances).map(|_| meta.instance_column()).collect(),
            usable: 0,
        };
        if drawn.copies > 0 {
            config.free.iter().for_each(|column| meta.enable_equality(*column));
            meta.enable_equality(config.fixed[0]);
            meta.enable_equality(config.instances[0]);
        }
        for (g, tree) in drawn.gates.iter().enumerate() {
            meta.create_gate("drawn", |meta| {
                let selector = meta.query_fixed(config.selectors[g], Rotation::cur());
                let result = meta.query_advice(config.results[g], Rotation::cur());
                vec![selector * (tree.expression(meta, &config) - result)]
            });
        }
        for (l, of_pairs) in drawn.lookups.iter().enumerate() {
            meta.lookup_any("drawn", |meta| {
                let [t, square] = config.tables[l].map(|t| meta.query_fixed(t, Rotation::cur()));
                let input = meta.query_advice(config.looked_up[l], Rotation::cur());
                let mut out = vec![(input.clone() * Fr::from(3), t * Fr::from(3))];
                if *of_pairs {
                    out.push((input.square(), square));
                }
                out
            });
        }
        config.usable = (1usize << drawn.k).saturating_sub(meta.blinding_factors() + 1);
        config
    }

    fn synthesize(&self, config: Config, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        let cells = self.cells(config.usable);
        let public = layouter.assign_region(
            || "all",
            |mut region| {
                let mut fixed_cells = Vec::new();
                let mut free_cells = Vec::new();
                let fixed = config.fixed.iter().zip(&cells.fixed).chain(config.selectors.iter().zip(&cells.selectors));
                let tables = config.tables.iter().zip(&cells.tables);
                for (column, values) in fixed.chain(tables.clone().map(|([column, _], values)| (column, values))) {
                    let cells = values.iter().enumerate().map(|(row, v)| region.assign_fixed(*column, row, *v));
                    fixed_cells.push(cells.collect::<Vec<_>>());
                }
                for ([_, column], values) in tables {
                    values.iter().enumerate().for_each(|(row, v)| {
                        region.assign_fixed(*column, row, v.square());
                    });
                }
                let advice = config.free.iter().zip(&cells.free);
                let advice = advice.chain(config.results.iter().zip(&cells.results));
                for (column, values) in advice.chain(config.looked_up.iter().zip(&cells.looked_up)) {
                    let cells = values.iter().enumerate();
                    let cells = cells.map(|(row, v)| region.assign_advice(*column, row, Value::known(*v)).cell());
                    free_cells.push(cells.collect::<Vec<_>>());
                }
                let mut public = Vec::new();
                for (source, (column, row)) in &cells.copies {
                    let target = free_cells[*column][*row];
                    match *source {
                        Source::Free(c, r) => region.constrain_equal(free_cells[c][r], target),
                        Source::Fixed(r) => region.constrain_equal(fixed_cells[0][r], target),
                        Source::Instance(r) => public.push((target, r)),
                    }
                }
                Ok(public)
            },
        )?;
        for (cell, row) in public {
            layouter.constrain_instance(cell, config.instances[0], row);
        }
        Ok(())
    }
}
