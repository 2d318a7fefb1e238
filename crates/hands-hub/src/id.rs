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
    fill(&mut bytes).expect("the kernel's randomness does not fail for 16 bytes");
    u128::from_be_bytes(bytes)
}

/// Sixteen bytes are never cut short (getrandom(2)), and it fails only before the machine's entropy is there, for which
/// it waits without a flag.
#[cfg(target_os = "linux")]
fn fill(bytes: &mut [u8; 16]) -> std::io::Result<()> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn fill(bytes: &mut [u8; 16]) -> std::io::Result<()> {
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, bytes)
}
