//! A scripted authorization server: records the bytes that Envoy sends and responds as configured.
//! Shows what Envoy does with responses that keyward must never give, and records `CheckRequest`s.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the server does with every call.
#[derive(Clone, Debug)]
pub enum Script {
    /// Responds with this `CheckResponse`, encoded.
    Message(Vec<u8>),
    /// The same after this time.
    Late(Duration, Vec<u8>),
    /// Fails the call with this gRPC status.
    Fail(u16),
    /// Holds the call until the caller gives up.
    Hang,
}

type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

pub struct ScriptedAuthz {
    pub address: SocketAddr,
    recorded: Recorded,
    server: JoinHandle<()>,
}

impl ScriptedAuthz {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorded = Recorded::default();
        let server = tokio::spawn(accept(listener, script, Arc::clone(&recorded)));
        Self {
            address,
            recorded,
            server,
        }
    }

    /// The `CheckRequest`s since the last call, undecoded.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.recorded.lock().unwrap())
    }
}

impl Drop for ScriptedAuthz {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, script: Script, recorded: Recorded) {
    while let Ok((stream, _)) = listener.accept().await {
        let (script, recorded) = (script.clone(), Arc::clone(&recorded));
        tokio::spawn(async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(answer(
                    request,
                    respond,
                    script.clone(),
                    Arc::clone(&recorded),
                ));
            }
        });
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Script,
    recorded: Recorded,
) {
    let health = request.uri().path().starts_with("/grpc.health.v1.Health/");
    let mut stream = request.into_body();
    let mut message = Vec::new();
    while let Some(Ok(chunk)) = stream.data().await {
        let _ = stream.flow_control().release_capacity(chunk.len());
        message.extend_from_slice(&chunk);
    }
    // Envoy's health checks need SERVING, whatever the script says.
    let script = if health {
        Script::Message(vec![0x08, 0x01])
    } else {
        script
    };
    if !health {
        // After the frame's prefix: one byte for compression, four for the length.
        recorded
            .lock()
            .unwrap()
            .push(message.get(5..).unwrap_or_default().to_vec());
    }
    match script {
        Script::Message(message) => send(respond, &message),
        Script::Late(pause, message) => {
            tokio::time::sleep(pause).await;
            send(respond, &message);
        }
        Script::Fail(status) => {
            let head = head().header("grpc-status", status);
            let _ = respond.send_response(head.body(()).unwrap(), true);
        }
        // Held open until the test is over: dropping it would be a response.
        Script::Hang => std::future::pending().await,
    }
}

fn head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

fn send(mut respond: SendResponse<Bytes>, message: &[u8]) {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    let Ok(mut sender) = respond.send_response(head().body(()).unwrap(), false) else {
        return;
    };
    let _ = sender.send_data(frame.freeze(), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = sender.send_trailers(trailers);
}
