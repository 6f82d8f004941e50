//! A request that outlives `open`, for the functions that ask for it.

use crate::{
    border::read::{Field, Text},
    request::Request,
};

/// A copy of everything a [`Request`] says.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestCopy {
    flags: u32,
    id: u64,
    target: Vec<u8>,
    path: String,
    query: Vec<u8>,
    host: String,
    origin: String,
    remote_addr: String,
    client_addr: String,
    user: String,
    headers: Vec<(String, Vec<u8>)>,
    cookies: Vec<(String, Vec<u8>)>,
    protocols: Vec<String>,
    params: Vec<(String, Vec<u8>)>,
    tls_version: String,
    tls_sni: String,
    tls_client_cert: Vec<u8>,
}

/// What the lists of a [`Request`] borrow from.
pub(crate) struct Lists<'a> {
    headers: Vec<Field<'a>>,
    cookies: Vec<Field<'a>>,
    protocols: Vec<Text<'a>>,
    params: Vec<Field<'a>>,
}

impl RequestCopy {
    pub(crate) fn new(request: &Request<'_>) -> Self {
        RequestCopy {
            flags: request.flags,
            id: request.id,
            target: request.target.into(),
            path: request.path.into(),
            query: request.query.into(),
            host: request.host.into(),
            origin: request.origin.into(),
            remote_addr: request.remote_addr.into(),
            client_addr: request.client_addr.into(),
            user: request.user.into(),
            headers: own(request.headers),
            cookies: own(request.cookies),
            protocols: request.protocols().map(Into::into).collect(),
            params: own(request.params),
            tls_version: request.tls_version.into(),
            tls_sni: request.tls_sni.into(),
            tls_client_cert: request.tls_client_cert.into(),
        }
    }

    pub(crate) fn lists(&self) -> Lists<'_> {
        Lists {
            headers: lend(&self.headers),
            cookies: lend(&self.cookies),
            protocols: self.protocols.iter().map(|it| Text::new(it)).collect(),
            params: lend(&self.params),
        }
    }

    /// The request again.
    pub(crate) fn request<'a>(&'a self, lists: &'a Lists<'a>) -> Request<'a> {
        Request {
            flags: self.flags,
            id: self.id,
            target: &self.target,
            path: &self.path,
            query: &self.query,
            host: &self.host,
            origin: &self.origin,
            remote_addr: &self.remote_addr,
            client_addr: &self.client_addr,
            user: &self.user,
            headers: &lists.headers,
            cookies: &lists.cookies,
            protocols: &lists.protocols,
            params: &lists.params,
            tls_version: &self.tls_version,
            tls_sni: &self.tls_sni,
            tls_client_cert: &self.tls_client_cert,
            attached: Default::default(),
            decoded: Default::default(),
            alarm: Default::default(),
        }
    }
}

fn own(fields: &[Field<'_>]) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .map(|field| (field.name().into(), field.value().into()))
        .collect()
}

fn lend(pairs: &[(String, Vec<u8>)]) -> Vec<Field<'_>> {
    pairs
        .iter()
        .map(|(name, value)| Field::new(name, value))
        .collect()
}
