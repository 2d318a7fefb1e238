#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hands_reapi::fuzzing::message_weights(data));
