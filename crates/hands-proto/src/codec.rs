//! How every call of ours decodes: after a look at what the bytes become.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::budget::Charge;
use crate::shape::Shaped;
use crate::weigh::weigh;

/// What one message may become where no call says less, bytes: enough for 16 MiB of digests.
pub const MAX_DECODED: usize = 64 << 20;

/// Protobuf, with bounds for what it becomes. The generated code makes one for each call.
#[derive(Debug)]
pub struct BoundedCodec<T, U> {
    charge: Option<Arc<Charge>>,
    types: PhantomData<fn() -> (T, U)>,
}

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self { charge: Charge::current(), types: PhantomData }
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Shaped + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Bounded<T>;
    type Decoder = Bounded<U>;

    fn encoder(&mut self) -> Bounded<T> {
        Bounded { charge: self.charge.clone(), message: PhantomData }
    }

    fn decoder(&mut self) -> Bounded<U> {
        Bounded { charge: self.charge.clone(), message: PhantomData }
    }
}

/// One direction.
#[derive(Debug)]
pub struct Bounded<T> {
    charge: Option<Arc<Charge>>,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + Send> Encoder for Bounded<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let failed = |e| Status::internal(format!("can't write a message: {e}"));
        let Some(charge) = &self.charge else { return item.encode(buf).map_err(failed) };
        let length = item.encoded_len();
        charge.encoded(length)?;
        // With it goes the message: to free a hundred thousand of its parts takes as long as to write them.
        charge.work(length, move || item.encode(buf).map_err(failed))
    }
}

impl<T: Message + Shaped + Default + Send> Decoder for Bounded<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        match &self.charge {
            Some(charge) => {
                let decoded = charge.work(buf.remaining(), || self.decode_now(buf));
                charge.has_decoded();
                decoded.map(Some)
            }
            None => self.decode_now(buf).map(Some),
        }
    }
}

impl<T: Message + Shaped + Default> Bounded<T> {
    fn decode_now(&self, buf: &mut DecodeBuf<'_>) -> Result<T, Status> {
        let length = buf.remaining();
        let name = T::shape().name;
        let most = self.charge.as_ref().map_or(MAX_DECODED, |charge| charge.bound().memory);
        // One slice: tonic gathers a message before it has it decoded.
        let weight = weigh::<T>(buf.chunk(), most).map_err(|e| {
            Status::invalid_argument(format!("the {name} of {length} bytes is refused: {e}"))
        })?;
        if let Some(charge) = &self.charge {
            charge.decoded(length, weight)?;
        }
        T::decode(buf).map_err(|e| {
            let text = format!("the bytes are no {name}: {e}");
            // What a client sends is its own mistake.
            if self.charge.is_some() {
                Status::invalid_argument(text)
            } else {
                Status::internal(text)
            }
        })
    }
}
