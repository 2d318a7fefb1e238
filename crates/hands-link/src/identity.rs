//! A node's membership on disk: one directory, 0700, that says where the hub is, how it is recognized and who we are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hands_proto::v1;
use hands_types::{MemberId, Roles};
use rustix::fs::{FlockOperation, flock};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::IdentityError;
use crate::trust::NodeKey;
use crate::{HostPort, Pin, Route, pem};

const FORMAT: &str = "1";
const MEMBER: &str = "member";
const KEY: &str = "key.pem";
/// The key of an enrolment that has not been answered.
const FRESH_KEY: &str = "key.next.pem";
const CERTIFICATE: &str = "cert.pem";
const AUTHORITY: &str = "ca.pem";
/// The route that answered last. Only a hint: a hub has addresses that not everybody reaches, those of its container
/// bridges among them.
const ANSWERED: &str = "answered";

/// A membership. Holds the node's key.
#[derive(Debug)]
pub struct Identity {
    /// Where it is kept.
    pub dir: PathBuf,
    /// The cluster's name, for people.
    pub cluster: String,
    /// Where the hub is reached, first where it answered last. The file may name kinds that this version does not know.
    pub routes: Vec<Route>,
    /// The key of the hub's authority.
    pub pin: Pin,
    /// Who we are.
    pub member: MemberId,
    /// Our name, for people.
    pub name: String,
    /// What we may do, as the hub last said.
    pub roles: Roles,
    /// The token by which we came, 16 hex digits.
    pub token: String,
    /// When to renew, seconds since 1970 by this machine's clock.
    pub renew_at: i64,
    /// When the certificate ends, by this machine's clock.
    pub expires: i64,
    /// Our certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// Our key.
    pub key: NodeKey,
}

impl Identity {
    /// Whether a directory holds a membership.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(MEMBER).is_file()
    }

    /// Reads a membership.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let text = read(dir, MEMBER)?;
        let broken = |what| IdentityError::Broken { path: dir.join(MEMBER), what };
        let field = |name: &'static str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .ok_or_else(|| broken(name))
        };
        if field("format")? != FORMAT {
            return Err(broken("format"));
        }
        let number = |name| field(name)?.parse::<i64>().map_err(|_| broken(name));
        let listed = |name| Route::read_all(field(name)?.split(',')).map_err(|_| broken(name));
        let mut routes = listed("addresses")?;
        // Not in the files of versions that knew TCP only, nor where there is no other.
        if field("routes").is_ok() {
            routes.extend(listed("routes")?);
        }
        let answered = fs::read_to_string(dir.join(ANSWERED)).unwrap_or_default();
        routes.sort_by_key(|route| route.to_string() != answered);
        let broken_file = |file, what| IdentityError::Broken { path: dir.join(file), what };
        let key = read_key(&read(dir, KEY)?);
        Ok(Self {
            dir: dir.to_owned(),
            cluster: field("cluster")?.to_owned(),
            routes,
            pin: field("pin")?.parse().map_err(|_| broken("pin"))?,
            member: field("member")?.parse().map_err(|_| broken("member"))?,
            name: field("name")?.to_owned(),
            roles: field("roles")?.parse().map_err(|_| broken("roles"))?,
            token: field("token")?.to_owned(),
            renew_at: number("renew-at")?,
            expires: number("expires")?,
            chain: pem::certificates(read(dir, CERTIFICATE)?.as_bytes())
                .ok_or_else(|| broken_file(CERTIFICATE, "certificates"))?,
            key: key.ok_or_else(|| broken_file(KEY, "key"))?,
        })
    }

    /// Writes a membership as the hub has just granted it, and makes the directory.
    pub(crate) fn store(
        dir: &Path,
        pin: Pin,
        key: &NodeKey,
        token: &str,
        membership: &v1::Membership,
    ) -> Result<(), IdentityError> {
        let strange = |what| IdentityError::Strange { what };
        let now = membership.now.as_ref().ok_or(strange("no time"))?.seconds;
        let not_after = membership.not_after.as_ref().ok_or(strange("no time"))?.seconds;
        let life = not_after.saturating_sub(now);
        let here = unix_seconds();
        let clean = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        let addresses: Vec<String> = membership
            .addresses
            .iter()
            .map(|a| a.parse::<HostPort>().map(|a| a.to_string()))
            .collect::<Result<_, _>>()
            .map_err(|_| strange("an address that is none"))?;
        // Kept as they are: the version that comes after this one may know them.
        Route::read_all(membership.routes.iter().map(String::as_str))
            .map_err(|_| strange("a route that is none"))?;
        let others = match &membership.routes[..] {
            [] => String::new(),
            routes => format!("routes = {}\n", routes.join(",")),
        };
        if membership.member_id.parse::<MemberId>().is_err()
            || membership.roles.join(",").parse::<Roles>().is_err()
            || !clean(&membership.cluster)
            || !clean(&membership.name)
            || addresses.is_empty()
        {
            return Err(strange("fields that can't be read"));
        }
        let chain: Vec<CertificateDer<'static>> =
            membership.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let authority = chain.last().filter(|authority| Pin::of(authority) == Some(pin));
        let authority = authority.ok_or(strange("certificates of another authority"))?;
        let text = format!(
            "format = {FORMAT}\ncluster = {}\naddresses = {}\n{others}pin = {pin}\nmember = {}\nname = {}\nroles = {}\ntoken = {token}\nrenew-at = {}\nexpires = {}\n",
            membership.cluster,
            addresses.join(","),
            membership.member_id,
            membership.name,
            membership.roles.join(","),
            // The lifetime by the hub's clock, counted from now by ours: the clocks may differ.
            here + life * 2 / 3,
            here + life,
        );
        make_dir(dir)?;
        write(dir, KEY, &write_key(key))?;
        write(dir, CERTIFICATE, &pem::encode_certificates(&chain))?;
        write(dir, AUTHORITY, &pem::encode_certificates(std::slice::from_ref(authority)))?;
        // Last: without it there is no membership.
        write(dir, MEMBER, &text)?;
        match fs::remove_file(dir.join(FRESH_KEY)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(IdentityError::Io { what: "remove", path: dir.join(FRESH_KEY), source })
            }
            _ => Ok(()),
        }
    }

    /// Whether two thirds of the certificate's life are over.
    pub fn is_due(&self) -> bool {
        unix_seconds() >= self.renew_at
    }

    /// How long until it is due.
    pub fn due_in(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.renew_at - unix_seconds()).unwrap_or(0))
    }

    /// The file of the certificate and its authority's.
    pub fn certificate_file(&self) -> PathBuf {
        self.dir.join(CERTIFICATE)
    }

    /// The file of the key.
    pub fn key_file(&self) -> PathBuf {
        self.dir.join(KEY)
    }

    /// The file of the authority's certificate.
    pub fn authority_file(&self) -> PathBuf {
        self.dir.join(AUTHORITY)
    }
}

