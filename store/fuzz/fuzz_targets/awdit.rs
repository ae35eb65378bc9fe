//! The text of AWDIT's tests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::Format;

fuzz_target!(|data: &[u8]| gainsay_store_fuzz::parse(data, Format::Awdit));
