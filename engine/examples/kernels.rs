//! Times of the kernels: `cargo run -p engine --example kernels -- 18 1`, with log2 of the size and the threads.
//!
//! With `CAIRN_PORTABLE` set, those of the portable code. Prints nanoseconds per butterfly and microseconds per row and
//! core of sums over full-size scalars and over 16-bit signed ones, each the best of some rounds.

use std::time::Instant;

use engine::{fft::Domain, msm::msm};
use halo2_proofs::halo2curves::{
    bn256::{Fr, G1, G1Affine},
    ff::Field,
    group::{Curve, Group, prime::PrimeCurveAffine},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn best(mut work: impl FnMut()) -> f64 {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<usize> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let [k, threads] = args.as_slice() else { return Err("usage: kernels K THREADS".into()) };
    rayon::ThreadPoolBuilder::new().num_threads(*threads).build_global()?;
    let n = 1usize << k;
    let mut rng = StdRng::seed_from_u64(1);
    let mut values: Vec<Fr> = (0..n).map(|_| Fr::random(&mut rng)).collect();
    let small: Vec<Fr> = (0..n)
        .map(|_| {
            let x = Fr::from(rng.gen_range(0..1 << 15));
            if rng.r#gen() { x } else { -x }
        })
        .collect();
    // Multiples of a point that follow each other: as good as others to add.
    let step = G1::random(&mut rng);
    let points: Vec<G1> = std::iter::successors(Some(G1::random(&mut rng)), |p| Some(p + step)).take(n).collect();
    let mut bases = vec![G1Affine::identity(); n];
    G1::batch_normalize(&points, &mut bases);

    let domain = Domain::new(*k as u32);
    let coset = domain.coset(Fr::from(7));
    let rows = n as f64 / *threads as f64;
    let butterflies = rows * *k as f64 / 2.0;
    let forward = best(|| domain.to_coefficients(&mut values));
    let back = best(|| domain.to_values(&coset, &mut values));
    let full = best(|| {
        std::hint::black_box(msm(&values, &bases));
    });
    let signed = best(|| {
        std::hint::black_box(msm(&small, &bases));
    });
    println!(
        "k {k}, threads {threads}: butterfly {:.1} ns forward, {:.1} ns back; sum {:.3} us full, {:.3} us small",
        forward / butterflies * 1e9,
        back / butterflies * 1e9,
        full / rows * 1e6,
        signed / rows * 1e6
    );
    Ok(())
}
