//! What an action can see of a worker's own files, as a part of its key: the property `host-root`.

use std::time::Duration;

use hands_types::Platform;
use hands_types::platform::{Root, property};

use crate::{Caching, ClientError, Cluster, ClusterKind, JobSpec};

/// How long a worker that could take the action is waited for, as when an agent's own is about to say hello.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cluster {
    /// Gives an action whose result may be recorded the host root of the workers that could run it, the most offered one, so
    /// that it runs nowhere else and one machine's result is never served for another's. Nothing to do for an action that
    /// has one, whose root is made of layers, or that goes to an engine of somebody else's, which gives its own platform
    /// a meaning. Where no worker that could take it comes within 5 s, the action is not cached, because nobody can tell
    /// yet what its key is; the sentence for its user that says so is returned.
    pub async fn name_host_root(
        &self,
        spec: &mut JobSpec,
    ) -> Result<Option<&'static str>, ClientError> {
        if !needs_host_root(self, spec) {
            return Ok(None);
        }
        let mut roots = self.host_roots(&spec.platform, PATIENCE).await?;
        if roots.is_empty() {
            return Ok(Some(no_host_root(spec)));
        }
        add(&mut spec.platform, roots.swap_remove(0));
        Ok(None)
    }
}

pub(crate) fn needs_host_root(cluster: &Cluster, spec: &JobSpec) -> bool {
    spec.caching != Caching::Uncached
        && cluster.kind() != ClusterKind::Engine
        && spec.platform.get(property::HOST_ROOT).is_none()
        && spec.root == Root::Host
}

/// Has an action not cached, and says why.
pub(crate) fn no_host_root(spec: &mut JobSpec) -> &'static str {
    spec.caching = Caching::Uncached;
    "no worker is there that could take it, so its result will not be cached"
}

pub(crate) fn add(platform: &mut Platform, root: String) {
    let mut pairs = platform.properties().to_vec();
    pairs.push((property::HOST_ROOT.to_owned(), root));
    *platform = Platform::new(pairs);
}
