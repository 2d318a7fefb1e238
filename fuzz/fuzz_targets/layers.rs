#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hands_image::fuzzing::layers(data));
