//! The shapes that a step circuit of Adam may have, the cheapest by the cost model first: `cargo run -p circuits --example
//! shapes -- 2410 8`.
//!
//! Arguments: parameters, how many shapes. Prints a JSON object with the list `shapes`, of each number of rows (2^k) and columns
//! only the cheapest.

use circuits::step::{plan::Plan, shape::StepShape};
use ledger::Rule;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [n_params, most] = args.as_slice() else { return Err("usage: shapes PARAMETERS COUNT".into()) };
    let most: usize = most.parse()?;
    let mut seen = Vec::new();
    let mut shapes = Vec::new();
    for shape in StepShape::candidates(Rule::AdamW, n_params.parse()?, 20)? {
        let columns = Plan::new(&shape).advice_columns();
        if shapes.len() < most && !seen.contains(&(shape.k, columns)) {
            seen.push((shape.k, columns));
            shapes.push(shape.to_string());
        }
    }
    println!("{}", serde_json::json!({ "shapes": shapes }));
    Ok(())
}
