//! Randomness and the ids made of it.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use hands_types::InvocationId;

use crate::ClientError;

/// 128 random bits from the operating system.
pub fn random_u128() -> Result<u128, ClientError> {
    let mut bytes = [0; 16];
    fill(&mut bytes).map_err(|source| ClientError::Local {
        what: "no random numbers to be had".to_owned(),
        source,
    })?;
    Ok(u128::from_le_bytes(bytes))
}

/// A new id for one use of a front-end.
pub fn new_invocation_id() -> Result<InvocationId, ClientError> {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis());
    Ok(InvocationId::from_parts(u64::try_from(millis).unwrap_or(u64::MAX), random_u128()?))
}

#[cfg(target_os = "linux")]
fn fill(bytes: &mut [u8; 16]) -> io::Result<()> {
    // 16 bytes come whole or not at all: the kernel interrupts only requests above 256.
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn fill(bytes: &mut [u8; 16]) -> io::Result<()> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")?.read_exact(bytes)
}
