//! Placeholder until its first feature.
