//! The packages as nested modules, because the generated code names its neighbours by relative paths.
#![expect(missing_docs, reason = "the .proto files are the documentation")]
#![expect(
    clippy::large_enum_variant,
    reason = "protobuf's shape; a boxed variant costs an allocation per lease"
)]
#![expect(unreachable_pub, reason = "which packages are public is lib.rs's choice")]
#![expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "the generator writes them"
)]

pub mod build {
    pub mod bazel {
        pub mod remote {
            pub mod asset {
                pub mod v1 {
                    include!("generated/build.bazel.remote.asset.v1.rs");
                }
            }
            pub mod execution {
                pub mod v2 {
                    include!("generated/build.bazel.remote.execution.v2.rs");
                }
            }
        }
        pub mod semver {
            include!("generated/build.bazel.semver.rs");
        }
    }
}

pub mod google {
    pub mod bytestream {
        include!("generated/google.bytestream.rs");
    }
    pub mod longrunning {
        include!("generated/google.longrunning.rs");
    }
    pub mod rpc {
        include!("generated/google.rpc.rs");
    }
}

pub mod hands {
    pub mod v1 {
        include!("generated/hands.v1.rs");
    }
}
