//! `.ptau` files made by snarkjs import.

use halo2_proofs::poly::{commitment::ParamsProver, kzg::commitment::ParamsKZG};
use srs::{SrsError, SrsSize, ptau, ptau::LagrangeOrigin, silent};

use crate::support::{label, size, testdata};

fn g(srs: &srs::Srs) -> &[halo2_proofs::halo2curves::bn256::G1Affine] {
    ParamsKZG::get_g(srs.params())
}

#[test]
fn header_says_power_and_preparation() {
    let plain = ptau::info(&testdata("powers7.ptau")).unwrap();
    assert_eq!((plain.power, plain.ceremony_power, plain.lagrange), (7, 7, LagrangeOrigin::Computed));
    let prepared = ptau::info(&testdata("powers7_prepared.ptau")).unwrap();
    assert_eq!((prepared.power, prepared.lagrange), (7, LagrangeOrigin::Section));
}

#[test]
fn prepared_and_unprepared_files_give_the_same_string_for_every_size() {
    for k in 1..=7 {
        let plain = ptau::import(&testdata("powers7.ptau"), size(k), label(), &silent).unwrap();
        let prepared = ptau::import(&testdata("powers7_prepared.ptau"), size(k), label(), &silent).unwrap();
        assert_eq!(plain.info().digest, prepared.info().digest, "k = {k}");
        assert_eq!(g(&plain).len(), 1 << k);
        assert!(plain.info().secure);
        assert!(plain.info().source.as_str().contains("powers7.ptau"));
    }
}

#[test]
fn more_powers_than_the_file_holds_are_refused() {
    let got = ptau::import(&testdata("powers7.ptau"), size(8), label(), &silent);
    assert!(matches!(got, Err(SrsError::TooSmall { available: 7, wanted, .. }) if wanted == size(8)), "{got:?}");
}

#[test]
fn a_file_without_contribution_is_refused() {
    let got = ptau::import(&testdata("powers7_no_contribution.ptau"), size(7), label(), &silent);
    assert!(matches!(got, Err(SrsError::NoContribution { .. })), "{got:?}");
}

#[test]
fn the_development_label_is_refused_for_a_ceremony_file() {
    let got = ptau::import(&testdata("powers7.ptau"), size(3), srs::SrsLabel::development(), &silent);
    assert!(matches!(got, Err(SrsError::DevelopmentLabel { is_development: false, .. })), "{got:?}");
}

#[test]
fn sizes_outside_the_two_adicity_are_refused() {
    assert!(matches!(SrsSize::new(0), Err(SrsError::Size { got: 0 })));
    assert!(matches!(SrsSize::new(29), Err(SrsError::Size { got: 29 })));
}
