//! What librdkafka calls is ours.

#![expect(unsafe_code, reason = "calls a C function")]

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use rdkafka_sys as _;

unsafe extern "C" {
    fn rd_kafka_metadata_update_op(client: *mut c_void, hints: *mut c_void) -> c_int;
}

#[test]
fn the_name_that_librdkafka_calls_is_ours() {
    leader_hints::ignore();
    // SAFETY: ours looks at nothing; librdkafka's own would read through the null pointer.
    assert_eq!(unsafe { rd_kafka_metadata_update_op(null_mut(), null_mut()) }, 1);
}
