//! The gRPC contract of permission checks: `proto/rolecall/access/v1/access.proto`, with client and server for Rust.
//!
//! To add a message or call: write it there; numbers and names of fields are never used for anything else again.

/// Package `rolecall.access.v1`.
pub mod v1 {
    tonic::include_proto!("rolecall.access.v1");

    /// The contract itself, for gRPC's server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/access.bin"));
}
