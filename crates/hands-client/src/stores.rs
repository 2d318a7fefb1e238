//! Questions to a hub about its blob store.

use hands_proto::v1::stores_client::StoresClient;
use hands_proto::v1::{CollectStoreRequest, StoreUsageRequest, VerifyStoreRequest};

use crate::{ClientError, Cluster, StoreUsage, VerifyProgress};

impl Cluster {
    /// How full the hub's store is.
    pub async fn store_usage(&self) -> Result<StoreUsage, ClientError> {
        let mut client = StoresClient::new(self.channel());
        let reply = client.usage(self.request(StoreUsageRequest {})).await;
        self.answer("its store's usage", reply).map(StoreUsage::from)
    }

    /// Has the hub's store evict what is beyond its quota; answers with the usage after it.
    pub async fn collect_store(&self) -> Result<StoreUsage, ClientError> {
        let mut client = StoresClient::new(self.channel());
        let request = self.request(CollectStoreRequest {});
        let reply = client.collect(request).await;
        self.answer("the request to clean its store", reply).map(StoreUsage::from)
    }

    /// Has the hub read every blob and put corrupt ones into quarantine. Calls `progress` with each answer.
    pub async fn verify_store(
        &self,
        mut progress: impl FnMut(&VerifyProgress),
    ) -> Result<(), ClientError> {
        const WHAT: &str = "the request to verify its store";
        let mut client = StoresClient::new(self.channel());
        let request = self.request(VerifyStoreRequest {});
        let mut replies = self.answer(WHAT, client.verify(request).await)?;
        loop {
            match replies.message().await {
                Ok(Some(reply)) => {
                    let is_done = reply.done;
                    progress(&reply.into());
                    if is_done {
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
