//! Compiles the C half of this crate into `liblinecount.a`.

fn main() {
    println!("cargo:rerun-if-changed=c/linecount.c");
    cc::Build::new().file("c/linecount.c").compile("linecount");
}
