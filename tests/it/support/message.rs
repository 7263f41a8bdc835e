//! A request as a test describes it and a response as a caller received it, for every protocol.

/// Headers in order, repeated names and all.
pub type Lines = Vec<(String, String)>;

#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    /// The request target, byte for byte.
    pub path: String,
    pub host: String,
    pub headers: Lines,
    pub body: Vec<u8>,
}

impl Ask {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            host: "api.example.com".into(),
            headers: Lines::new(),
            body: Vec::new(),
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The id under which the decision is logged.
    pub fn id(self, id: &str) -> Self {
        self.header("x-request-id", id)
    }

    pub fn key(self, secret: &str) -> Self {
        self.header("x-api-key", secret)
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Lines,
    pub body: Vec<u8>,
    pub trailers: Lines,
}

impl Reply {
    /// Every value of a header, in order; names are case-insensitive.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem+json body.
    pub fn problem(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The gRPC status, from the trailers or from a trailers-only response.
    pub fn grpc_status(&self) -> Option<&str> {
        let found = values(&self.trailers, "grpc-status").first().copied();
        found.or_else(|| self.all("grpc-status").first().copied())
    }

    pub fn grpc_message(&self) -> Option<&str> {
        let found = values(&self.trailers, "grpc-message").first().copied();
        found.or_else(|| self.all("grpc-message").first().copied())
    }
}

/// Every value of a header in `lines`.
pub fn values<'a>(lines: &'a Lines, name: &str) -> Vec<&'a str> {
    let of_that_name = lines.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    of_that_name.map(|(_, v)| v.as_str()).collect()
}
