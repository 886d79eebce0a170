//! A contract and its node, as people name them.

use std::str::FromStr;

use ledger::{Address, IdError};

/// A contract on a node: as text `RPC,CONTRACT` or `RPC,CONTRACT,BLOCK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The node's address.
    pub rpc: String,
    /// The `RunAnchor`.
    pub contract: Address,
    /// The block that it is read from.
    pub first_block: u64,
}

/// Why a text does not name a [`Followed`].
#[derive(Debug, thiserror::Error)]
pub enum FollowedError {
    /// There is no comma.
    #[error("expected RPC,CONTRACT or RPC,CONTRACT,BLOCK")]
    Form,
    /// The contract is no address.
    #[error(transparent)]
    Contract(#[from] IdError),
    /// The block is no number.
    #[error("first block: expected a whole number, got {got:?}")]
    Block {
        /// What came.
        got: String,
    },
}

impl FromStr for Followed {
    type Err = FollowedError;

    /// The address of a node may hold commas itself; a contract's does not.
    fn from_str(text: &str) -> Result<Self, FollowedError> {
        let (rest, last) = text.rsplit_once(',').ok_or(FollowedError::Form)?;
        let (rpc, contract, block) = match rest.rsplit_once(',') {
            Some((rpc, contract)) if !last.starts_with("0x") => (rpc, contract, last),
            _ => (rest, last, "0"),
        };
        let first_block = block.parse().map_err(|_| FollowedError::Block { got: block.to_owned() })?;
        Ok(Self { rpc: rpc.to_owned(), contract: contract.parse()?, first_block })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_is_named_with_its_node() {
        let contract = Address([0x5f; 20]);
        let followed = |rpc: &str, first_block| Followed { rpc: rpc.into(), contract, first_block };
        let cases = [
            (format!("http://localhost:8545,{contract}"), followed("http://localhost:8545", 0)),
            (format!("http://localhost:8545,{contract},12"), followed("http://localhost:8545", 12)),
            (format!("https://node/?a=1,2,{contract}"), followed("https://node/?a=1,2", 0)),
            (format!("https://node/?a=1,2,{contract},7"), followed("https://node/?a=1,2", 7)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Followed>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_contract_is_refused() {
        assert!(matches!("http://localhost".parse::<Followed>(), Err(FollowedError::Form)));
        assert!(matches!("http://localhost,0x12".parse::<Followed>(), Err(FollowedError::Contract(_))));
        let late = format!("http://localhost,{},-1", Address([1; 20]));
        assert!(matches!(late.parse::<Followed>(), Err(FollowedError::Block { got }) if got == "-1"));
    }
}
