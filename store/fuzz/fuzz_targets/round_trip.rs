//! Histories of any format, recognised by their content, through every exporter and back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gainsay_store_fuzz::recognise(data));
