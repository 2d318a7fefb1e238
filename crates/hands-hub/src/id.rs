//! Fresh ids.

use hands_types::OperationId;

/// A fresh operation's id: the time, then randomness.
pub(crate) fn operation() -> OperationId {
    let millis = u64::try_from(crate::core::unix_millis()).unwrap_or_default();
    OperationId::from_parts(millis, random())
}

/// Randomness from the kernel.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    // Sixteen bytes are never cut short (getrandom(2)), and it fails only before the machine's entropy is there, for which
    // it waits without a flag.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .expect("getrandom of 16 bytes without flags does not fail");
    u128::from_be_bytes(bytes)
}
