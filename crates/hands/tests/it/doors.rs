//! A hub and the two ways into it: a loopback that was opened for the whole machine, and TLS with certificates. For tests
//! that must end alike on both.

use std::net::SocketAddr;
use std::sync::Arc;

use hands_link::{Address, Identity};
use hands_types::{Role, Roles};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::home::Home;
use crate::processes::{Server, address, level};

/// The hub, and how it is reached.
pub(crate) struct Doors {
    pub(crate) home: Home,
    pub(crate) hub: Server,
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// What `--cluster` is given.
    pub(crate) cluster: String,
    secured: bool,
}

impl Doors {
    /// The hub is for whoever is on this machine, or for those who joined it.
    pub(crate) fn new(secured: bool) -> Self {
        let home = Home::new();
        let mut arguments = vec!["hub", "--listen", "127.0.0.1:0", "--name", "build"];
        arguments.extend((!secured).then_some("--insecure-loopback"));
        let (hub, line) = Server::start(&home, &arguments, "the hub serves");
        let address = address(&line);
        let cluster = if secured { "build".to_owned() } else { address.clone() };
        let doors = Self { home, hub, address, cluster, secured };
        if secured {
            let login = doors.home.run(&["login", &doors.token(Role::Submit)]);
            assert_eq!(login.code, 0, "{login:?}");
        }
        doors
    }

    fn token(&self, role: Role) -> String {
        let made = self.home.run(&["token", "create", "--role", role.name()]);
        assert_eq!(made.code, 0, "{made:?}");
        made.out.trim().to_owned()
    }

    /// An honest worker, with a state of its own. Returns when it is connected.
    pub(crate) fn worker(&self, name: &str, flags: &[&str]) -> Server {
        let hub = if self.secured { self.token(Role::Worker) } else { self.address.clone() };
        let (level, state) = (level(&self.home), self.home.work().join(name));
        let fixed = ["worker", &hub, "--name", name, "--isolation", &level, "--state"];
        let arguments = [&fixed[..], &[state.to_str().unwrap()], flags].concat();
        Server::start(&self.home, &arguments, "connected to the hub").0
    }

    /// Who joins properly and means ill. None where nobody has to join.
    pub(crate) async fn enrol(&self, name: &str, role: Role) -> Option<Identity> {
        let join = self.secured.then(|| self.token(role))?;
        let dir = self.home.work().join(format!("identity-{name}"));
        let roles = Roles::NONE.with(role);
        Some(hands_link::enrol(&join.parse().unwrap(), name, roles, &dir).await.unwrap())
    }

    /// How somebody like that dials.
    pub(crate) fn way(&self, identity: Option<&Identity>) -> Address {
        match identity {
            Some(identity) => Address::Member(identity.dir.clone()),
            None => self.address.parse().unwrap(),
        }
    }
}

/// A port of the loopback behind which there is TLS with somebody's certificate: what is sent into it is what the hub
/// finds inside of TLS, byte by byte.
pub(crate) struct Tunnel {
    pub(crate) address: String,
    _runtime: Runtime,
}

impl Tunnel {
    pub(crate) fn new(hub: &str, identity: &Identity) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(identity.chain[1].clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(identity.chain.clone(), identity.key.pkcs8().clone_key().into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let hub: SocketAddr = hub.parse().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                carried.spawn(carry(near, hub, connector.clone()));
            }
        });
        Self { address, _runtime: runtime }
    }
}

/// Until either end hangs up, or the hub does not take the connection.
async fn carry(mut near: TcpStream, hub: SocketAddr, connector: TlsConnector) {
    let Ok(far) = TcpStream::connect(hub).await else { return };
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(mut far) = connector.connect(name, far).await else { return };
    // What it ends with is the business of those at its ends.
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}
