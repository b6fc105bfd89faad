//! The top of the graph: linking it needs the code of every crate below.

fn main() {
    println!("{}", middle::greet_world());
}
