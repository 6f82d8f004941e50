//! wshd.
fn main() {}
