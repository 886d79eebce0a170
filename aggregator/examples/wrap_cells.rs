//! Cells of the wrap of an epoch proof of four steps, by component: `cargo run -p aggregator --example wrap_cells -- K SRS`.
//!
//! K is that of the wrap, SRS the folder of reference strings, of which k = 21 is read. The epoch key is the one in `testdata/anchor`.
use aggregator::EpochVerifyingKey;
use aggregator::wrap::{placeholder, protocol, synthesize};
use halo2_base::gates::circuit::{CircuitBuilderStage, builder::BaseCircuitBuilder};
use halo2_proofs::{halo2curves::bn256::Fr, poly::commitment::ParamsProver};
use srs::{SrsCache, SrsSize};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let k: usize = std::env::args().nth(1).map_or(Ok(21), |x| x.parse())?;
    let bytes = std::fs::read("testdata/anchor/epoch_key.vk")?;
    let key = EpochVerifyingKey::read(&mut &bytes[8..])?;
    let home = std::env::args().nth(2).ok_or("the folder of reference strings")?;
    let srs = SrsCache::new(home).development(SrsSize::new(21)?, &srs::silent)?;
    let protocol = protocol(srs.params(), key.inner(), key.n_instances())?;
    let mut builder = BaseCircuitBuilder::<Fr>::from_stage(CircuitBuilderStage::Keygen)
        .use_k(k)
        .use_lookup_bits(k - 1)
        .use_instance_columns(1);
    let profile = synthesize(&mut builder, srs.params().get_g()[0], &protocol, &placeholder(&protocol))?;
    println!("{profile:?} {}", profile.total());
    println!("{:?}", builder.calculate_params(Some(20)));
    Ok(())
}
