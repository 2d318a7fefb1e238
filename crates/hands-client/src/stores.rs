//! Questions to a hub about its blob store, and names of trees in it.

use hands_proto::v1::stores_client::StoresClient;
use hands_proto::v1::{
    self, CollectStoreRequest, PinTreeRequest, StoreUsageRequest, TreeNamesRequest,
    UnpinTreeRequest, VerifyStoreRequest,
};
use hands_types::tree_name::near;
use hands_types::{Digest, TreeName};

use crate::{ClientError, Cluster, ClusterKind, NamedTree, StoreUsage, VerifyProgress};

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

    /// The trees of these names in the cluster's store, and without any all that have names.
    pub async fn named_trees(&self, names: &[TreeName]) -> Result<Vec<NamedTree>, ClientError> {
        const WHAT: &str = "the names of its trees";
        let mut client = StoresClient::new(self.channel());
        let names = names.iter().map(TreeName::to_string).collect();
        let reply = client.names(self.request(TreeNamesRequest { names })).await;
        let trees = self.answer(WHAT, reply)?.trees;
        trees.into_iter().map(|tree| self.named_tree(tree)).collect()
    }

    /// The tree that has this name in the cluster's store. One that none has is an error, which says which others there are.
    pub async fn tree_named(&self, name: &TreeName) -> Result<Digest, ClientError> {
        if self.kind() == ClusterKind::Engine {
            return Err(ClientError::Spec(format!(
                "{} knows no names of trees: give the tree's digest in place of `{name}`",
                self.peer()
            )));
        }
        let found = self.named_trees(std::slice::from_ref(name)).await?;
        if let Some(found) = found.first() {
            return Ok(found.tree);
        }
        let all = self.named_trees(&[]).await?;
        Err(ClientError::Spec(unknown_name(name, all.iter().map(|tree| tree.name.as_str()))))
    }

    /// Gives a tree of the cluster's store a name, so that it stays. Answers with the tree that had the name before, if it was
    /// another.
    pub async fn pin_tree(
        &self,
        name: &TreeName,
        tree: &Digest,
    ) -> Result<(NamedTree, Option<Digest>), ClientError> {
        const WHAT: &str = "the request to pin a tree";
        let mut client = StoresClient::new(self.channel());
        let request = PinTreeRequest { name: name.to_string(), tree: tree.to_string() };
        let reply = self.answer(WHAT, client.pin(self.request(request)).await)?;
        let tree = reply.tree.ok_or_else(|| self.bad_names("no tree"))?;
        let before = (!reply.before.is_empty()).then(|| reply.before.parse());
        let before = before.transpose().map_err(|_| self.bad_names("no digest"))?;
        Ok((self.named_tree(tree)?, before))
    }

    /// Takes a name away; answers with the tree that had it.
    pub async fn unpin_tree(&self, name: &TreeName) -> Result<Option<NamedTree>, ClientError> {
        const WHAT: &str = "the request to unpin a tree";
        let mut client = StoresClient::new(self.channel());
        let request = UnpinTreeRequest { name: name.to_string() };
        let reply = self.answer(WHAT, client.unpin(self.request(request)).await)?;
        reply.tree.map(|tree| self.named_tree(tree)).transpose()
    }

    fn named_tree(&self, tree: v1::NamedTree) -> Result<NamedTree, ClientError> {
        NamedTree::try_from(tree).map_err(|()| self.bad_names("what has no name or no digest"))
    }

    fn bad_names(&self, what: &str) -> ClientError {
        let why = format!("it told {what} where a tree with its name was to be");
        ClientError::Protocol { peer: self.peer().to_owned(), why }
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

/// What to say where no tree has a name.
pub fn unknown_name<'a>(name: &TreeName, names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let meant = near(name.as_str(), all.iter().copied());
    let rest = match (&meant[..], &all[..]) {
        ([], []) => "; none has a name there".to_owned(),
        ([], _) => "; `hands store pins` lists those that have names".to_owned(),
        (meant, _) => {
            let meant: Vec<String> = meant.iter().map(|name| format!("`{name}`")).collect();
            format!("; there is {}", meant.join(", "))
        }
    };
    format!("no tree of the cluster's store is pinned as `{name}`{rest}")
}
