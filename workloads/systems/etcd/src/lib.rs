//! The etcd suite.
