#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hands_run::fuzzing::json_lines(data));
