//! REAPI both ways: services over a store, and the blob client.
