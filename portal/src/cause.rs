//! Errors with their causes: what stores and databases say by themselves is little.

use std::error::Error;

/// What an error says, and what its causes say that is not in it yet.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        cause = error.source();
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_causes;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Layer {
        words: &'static str,
        #[source]
        below: Option<Box<Layer>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let layer = |words, below| Layer { words, below };
        let broken = layer("broken pipe", None);
        let store = layer("put: broken pipe", Some(Box::new(broken)));
        let refused = layer("refused", Some(Box::new(layer("by peer", None))));
        assert_eq!(with_causes(&store), "put: broken pipe");
        assert_eq!(with_causes(&refused), "refused: by peer");
    }
}
