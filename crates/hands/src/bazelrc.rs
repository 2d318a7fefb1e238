//! `hands bazelrc`: what Bazel needs to use the cluster.

use hands_client::Target;
use hands_config::{Environment, Places, Settings};
use hands_front::Out;
use hands_front::args::GlobalArgs;
use hands_link::{Address, Identity};
use hands_types::ErrorClass;
use hands_types::error::exit;

use crate::cli::BazelrcArgs;
use crate::front::{flags, this_program};
use crate::join;
use crate::problem::{self, Problem};
use crate::runtime;

/// Renews the certificate if it is due, and prints the lines to paste. The files that they name stay where they are.
pub(crate) fn run(
    args: &BazelrcArgs,
    global: &GlobalArgs,
    environment: &Environment,
    out: &Out,
) -> Result<u8, Problem> {
    let bearer = args.bearer.as_deref().map(join::read_token).transpose()?;
    let places = Places::find(environment)?;
    let settings = Settings::load(&places, environment, &flags(global))?;
    let target = settings.target(&places, this_program()?);
    let Target::Hub { address: Address::Member(dir), instance, .. } = target else {
        return Err(Problem::new(ErrorClass::User, "Bazel needs a hub that was logged in to")
            .hint("`hands login JOIN`; `hands token create --role submit` on the hub's machine makes the join string"));
    };
    runtime::for_a_person(hands_link::renew_if_due(&dir))??;
    let identity = Identity::load(&dir)?;
    let config = &args.config;
    let hub = identity.routes.first().map(ToString::to_string).unwrap_or_default();
    let mut lines = match &bearer {
        None => vec![
            format!("# Cluster {}, as {} ({}).", identity.cluster, identity.name, identity.roles),
            "# The certificate lives a day. Each `hands` command and a running agent renew it; so does this one.".to_owned(),
        ],
        Some(_) => vec![format!("# Cluster {}, by a token: keep this to yourself.", identity.cluster)],
    };
    lines.push(format!("common:{config} --remote_cache=grpcs://{hub}"));
    if !args.cache_only {
        lines.push(format!("common:{config} --remote_executor=grpcs://{hub}"));
    }
    if !instance.is_empty() {
        lines.push(format!("common:{config} --remote_instance_name={instance}"));
    }
    lines
        .push(format!("common:{config} --tls_certificate={}", identity.authority_file().display()));
    if let Some(token) = &bearer {
        lines.push(format!("common:{config} \"--remote_header=authorization=Bearer {token}\""));
    } else {
        let (certificate, key) = (identity.certificate_file(), identity.key_file());
        lines.push(format!("common:{config} --tls_client_certificate={}", certificate.display()));
        lines.push(format!("common:{config} --tls_client_key={}", key.display()));
    }
    let text = lines.join("\n") + "\n";
    out.data(text.as_bytes()).map_or_else(problem::unprinted, |()| Ok(exit::OK))
}
