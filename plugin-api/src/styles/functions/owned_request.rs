//! A copy of a request that outlives `open`, for functions that take the request.

#[cfg(feature = "serde")]
use serde_core::de::DeserializeOwned;
#[cfg(feature = "serde")]
use serde_json::{Map, Value, json};

use crate::{
    border::read::{PairRef, TextRef},
    handshake::request::Request,
};

/// A copy of all fields of a [`Request`], without what is attached to it.
#[derive(Clone, Debug, Default)]
pub struct OwnedRequest {
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

/// The lists of a [`Request`], in the form that it borrows.
pub(crate) struct RequestLists<'a> {
    headers: Vec<PairRef<'a>>,
    cookies: Vec<PairRef<'a>>,
    protocols: Vec<TextRef<'a>>,
    params: Vec<PairRef<'a>>,
}

impl OwnedRequest {
    pub(crate) fn new(request: &Request<'_>) -> Self {
        OwnedRequest {
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

    pub(crate) fn lists(&self) -> RequestLists<'_> {
        RequestLists {
            headers: lend(&self.headers),
            cookies: lend(&self.cookies),
            protocols: self.protocols.iter().map(|it| TextRef::new(it)).collect(),
            params: lend(&self.params),
        }
    }

    /// The request, borrowed from this copy and its lists.
    pub(crate) fn request<'a>(&'a self, lists: &'a RequestLists<'a>) -> Request<'a> {
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

/// Written out by hand: with serde's derive macros every handler would have to compile those.
#[cfg(feature = "serde")]
impl OwnedRequest {
    /// The copy as a JSON object.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "flags": self.flags,
            "id": self.id,
            "target": self.target,
            "path": self.path,
            "query": self.query,
            "host": self.host,
            "origin": self.origin,
            "remote_addr": self.remote_addr,
            "client_addr": self.client_addr,
            "user": self.user,
            "headers": self.headers,
            "cookies": self.cookies,
            "protocols": self.protocols,
            "params": self.params,
            "tls_version": self.tls_version,
            "tls_sni": self.tls_sni,
            "tls_client_cert": self.tls_client_cert,
        })
    }

    /// Reads a copy from a JSON object.
    pub(crate) fn from_json(mut fields: Map<String, Value>) -> serde_json::Result<Self> {
        Ok(OwnedRequest {
            flags: take(&mut fields, "flags")?,
            id: take(&mut fields, "id")?,
            target: take(&mut fields, "target")?,
            path: take(&mut fields, "path")?,
            query: take(&mut fields, "query")?,
            host: take(&mut fields, "host")?,
            origin: take(&mut fields, "origin")?,
            remote_addr: take(&mut fields, "remote_addr")?,
            client_addr: take(&mut fields, "client_addr")?,
            user: take(&mut fields, "user")?,
            headers: take(&mut fields, "headers")?,
            cookies: take(&mut fields, "cookies")?,
            protocols: take(&mut fields, "protocols")?,
            params: take(&mut fields, "params")?,
            tls_version: take(&mut fields, "tls_version")?,
            tls_sni: take(&mut fields, "tls_sni")?,
            tls_client_cert: take(&mut fields, "tls_client_cert")?,
        })
    }
}

#[cfg(feature = "serde")]
fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> serde_json::Result<T> {
    T::deserialize(fields.remove(name).unwrap_or_default())
}

fn own(fields: &[PairRef<'_>]) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .map(|field| (field.name().into(), field.value().into()))
        .collect()
}

fn lend(pairs: &[(String, Vec<u8>)]) -> Vec<PairRef<'_>> {
    pairs
        .iter()
        .map(|(name, value)| PairRef::new(name, value))
        .collect()
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_from_what_any_generation_wrote() {
        let written = r#"{"flags":1,"id":7,"target":[47,63],"path":"/","query":[],"host":"h","origin":"o",
            "remote_addr":"r","client_addr":"c","user":"u","headers":[["a",[98]]],"cookies":[],"protocols":["p"],
            "params":[["room",[255]]],"tls_version":"v","tls_sni":"s","tls_client_cert":[0]}"#;

        let fields: Map<String, Value> = serde_json::from_str(written).unwrap();
        let copy = OwnedRequest::from_json(fields.clone()).unwrap();

        assert_eq!(copy.to_json(), Value::Object(fields));
        assert_eq!(copy.params, [("room".to_owned(), vec![255])]);
    }

    #[test]
    fn a_field_that_is_missing_is_an_error() {
        let mut fields = match OwnedRequest::default().to_json() {
            Value::Object(fields) => fields,
            other => panic!("an object, not {other}"),
        };
        fields.remove("path");

        let error = OwnedRequest::from_json(fields).unwrap_err();

        assert_eq!(error.to_string(), "invalid type: null, expected a string");
    }
}
