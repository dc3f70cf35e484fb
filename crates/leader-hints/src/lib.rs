//! Keeps librdkafka from acting on leader hints (KIP-951), which it gets wrong up to 2.14 at least.
//!
//! A broker may answer a fetch with "there is no leader now" for a partition. librdkafka counts such a hint
//! and then leaves its place uninitialised (its issue 5280), so it reads and writes out of bounds: a service
//! dies, or goes on with a damaged heap. Where it does not, the partition is never fetched again (issue 5430).
//! Without hints it asks the brokers for fresh metadata after the same answer, as it did before KIP-951.
//!
//! The linker sends calls of `rd_kafka_metadata_update_op` here (`--wrap` in `.cargo/config.toml`).

#![expect(unsafe_code, reason = "takes the place of a C function")]

use std::ffi::{c_int, c_void};

/// `RD_KAFKA_OP_RES_HANDLED`: the caller frees the hints.
const HANDLED: c_int = 1;

type UpdateOp = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    /// librdkafka's own. It has this name only if the linker wraps it.
    fn __real_rd_kafka_metadata_update_op(client: *mut c_void, hints: *mut c_void) -> c_int;
}

// SAFETY: no other symbol has this name, and the signature is that of the function it stands for.
#[unsafe(no_mangle)]
extern "C" fn __wrap_rd_kafka_metadata_update_op(_client: *mut c_void, _hints: *mut c_void) -> c_int {
    metrics::counter!("kafka_leader_hints_ignored_total").increment(1);
    HANDLED
}

/// Part of making a client, so that a program linked without the wrap does not link at all.
pub fn ignore() {
    let both: [UpdateOp; 2] = [
        __real_rd_kafka_metadata_update_op,
        __wrap_rd_kafka_metadata_update_op,
    ];
    std::hint::black_box(both);
}
