//! The pages of the guide that stand beside the crate's own.

#[doc = include_str!("guide/programs.md")]
pub mod programs {}
