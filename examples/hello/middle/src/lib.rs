//! The middle of the graph: it starts as soon as `base`'s metadata exists.

/// Greets the world, then calls out to it.
pub fn greet_world() -> String {
    format!("{} {}", base::greeting("world"), macros::shout!("early"))
}

#[test]
fn shouts() {
    assert_eq!(greet_world(), "Hello, world! EARLY");
}
