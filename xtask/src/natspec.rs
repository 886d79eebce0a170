//! NatSpec of the contracts: whatever others can call, catch or read is explained where it is declared.
//!
//! A declaration needs a comment of `///` lines directly above it. A function that others call also names each parameter
//! (`@param`) and each result (`@return`), unless it inherits its comment. The compiler checks that what is named exists; this
//! checks that nothing is left out.

/// First words of declarations that need a comment.
const KINDS: [&str; 12] = [
    "contract",
    "interface",
    "library",
    "function",
    "event",
    "error",
    "struct",
    "enum",
    "type",
    "modifier",
    "constructor",
    "abstract",
];

/// A declaration with its comment.
struct Declaration {
    /// Line of its first word, from 1.
    line: usize,
    /// Up to its body or its end.
    head: String,
    /// The comment above it.
    comment: String,
}

/// What a Solidity source leaves unexplained, each with its line.
pub fn missing(source: &str) -> Vec<String> {
    let is_library = source.lines().any(|line| line.starts_with("library "));
    declarations(source).iter().flat_map(|declaration| declaration.missing(is_library)).collect()
}

/// Declarations of contracts and of what they hold; statements of bodies are none, as they are indented deeper.
fn declarations(source: &str) -> Vec<Declaration> {
    let (mut found, mut comment) = (Vec::new(), String::new());
    let mut lines = source.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix("///") {
            comment.push_str(words);
            comment.push('\n');
            continue;
        }
        let first = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if indent <= 4 && (KINDS.contains(&first) || is_public_variable(text)) {
            let mut head = text.to_owned();
            while !head.contains(['{', ';']) {
                let Some((_, more)) = lines.next() else { break };
                head.push(' ');
                head.push_str(more.trim());
            }
            let head = head.split(['{', ';']).next().unwrap_or_default().to_owned();
            found.push(Declaration { line: index + 1, head, comment: std::mem::take(&mut comment) });
        }
        comment.clear();
    }
    found
}

fn is_public_variable(text: &str) -> bool {
    !text.starts_with("function")
        && text.ends_with(';')
        && text.split(['=', ';']).next().unwrap_or_default().contains(" public ")
}

impl Declaration {
    fn missing(&self, is_library: bool) -> Vec<String> {
        let mut out = Vec::new();
        let words: Vec<&str> =
            self.head.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
        let kind = words.first().copied().unwrap_or_default();
        let called = ["external", "public"].iter().any(|word| words.contains(word))
            || is_library && words.contains(&"internal")
            || kind == "constructor";
        if kind == "function" && !called {
            return out;
        }
        let name = if kind == "constructor" { kind } else { words.get(1).copied().unwrap_or_default() };
        let line = self.line;
        if self.comment.trim().is_empty() {
            out.push(format!("line {line}: {kind} {name} has no comment"));
        } else if called && ["function", "constructor"].contains(&kind) && !self.comment.contains("@inheritdoc") {
            for parameter in self.parameters() {
                if !names(&self.comment, "@param", &parameter) {
                    out.push(format!("line {line}: {kind} {name}: no @param {parameter}"));
                }
            }
            let (expected, got) = (self.results(), self.comment.matches("@return").count());
            if expected != got {
                out.push(format!("line {line}: {kind} {name}: expected {expected} @return, got {got}"));
            }
        }
        out
    }

    /// Names of the parameters; those without a name need no comment.
    fn parameters(&self) -> Vec<String> {
        let list = self.head.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(list, _)| list);
        let name = |parameter: &str| {
            let words: Vec<&str> = parameter.split_whitespace().collect();
            (words.len() > 1).then(|| words[words.len() - 1].to_owned())
        };
        list.split(',')
            .filter_map(name)
            .filter(|name| !["calldata", "memory", "storage"].contains(&name.as_str()))
            .collect()
    }

    fn results(&self) -> usize {
        let list = self.head.split_once("returns").and_then(|(_, rest)| rest.split_once('(')).map(|(_, list)| list);
        list.map_or(0, |list| list.split(',').count())
    }
}

/// Whether a comment explains this parameter.
fn names(comment: &str, tag: &str, name: &str) -> bool {
    comment.split(tag).skip(1).any(|rest| rest.split_whitespace().next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_is_explained_is_not_reported() {
        let source = "/// @title T\ninterface T {\n    /// @notice N\n    /// @param a A.\n    /// @return b B.\n    function f(uint256 a, bytes32)\n        external\n        view\n        returns (uint256 b);\n\n    /// @inheritdoc U\n    function g(uint256 a) external returns (uint256);\n\n    function h(uint256 a) private {\n        uint256 public_ = a;\n    }\n}\n";
        assert_eq!(missing(source), [""; 0]);
    }

    #[test]
    fn what_others_use_needs_a_comment() {
        let source = "interface T {\n    error E(uint256 a);\n    event V(\n        uint256 a\n    );\n    struct S {\n        uint256 a;\n    }\n    uint64 public constant MAX = 1;\n    // Not this kind.\n    function f() external;\n}\n";
        let found = missing(source);
        let expected = ["interface T", "error E", "event V", "struct S", "uint64 public", "function f"];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (finding, what) in found.iter().zip(expected) {
            assert!(finding.contains(&format!(": {what} has no comment")), "{finding}");
        }
        assert!(found[5].starts_with("line 11:"), "{}", found[5]);
    }

    #[test]
    fn parameters_and_results_of_calls_are_named() {
        let head = "    function f(uint256 a, S calldata b) public returns (uint256, bool);\n";
        let source = format!(
            "/// @title T\ncontract T {{\n    /// @notice N\n    /// @param a A.\n    /// @return One.\n{head}}}\n"
        );
        assert_eq!(
            missing(&source),
            ["line 6: function f: no @param b", "line 6: function f: expected 2 @return, got 1"]
        );
        let inner = "    /// @notice N\n    function f(uint256 a) internal pure {}\n";
        assert_eq!(missing(&format!("/// @title T\nlibrary T {{\n{inner}}}\n")), ["line 4: function f: no @param a"]);
        assert_eq!(missing(&format!("/// @title T\ncontract T {{\n{inner}}}\n")), [""; 0]);
    }
}
