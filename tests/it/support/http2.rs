//! HTTP/2 with prior knowledge: sends repeated headers and cookie crumbs as the test lists them,
//! and returns trailers, which a gRPC caller needs.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::message::{Ask, Lines, Reply};

pub struct Connection {
    client: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { client, driver }
    }

    /// # Errors
    /// The error of the stream or the connection if no complete response came.
    pub async fn send(&mut self, ask: &Ask) -> Result<Reply, h2::Error> {
        let mut client = self.client.clone().ready().await?;
        let (answer, mut body) = client.send_request(request(ask), ask.body.is_empty())?;
        if !ask.body.is_empty() {
            body.send_data(Bytes::from(ask.body.clone()), true)?;
        }
        let answer = answer.await?;
        let mut reply = Reply {
            status: answer.status().as_u16(),
            headers: lines(answer.headers()),
            ..Reply::default()
        };
        let mut stream = answer.into_body();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            let _ = stream.flow_control().release_capacity(chunk.len());
            reply.body.extend_from_slice(&chunk);
        }
        if let Some(trailers) = stream.trailers().await? {
            reply.trailers = lines(&trailers);
        }
        Ok(reply)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn request(ask: &Ask) -> Request<()> {
    let uri = if ask.method == "CONNECT" {
        Uri::try_from(ask.host.as_str()).unwrap()
    } else {
        let (scheme, authority) = ("http", ask.host.as_str());
        let parts = Uri::builder().scheme(scheme).authority(authority);
        parts.path_and_query(ask.path.as_str()).build().unwrap()
    };
    let mut request = Request::new(());
    *request.method_mut() = ask.method.parse().unwrap();
    *request.uri_mut() = uri;
    for (name, value) in &ask.headers {
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append(name, value);
    }
    request
}

pub fn lines(map: &HeaderMap) -> Lines {
    map.iter()
        .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into()))
        .collect()
}

/// One request on a new connection.
pub async fn send(to: SocketAddr, ask: &Ask) -> Reply {
    let mut connection = Connection::open(to).await;
    let reply = connection.send(ask).await;
    reply.unwrap_or_else(|error| panic!("no answer to {ask:?}: {error}"))
}
