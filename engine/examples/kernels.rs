//! The kernels beside the library's: `cargo run -p engine --example kernels -- 18`. The argument is log2 of the size.

use std::{hint::black_box, time::Instant};

use engine::{fft::Domain, msm::msm};
use halo2_proofs::{
    arithmetic::{best_fft, best_multiexp},
    halo2curves::{
        bn256::{Fr, G1, G1Affine},
        ff::Field,
        group::{Curve, Group, prime::PrimeCurveAffine},
    },
    poly::EvaluationDomain,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let k: u32 = std::env::args().nth(1).ok_or("usage: kernels K")?.parse()?;
    let n = 1usize << k;
    let threads = rayon::current_num_threads() as f64;
    let mut rng = StdRng::seed_from_u64(1);
    let full: Vec<Fr> = (0..n).map(|_| Fr::random(&mut rng)).collect();

    let butterflies = (n / 2) as f64 * f64::from(k);
    let transform = |name: &str, f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        let time = start.elapsed();
        println!("{name}: {time:?}, {:.1} core-ns a butterfly", time.as_nanos() as f64 * threads / butterflies);
    };
    let domain = Domain::new(k);
    let coset = domain.coset(Fr::from(7));
    let mut values = full.clone();
    transform("engine, to coefficients", &mut || domain.to_coefficients(&mut values));
    transform("engine, to a coset", &mut || domain.to_values(&coset, &mut values));
    let library = EvaluationDomain::<Fr>::new(2, k);
    let data = library.get_fft_data(n);
    transform("library", &mut || best_fft(&mut values, library.get_omega(), k, data, false));
    black_box(&values);

    let mut point = G1::generator();
    let points: Vec<G1> = (0..n)
        .map(|_| {
            point = point.double() + G1::generator();
            point
        })
        .collect();
    let mut bases = vec![G1Affine::identity(); n];
    G1::batch_normalize(&points, &mut bases);
    let small: Vec<Fr> = (0..n).map(|_| Fr::from(rng.gen_range(0..1u64 << 16))).collect();
    let signed: Vec<Fr> = small.iter().map(|x| if rng.r#gen() { -*x } else { *x }).collect();
    let medium: Vec<Fr> = (0..n).map(|_| Fr::from(rng.r#gen::<u64>())).collect();
    for (name, scalars) in [("16 bits", &small), ("16 bits, signed", &signed), ("64 bits", &medium), ("full", &full)] {
        let per_row = |time: std::time::Duration| time.as_nanos() as f64 * threads / n as f64 / 1e3;
        let start = Instant::now();
        let ours = msm(scalars, &bases);
        let our_time = per_row(start.elapsed());
        let start = Instant::now();
        let theirs = best_multiexp(scalars, &bases);
        println!("sum, {name}: {our_time:.2} core-µs a row, library {:.2}", per_row(start.elapsed()));
        assert_eq!(ours, theirs, "{name}");
    }
    Ok(())
}
