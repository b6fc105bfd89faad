//! The bottom of the graph: everything is built on it.

/// Greets `name`.
pub fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}

#[test]
fn greets_by_name() {
    assert_eq!(greeting("Ada"), "Hello, Ada!");
}
