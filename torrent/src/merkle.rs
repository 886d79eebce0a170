//! The trees of BEP 52: SHA-256 over blocks of 16 KiB, filled up with zero hashes.

use ledger::Digest;
use sha2::{Digest as _, Sha256};

/// Stands for a block behind the end of a file.
const NO_BLOCK: Digest = Digest([0; 32]);

/// Root of a tree of `height` levels over `nodes`, of which there are at most 2^`height`; `filler` stands for those that
/// are not there.
pub(crate) fn root(mut nodes: Vec<Digest>, height: u32, mut filler: Digest) -> Digest {
    for _ in 0..height {
        if nodes.len() % 2 == 1 {
            nodes.push(filler);
        }
        // In place: a parent takes the room of its left child.
        let n_parents = nodes.len() / 2;
        for at in 0..n_parents {
            nodes[at] = join(nodes[2 * at], nodes[2 * at + 1]);
        }
        nodes.truncate(n_parents);
        filler = join(filler, filler);
    }
    nodes.first().copied().unwrap_or(filler)
}

/// Node at `height` above blocks, all of them behind the end.
pub(crate) fn filler(height: u32) -> Digest {
    (0..height).fold(NO_BLOCK, |node, _| join(node, node))
}

/// Height of the smallest tree that has room for `n` nodes.
pub(crate) fn height(n: u64) -> u32 {
    n.max(1).next_power_of_two().ilog2()
}

/// Root of a file longer than a piece, from its pieces' nodes, which are `piece_height` above blocks.
pub(crate) fn root_of_layer(layer: &[Digest], piece_height: u32) -> Digest {
    root(layer.to_vec(), height(layer.len() as u64), filler(piece_height))
}

fn join(left: Digest, right: Digest) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Digest(hasher.finalize().into())
}
