//! Questions to a hub about its blob store.

use hands_proto::v1::stores_client::StoresClient;
use hands_proto::v1::{
    CollectStoreRequest, StoreUsage, StoreUsageRequest, VerifyStoreReply, VerifyStoreRequest,
};

use crate::{ClientError, Cluster};

impl Cluster {
    /// How full the hub's store is.
    pub async fn store_usage(&self) -> Result<StoreUsage, ClientError> {
        let mut client = StoresClient::new(self.channel());
        self.answer("its store's usage", client.usage(self.request(StoreUsageRequest {})).await)
    }

    /// Has the hub's store evict what is beyond its quota; answers with the usage after it.
    pub async fn collect_store(&self) -> Result<StoreUsage, ClientError> {
        let mut client = StoresClient::new(self.channel());
        let request = self.request(CollectStoreRequest {});
        self.answer("the request to clean its store", client.collect(request).await)
    }

    /// Has the hub read every blob and put corrupt ones into quarantine. Calls `progress` with each answer; the last
    /// one is done.
    pub async fn verify_store(
        &self,
        mut progress: impl FnMut(&VerifyStoreReply),
    ) -> Result<(), ClientError> {
        const WHAT: &str = "the request to verify its store";
        let mut client = StoresClient::new(self.channel());
        let request = self.request(VerifyStoreRequest {});
        let mut replies = self.answer(WHAT, client.verify(request).await)?;
        loop {
            match replies.message().await {
                Ok(Some(reply)) => {
                    progress(&reply);
                    if reply.done {
                        return Ok(());
                    }
                }
                Ok(None) => {
                    let ended = tonic::Status::unavailable("it ended before all was read");
                    return Err(ClientError::rpc(WHAT, self.peer(), &ended));
                }
                Err(status) => return Err(ClientError::rpc(WHAT, self.peer(), &status)),
            }
        }
    }
}
