//! How a request or an action was refused.

/// gRPC's word for how something ended. Its number is gRPC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It did not fail.
    Ok = 0,
    /// Whoever wanted it gave it up.
    Cancelled = 1,
    /// Nobody knows, or a code that this version has no word for.
    Unknown = 2,
    /// What was asked for makes no sense.
    InvalidArgument = 3,
    /// Its time was up.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What was to be made is there.
    AlreadyExists = 6,
    /// Whoever asks may not.
    PermissionDenied = 7,
    /// There is no room for it.
    ResourceExhausted = 8,
    /// Something has to be done before, such as sending blobs that are missing.
    FailedPrecondition = 9,
    /// Something else was done at the same time.
    Aborted = 10,
    /// Beyond an end.
    OutOfRange = 11,
    /// The other side can't do that.
    Unimplemented = 12,
    /// A bug of the other side's.
    Internal = 13,
    /// The other side can't do that now.
    Unavailable = 14,
    /// Data was lost or spoiled.
    DataLoss = 15,
    /// Whoever asks has not shown who it is.
    Unauthenticated = 16,
}

impl Code {
    /// gRPC's number.
    pub const fn number(self) -> i32 {
        self as i32
    }

    pub(crate) fn of(number: i32) -> Self {
        tonic::Code::from(number).into()
    }
}

impl From<tonic::Code> for Code {
    fn from(code: tonic::Code) -> Self {
        use tonic::Code as Their;
        match code {
            Their::Ok => Self::Ok,
            Their::Cancelled => Self::Cancelled,
            Their::Unknown => Self::Unknown,
            Their::InvalidArgument => Self::InvalidArgument,
            Their::DeadlineExceeded => Self::DeadlineExceeded,
            Their::NotFound => Self::NotFound,
            Their::AlreadyExists => Self::AlreadyExists,
            Their::PermissionDenied => Self::PermissionDenied,
            Their::ResourceExhausted => Self::ResourceExhausted,
            Their::FailedPrecondition => Self::FailedPrecondition,
            Their::Aborted => Self::Aborted,
            Their::OutOfRange => Self::OutOfRange,
            Their::Unimplemented => Self::Unimplemented,
            Their::Internal => Self::Internal,
            Their::Unavailable => Self::Unavailable,
            Their::DataLoss => Self::DataLoss,
            Their::Unauthenticated => Self::Unauthenticated,
        }
    }
}
