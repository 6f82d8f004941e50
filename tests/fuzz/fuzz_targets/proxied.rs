#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wshd::testing::fuzzing::proxied(data));