/// Has a route to the hub tried first from now on, by all that use this membership.
pub(crate) fn prefer(dir: &Path, answered: &Route) -> Result<(), IdentityError> {
    write(dir, ANSWERED, &answered.to_string())
}

/// A key for a node that is about to enrol. Kept before anybody hears of it, so that a try whose answer was lost can be
/// repeated: the hub knows the key again.
pub(crate) fn prepare(dir: &Path) -> Result<NodeKey, IdentityError> {
    make_dir(dir)?;
    if !Identity::is_at(dir)
        && let Ok(text) = read(dir, FRESH_KEY)
        && let Some(key) = read_key(&text)
    {
        return Ok(key);
    }
    let key = NodeKey::generate().ok_or(IdentityError::NoRandomness)?;
    write(dir, FRESH_KEY, &write_key(&key))?;
    Ok(key)
}

fn read_key(text: &str) -> Option<NodeKey> {
    match pem::private_key(text.as_bytes())? {
        PrivateKeyDer::Pkcs8(key) => NodeKey::from_pkcs8(key.secret_pkcs8_der().to_vec()),
        _ => None,
    }
}

fn write_key(key: &NodeKey) -> String {
    pem::encode("PRIVATE KEY", key.pkcs8().secret_pkcs8_der())
}

/// Held while a membership is renewed, so that of several processes one does it. Blocks.
pub(crate) fn lock(dir: &Path) -> Result<File, IdentityError> {
    let path = dir.join("lock");
    let failed = |source| IdentityError::Io { what: "lock", path: path.clone(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn make_dir(dir: &Path) -> Result<(), IdentityError> {
    crate::private_place(dir).map_err(IdentityError::Private)
}

fn read(dir: &Path, file: &str) -> Result<String, IdentityError> {
    let path = dir.join(file);
    fs::read_to_string(&path).map_err(|source| IdentityError::Io { what: "read", path, source })
}

/// Replaces a file atomically; nobody but its owner ever may read it.
pub fn write(dir: &Path, file: &str, text: &str) -> Result<(), IdentityError> {
    let path = dir.join(file);
    let fresh = dir.join(format!(".{file}.{}", std::process::id()));
    let written = (|| -> io::Result<()> {
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, &path)
    })();
    written.map_err(|source| IdentityError::Io { what: "write", path, source })
}
